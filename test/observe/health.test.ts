/** /healthz, /livez and healthCheckNodePort over loopback. */
import { createServer } from 'node:net';
import t from 'tap';
import { ProxyHealth, serveHealthz } from '../../src/observe/health.js';
import { ServiceHealthServers } from '../../src/observe/health-services.js';

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

async function ask(port: number, path = '/'): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5000) });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** A port of this machine that nobody listens on now. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

t.test('/healthz and /livez in good health', async (t) => {
  const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5, 6);
  const health = new ProxyHealth(60_000, () => nowMs);
  const server = await serveHealthz(health, '127.0.0.1', 0);
  t.teardown(() => server.close());
  const healthz = await ask(server.port, '/healthz');
  t.equal(healthz.status, 200);
  t.equal(healthz.headers.get('content-type'), 'application/json');
  t.equal(healthz.headers.get('x-content-type-options'), 'nosniff');
  const now = '2026-01-02T03:04:05.006Z';
  t.strictSame(JSON.parse(healthz.text), { lastUpdated: now, currentTime: now, nodeEligible: true });
  const livez = await ask(server.port, '/livez?verbose');
  t.equal(livez.status, 200);
  t.strictSame(JSON.parse(livez.text), { lastUpdated: now, currentTime: now });
  t.equal((await ask(server.port, '/')).status, 404);
});

t.test('a change that waits too long is ill health, until it is in force', async (t) => {
  let nowMs = 1_000_000;
  const health = new ProxyHealth(60_000, () => nowMs);
  health.updated();
  nowMs += 1_000_000;
  t.equal(health.healthy, true, 'nothing to do is good health');
  health.queued();
  nowMs += 59_999;
  t.equal(health.healthy, true, 'not late yet');
  health.queued();
  nowMs += 1;
  t.equal(health.healthy, false, 'the oldest change counts');
  t.equal(health.answer(false).status, 503);
  t.match(JSON.parse(health.answer(true).body), { lastUpdated: new Date(1_000_000).toISOString() });
  health.updated();
  t.equal(health.healthy, true);
});

t.test('healthCheckNodePort says whether there is a local endpoint, as kube-proxy says it', async (t) => {
  const health = { healthy: true };
  const servers = new ServiceHealthServers(health);
  t.teardown(() => servers.close());
  const [web, db] = [await freePort(), await freePort()];
  const services = (webCount: number): Parameters<typeof servers.sync>[0] => [
    { service: 'default/web', nodePort: web, localReadyEndpoints: webCount },
    { service: 'data/db', nodePort: db, localReadyEndpoints: 0 },
  ];
  t.strictSame(await servers.sync(services(2), ['127.0.0.1']), []);
  const answer = await ask(web, '/any/path');
  t.equal(answer.status, 200);
  t.equal(answer.headers.get('content-type'), 'application/json');
  t.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  t.equal(answer.headers.get('x-load-balancing-endpoint-weight'), '2');
  t.equal(
    answer.text,
    '{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}',
  );
  t.match(await ask(db), { status: 503, text: '"localEndpoints": 0' });

  t.strictSame(await servers.sync(services(0), ['127.0.0.1']), []);
  t.match(await ask(web), { status: 503, text: '"localEndpoints": 0' }, 'without a new listener');
  await servers.sync(services(1), ['127.0.0.1']);
  health.healthy = false;
  t.match(await ask(web), { status: 503, text: '"serviceProxyHealthy": false' });
  health.healthy = true;

  await servers.sync(services(1).slice(1), ['127.0.0.1']);
  await t.rejects(ask(web), 'a Service that is gone is answered no longer');
  t.equal((await ask(db)).status, 503, 'the other one is');
});

t.test('a port that somebody else has is told and tried again', async (t) => {
  const servers = new ServiceHealthServers({ healthy: true });
  t.teardown(() => servers.close());
  const other = createServer();
  const port = await new Promise<number>((resolve) => {
    other.listen(0, '127.0.0.1', () => {
      const address = other.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  const wanted = [{ service: 'default/web', nodePort: port, localReadyEndpoints: 1 }];
  t.match(await servers.sync(wanted, ['127.0.0.1']), [
    /healthCheckNodePort \d+ of default\/web is not answered: .*EADDRINUSE/,
  ]);
  await new Promise((resolve) => other.close(resolve));
  t.strictSame(await servers.sync(wanted, ['127.0.0.1']), []);
  t.equal((await ask(port)).status, 200);
});

t.test('on all addresses of the host', async (t) => {
  const servers = new ServiceHealthServers({ healthy: true });
  t.teardown(() => servers.close());
  const port = await freePort();
  t.strictSame(
    await servers.sync([{ service: 'default/web', nodePort: port, localReadyEndpoints: 1 }], ['::']),
    [],
  );
  t.equal((await ask(port)).status, 200);
});

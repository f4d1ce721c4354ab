// Several workers in the real proxy: with the steering program, and without the right to load one.

import { STATE_DIR, startUp, TUN_NAME, upArgs } from '../../src/lab/flowpin-up.js';
import type { HttpReport } from '../../src/lab/http-client.js';
import { buildHttpenv, HTTPENV, labScript, startOnEndpoints } from '../../src/lab/httpenv.js';
import { type CountersSnapshot, readCounters } from '../../src/observe/counters.js';
import { ECHO, endpointsAt, FILES, lastJson, tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildHttpenv();
t.teardown(() => lab.close());
const node = lab.router;
const client = lab.host('client');
const WORKERS = 3;
const ARGS = ['--workers', String(WORKERS)];

/**
 * What a resolver does, many times at once: two questions from one new socket without waiting in between. Prints by
 * socket which endpoints answered, and how many answers are missing.
 */
const RESOLVERS = `
import { createSocket } from 'node:dgram';
const [address, port, count] = [process.argv[1].split(':')[0], Number(process.argv[1].split(':')[1]), Number(process.argv[2])];
let missing = 0;
let torn = 0;
const one = () => new Promise((done) => {
  const socket = createSocket('udp4');
  const from = [];
  const end = () => { socket.close(); missing += 2 - from.length; torn += new Set(from).size > 1 ? 1 : 0; done(); };
  const late = setTimeout(end, 3000);
  socket.on('message', (text) => { from.push(String(text)); if (from.length === 2) { clearTimeout(late); end(); } });
  socket.bind(0, () => { for (const type of ['A', 'AAAA']) socket.send('who are you? ' + type, port, address); });
});
for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: 50 }, one));
console.log(JSON.stringify({ missing, torn }));
`;

/** Every packet that was read has its outcome. */
function assertComplete(counters: CountersSnapshot): void {
  const { received, forwarded, passed, rejected, reset, retried, held, dropped, handedOff, takenOver } =
    counters;
  const drops = Object.values(dropped).reduce((sum, count) => sum + count, 0);
  t.equal(forwarded + passed + rejected + reset + retried + held + drops, received, 'one outcome each');
  t.equal(handedOff, takenOver, 'nothing is on its way between workers');
}

async function exercise(): Promise<CountersSnapshot> {
  const { stdout } = await client.run(
    process.execPath,
    [labScript('http-client'), '--to', HTTPENV.clusterIP, '--connections', '150', '--requests', '100'],
    { timeoutMs: 40_000 },
  );
  const { connections, keepAlive } = lastJson<HttpReport>(stdout);
  t.strictSame({ ...connections.errors, ...keepAlive.errors }, {}, 'no connection and no request failed');
  t.equal(connections.answered, 150);
  t.equal(keepAlive.serverConnections, 1, 'a kept-alive connection stays with its endpoint');

  const resolvers = await client.run(
    process.execPath,
    ['--input-type=module', '-e', RESOLVERS, ECHO, '1000'],
    { timeoutMs: 40_000 },
  );
  t.strictSame(
    lastJson(resolvers.stdout),
    { missing: 0, torn: 0 },
    'of two first packets of one socket none is lost, and both have one endpoint',
  );
  return readCounters(STATE_DIR);
}

t.test('with the steering program', async (t) => {
  const servers = await startOnEndpoints(lab, endpointsAt(9001), (endpoint) => [
    labScript('udp-echo'),
    '--listen',
    endpoint,
  ]);
  t.teardown(() => Promise.all(servers.map((server) => server.stop('SIGTERM'))));

  t.test('packets come to the worker that owns them', async (t) => {
    const up = await startUp(node, { files: FILES, args: ARGS });
    const ready = up.stdout.split('\n').find((line) => line.startsWith('ready')) ?? '';
    t.match(ready, `workers=${WORKERS} `);
    if (!ready.includes('steering=ebpf')) {
      t.comment('bpf(2) is refused here: the kernel learns where a flow goes');
    }
    const counters = await exercise();
    assertComplete(counters);
    if (ready.includes('steering=ebpf')) t.equal(counters.handedOff, 0, 'none had to be handed over');
    t.strictSame(counters.dropped, {}, 'none was dropped');
    t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  });

  t.test('without the right to load it, first packets are handed over', async (t) => {
    const up = node.spawn('setpriv', [
      '--bounding-set=-sys_admin,-bpf',
      process.execPath,
      ...upArgs({ files: FILES, args: ARGS }),
    ]);
    await up.line(/^ready/, 20_000);
    t.match(up.stdout, `workers=${WORKERS} steering=automq`);
    const counters = await exercise();
    assertComplete(counters);
    t.ok(counters.handedOff > 100, `${counters.handedOff} of ${counters.received} were handed over`);
    t.ok(counters.handedOff < counters.received / 3, 'and not all of them');
    t.strictSame(counters.dropped, {}, 'none was dropped');
    t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
    const { stdout } = await node.run('ip', ['link', 'show']);
    t.notMatch(stdout, TUN_NAME);
  });
});

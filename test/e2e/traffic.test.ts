// Real TCP and UDP through `flowpin up`, in namespaces: client → node → endpoints, and from the node itself.

import { startUp } from '../../src/lab/flowpin-up.js';
import type { Host } from '../../src/lab/host.js';
import type { HttpReport } from '../../src/lab/http-client.js';
import { buildHttpenv, HTTPENV, labScript, startOnEndpoints } from '../../src/lab/httpenv.js';
import { chiSquare, chiSquareSurvival } from '../../src/lab/statistics.js';
import type { TransferReport } from '../../src/lab/tcp-transfer.js';
import type { UdpReport } from '../../src/lab/udp-echo.js';
import {
  countersAtRest,
  ECHO,
  EMPTY_TCP,
  EMPTY_UDP,
  endpointsAt,
  FILES,
  lastJson,
  TRANSFER,
  tapInSandbox,
} from './support.js';

const t = await tapInSandbox();
const lab = await buildHttpenv();
t.teardown(() => lab.close());
const up = await startUp(lab.router, { files: FILES });
const client = lab.host('client');

/** Runs an entry script of the lab on a host and gives the JSON it prints. */
async function report<T>(host: Host, script: string, args: Record<string, string | number>): Promise<T> {
  const flags = Object.entries(args).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { stdout, stderr } = await host.run(process.execPath, [labScript(script), ...flags], {
    timeoutMs: 40_000,
  });
  if (stdout === '') throw new Error(`${script} printed nothing: ${stderr}`);
  return lastJson<T>(stdout);
}

for (const host of [client, lab.router]) {
  t.test(
    `HTTP from ${host.name}: connections spread over the endpoints, a kept-alive one stays`,
    async (t) => {
      const { connections, keepAlive } = await report<HttpReport>(host, 'http-client', {
        to: HTTPENV.clusterIP,
        connections: 300,
        requests: 200,
      });
      t.strictSame(connections.errors, {}, 'no connection failed');
      t.equal(connections.answered, 300, 'every connection was answered');
      t.equal(connections.serverConnections, 300, 'each was a connection of its own');
      t.strictSame(
        Object.keys(connections.byEndpoint).sort(),
        HTTPENV.endpoints,
        'every endpoint answered, nobody else',
      );
      const p = chiSquareSurvival(chiSquare(Object.values(connections.byEndpoint)), 2);
      // One run in ten million fails this by chance; a wrong cascade (1/3, 1/3, rest of the rest) fails it always.
      t.ok(p > 1e-7, `the spread is one that equal chances give (p = ${p})`);

      t.strictSame(keepAlive.errors, {}, 'no request failed');
      t.equal(keepAlive.answered, 200, 'every request was answered');
      t.equal(keepAlive.sockets, 1, 'on one connection as the client counts');
      t.equal(keepAlive.serverConnections, 1, 'and as the servers count');
      t.equal(Object.keys(keepAlive.byEndpoint).length, 1, 'by one endpoint');

      const clients = [...connections.clientAddresses, ...keepAlive.clientAddresses];
      t.ok(
        clients.length > 0 && clients.every((address) => /^198\.18\.0\.\d+$/.test(address)),
        'all masqueraded',
      );
    },
  );
}

for (const host of [client, lab.router]) {
  t.test(`bulk TCP from ${host.name} arrives whole and unchanged, in both directions at once`, async (t) => {
    const bytes = 64 * 1024 * 1024;
    const servers = await startOnEndpoints(lab, endpointsAt(9000), (endpoint) => {
      return [labScript('tcp-transfer'), '--listen', endpoint, '--bytes', String(bytes), '--seed', '11'];
    });
    const here = await report<TransferReport>(host, 'tcp-transfer', { to: TRANSFER, bytes, seed: 12 });
    // The one that served says so; the others never will.
    const there = lastJson<TransferReport>(
      await Promise.any(servers.map((server) => server.line(/^\{/, 10_000))),
    );
    t.equal(here.error, undefined, 'no error at this end');
    t.equal(there.error, undefined, 'no error at the endpoint');
    t.equal(here.sent.bytes, bytes, 'everything was sent');
    t.equal(here.received.bytes, bytes, 'and received');
    t.strictSame(there.received, here.sent, 'the endpoint received what was sent here');
    t.strictSame(here.received, there.sent, 'and the other way round');
    t.not(here.sent.sha256, here.received.sha256, 'the directions carried different bytes');
    await Promise.all(servers.map((server) => server.stop()));
  });
}

t.test(
  'UDP: datagrams of every size up to 1400 bytes come back unchanged, a flow stays on its endpoint',
  async (t) => {
    await startOnEndpoints(lab, endpointsAt(9001), (endpoint) => [
      labScript('udp-echo'),
      '--listen',
      endpoint,
    ]);
    const sizes = Array.from({ length: 1400 }, (_, at) => at + 1).join(',');
    for (const host of [client, lab.router]) {
      const { error, echoed, changed, lost, endpoints } = await report<UdpReport>(host, 'udp-echo', {
        to: ECHO,
        sizes,
      });
      t.strictSame(
        { error, echoed, changed, lost },
        { error: undefined, echoed: 1400, changed: [], lost: [] },
        host.name,
      );
      t.equal(endpoints.length, 1, `${host.name}: one endpoint, at the start as at the end`);
    }
    // 16 flows: all on one endpoint by chance once in 14 million runs.
    const flows = await Promise.all(
      Array.from({ length: 16 }, () => report<UdpReport>(client, 'udp-echo', { to: ECHO })),
    );
    t.equal(flows.filter((flow) => flow.echoed === 1).length, 16, 'sixteen more flows are answered');
    t.ok(new Set(flows.flatMap((flow) => flow.endpoints)).size > 1, 'by more than one endpoint');
  },
);

const REFUSED: readonly { what: string; to: string; udp?: true }[] = [
  { what: 'TCP to a Service without endpoints', to: EMPTY_TCP },
  { what: 'UDP to a Service without endpoints', to: EMPTY_UDP, udp: true },
  { what: 'TCP to a port of a ClusterIP that no Service has', to: HTTPENV.clusterIP.replace(/\d+$/, '8889') },
  { what: 'UDP to a port of a ClusterIP that no Service has', to: HTTPENV.clusterIP, udp: true },
];
for (const { what, to, udp } of REFUSED) {
  for (const host of [client, lab.router]) {
    t.test(`${what} is refused at once (${host.name})`, async (t) => {
      if (udp) {
        // Nothing but the socket's error ends this in the first second: without one the report has no error.
        const { error } = await report<UdpReport>(host, 'udp-echo', { to });
        t.equal(error, 'ECONNREFUSED');
        return;
      }
      const { connections } = await report<HttpReport>(host, 'http-client', {
        to,
        connections: 5,
        requests: 1,
      });
      t.strictSame(connections.errors, { ECONNREFUSED: 5 });
      // A SYN without an answer is sent again after 1 s.
      t.ok(connections.ms.total < 900, `without a SYN sent twice (${connections.ms.total} ms)`);
    });
  }
}

t.test('the counters agree with what the tests above sent', async (t) => {
  const { received, forwarded, passed, rejected, dropped, flowsCreated, endpoints } = await countersAtRest();
  // What the node's own client is told by ICMP comes by once more, as a copy.
  const { 'icmp-copy': copies = 0, ...others } = dropped;
  t.equal(forwarded + passed + rejected + copies, received, 'every packet has exactly one outcome');
  t.strictSame(others, {}, 'and none was dropped');
  // Four times 5 connections and 1 request over TCP, four times 1 datagram.
  t.ok(rejected >= 4 * 6 + 4, `refusals are counted (${rejected})`);

  const sum = (
    servicePort: string,
    counter: 'flows' | 'packetsOriginal' | 'bytesOriginal' | 'packetsReply',
  ): number =>
    endpoints.reduce((total, row) => total + (row.servicePort === servicePort ? row[counter] : 0), 0);
  t.equal(sum('default/httpenv', 'flows'), 2 * 301, 'a flow per connection');
  t.equal(sum('e2e/transfer', 'flows'), 2);
  t.equal(sum('e2e/echo', 'flows'), 18, 'and per pair of UDP sockets');
  t.equal(flowsCreated, 602 + 2 + 18, 'and no other');
  // Two runs of 1400 datagrams and 16 of one, each with two questions who the server is.
  t.equal(sum('e2e/echo', 'packetsOriginal'), 2 * 1402 + 16 * 3, 'a packet per datagram');
  t.equal(sum('e2e/echo', 'packetsReply'), 2 * 1402 + 16 * 3, 'and per answer');
  const meanBytes = sum('e2e/transfer', 'bytesOriginal') / sum('e2e/transfer', 'packetsOriginal');
  t.ok(
    meanBytes > 2 * 1500,
    `bulk TCP went through as super-packets (${Math.round(meanBytes)} bytes on average)`,
  );
});

t.test('flowpin up ends with code 0', async (t) => {
  t.ok(up.running, 'it is still running after all this');
  t.same((await up.stop('SIGTERM')).code, 0, up.stderr);
});

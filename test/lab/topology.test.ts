// The lab itself, without flowpin: hosts reach each other by plain routing, over IPv4 and IPv6, and its programs
// report truly, so that what the end-to-end tests see is flowpin's doing.

import { hostState, settledHostState, stateChanges } from '../../src/lab/host-state.js';
import type { HttpReport } from '../../src/lab/http-client.js';
import { labScript } from '../../src/lab/httpenv.js';
import type { TransferReport } from '../../src/lab/tcp-transfer.js';
import { buildTopology } from '../../src/lab/topology.js';
import type { UdpReport } from '../../src/lab/udp-echo.js';
import { lastJson, tapInSandbox } from '../e2e/support.js';

const t = await tapInSandbox();
const lab = await buildTopology({
  router: 'node',
  forward: true,
  hosts: [
    { name: 'client', addresses: ['10.0.1.2/24', 'fd00:1::2/64'], gateways: ['10.0.1.1', 'fd00:1::1'] },
    {
      name: 'server',
      addresses: ['10.244.0.3/24', 'fd00:244::3/64'],
      gateways: ['10.244.0.1', 'fd00:244::1'],
    },
  ],
});
t.teardown(() => lab.close());
const client = lab.host('client');
const server = lab.host('server');
const node = process.execPath;

t.test('process 1 of a private pid namespace, with nothing of the machine’s network', async (t) => {
  t.equal(process.pid, 1);
  const { stdout } = await client.run('ip', ['-o', 'link']);
  t.strictSame(stdout.match(/(?<=^\d+: )[^:@]+/gm), ['lo', 'eth0'], 'a host has its own two devices');
  const machine = await client.run('sh', ['-c', 'ip -o link show; ip route; ls /run']);
  t.match(machine.stdout, /default via 10\.0\.1\.1 dev eth0/);
  t.match(machine.stdout, /^netns$/m, '/run holds the names of the hosts');
  t.throws(() => lab.host('nobody'), /no host named nobody/);
});

t.test('HTTP: each connection and the kept-alive one, as both ends count', async (t) => {
  const listener = server.spawn(node, [labScript('http-server'), '--listen', '10.244.0.3:8888']);
  await listener.line(/^ready 10\.244\.0\.3:8888$/, 5000);
  const flags = ['--to', '10.244.0.3:8888', '--connections', '40', '--requests', '30'];
  const { code, stdout } = await client.run(node, [labScript('http-client'), ...flags]);
  t.equal(code, 0);
  const here = { byEndpoint: { '10.244.0.3:8888': 40 }, errors: {}, clientAddresses: ['10.0.1.2'] };
  t.match(lastJson<HttpReport>(stdout), {
    connections: { asked: 40, answered: 40, sockets: 40, serverConnections: 40, ...here },
    keepAlive: {
      asked: 30,
      answered: 30,
      sockets: 1,
      serverConnections: 1,
      byEndpoint: { '10.244.0.3:8888': 30 },
    },
  });
  t.equal((await listener.stop()).code, 143, 'signals reach the program itself');

  const refused = await client.run(node, [labScript('http-client'), ...flags]);
  const { connections, keepAlive } = lastJson<HttpReport>(refused.stdout);
  t.strictSame([connections.answered, connections.errors], [0, { ECONNREFUSED: 40 }], 'failures are counted');
  t.equal(keepAlive.sockets, 30, 'and a connection that is not kept is seen');
});

for (const [family, address] of [
  ['IPv4', '10.244.0.3'],
  ['IPv6', '[fd00:244::3]'],
] as const) {
  t.test(`${family}: TCP in bulk and UDP of every size`, async (t) => {
    if (family === 'IPv6') {
      const { code } = await lab.router.run('sh', ['-c', 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding']);
      t.equal(code, 0, 'the router forwards');
    }
    const bytes = 8 * 1024 * 1024 + 3;
    const sink = server.spawn(node, [
      labScript('tcp-transfer'),
      '--listen',
      `${address}:9000`,
      '--bytes',
      '70001',
    ]);
    await sink.line(/^ready/, 5000);
    const sent = await client.run(node, [
      ...[labScript('tcp-transfer'), '--to', `${address}:9000`],
      ...['--bytes', String(bytes), '--seed', '2'],
    ]);
    const here = lastJson<TransferReport>(sent.stdout);
    const there = lastJson<TransferReport>(await sink.line(/^\{/, 5000));
    t.equal(here.sent.bytes, bytes);
    t.strictSame(there.received, here.sent, 'one way');
    t.equal(there.sent.bytes, 70_001);
    t.strictSame(here.received, there.sent, 'and the other');

    const echo = server.spawn(node, [labScript('udp-echo'), '--listen', `${address}:9001`]);
    await echo.line(/^ready/, 5000);
    const udp = async (port: number): Promise<UdpReport> => {
      const flags = ['--to', `${address}:${port}`, '--sizes', '1,2,3,1399,1400'];
      return lastJson<UdpReport>((await client.run(node, [labScript('udp-echo'), ...flags])).stdout);
    };
    const echoed = { sent: 5, echoed: 5, changed: [], lost: [], endpoints: [`${address}:9001`] };
    t.strictSame(await udp(9001), { to: `${address}:9001`, ...echoed });
    t.equal((await udp(9002)).error, 'ECONNREFUSED', 'a closed port is told from a lost datagram');
  });
}

t.test('a change of a host’s network is seen, and that it is taken back', async (t) => {
  const before = await settledHostState(lab.router);
  const change = async (line: string): Promise<void> => {
    t.equal((await lab.router.run('sh', ['-c', line])).code, 0, line);
  };
  await change('ip tuntap add name flowpin0 mode tun && ip route add 10.96.0.1 dev to-client');
  await change('ip rule add pref 50 from 10.9.0.0/16 lookup 7; echo 0 > /proc/sys/net/ipv4/ip_forward');
  const seen = stateChanges(before, await hostState(lab.router)).join('\n');
  t.match(seen, /^ip -d link show: \+ \d+: flowpin0:/m);
  t.match(seen, /^ip -4 route show table all: \+ 10\.96\.0\.1 dev to-client/m);
  t.match(seen, /^ip -4 rule show: \+ 50:/m);
  t.match(seen, /ip_forward: - 1\n.*ip_forward: \+ 0/);
  await change(
    'ip link del flowpin0; ip route del 10.96.0.1; ip rule del pref 50; echo 1 > /proc/sys/net/ipv4/ip_forward',
  );
  t.strictSame(stateChanges(before, await hostState(lab.router)), []);
});

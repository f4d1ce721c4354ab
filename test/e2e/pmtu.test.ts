// Path MTU discovery through the node: a link behind the node, and others before the ends, carry less than the ends think.
//
//   client ---1284--- node ------- router ---1300--- far ------- endpoint
//                       '---1300--- pod
//
// Everything is sent with DF. Whoever cannot pass a packet on tells its sender, which is the SNAT address or the VIP: so the
// news reach flowpin, and have to reach the one who sent the packet before it was translated.

import { STATE_DIR, startUp } from '../../src/lab/flowpin-up.js';
import { Host } from '../../src/lab/host.js';
import { labScript } from '../../src/lab/httpenv.js';
import { run } from '../../src/lab/process.js';
import { splitAddress } from '../../src/lab/socket-address.js';
import type { TransferReport } from '../../src/lab/tcp-transfer.js';
import { buildTopology } from '../../src/lab/topology.js';
import type { UdpReport } from '../../src/lab/udp-echo.js';
import { readCounters } from '../../src/observe/counters.js';
import { shows } from '../support/requirements.js';
import { at, writeManifest } from './nodeport-lab.js';
import { countersAtRest, lastJson, type Tap, tapInSandbox } from './support.js';

const ENDPOINT_MTU = 1300;
const CLIENT_MTU = 1284;

const FAMILIES = [
  { family: 'IPv4', endpoint: '10.244.1.2', pod: '10.244.5.2', vips: '10.96.7.', node: '10.0.1.1' },
  {
    family: 'IPv6',
    endpoint: 'fd00:244:1::2',
    pod: 'fd00:244:5::2',
    vips: 'fd00:96:7::',
    node: '2001:db8:1::1',
  },
] as const;

const t = await tapInSandbox();
const lab = await buildTopology({
  router: 'node',
  hosts: [
    {
      name: 'client',
      addresses: ['10.0.1.2/24', '2001:db8:1::2/64'],
      gateways: ['10.0.1.1', '2001:db8:1::1'],
    },
    { name: 'router', addresses: ['10.9.0.2/24', 'fd00:9::2/64'], gateways: ['10.9.0.1', 'fd00:9::1'] },
    {
      name: 'pod',
      addresses: ['10.244.5.2/24', 'fd00:244:5::2/64'],
      gateways: ['10.244.5.1', 'fd00:244:5::1'],
    },
  ],
});
const node = lab.router;
const client = lab.host('client');
const pod = lab.host('pod');
const endpoint = new Host('endpoint');
t.teardown(async () => {
  await endpoint.close();
  await lab.close();
});

// Two more routers' worth of way. A route's locked MTU stands for a link that is narrower towards the host behind it only:
// the host itself does not know, and announces a maximum segment size as if there were none.
const built = await run('sh', [
  '-ec',
  `ip netns add far
   ip netns add endpoint
   for host in far endpoint; do ip netns exec $host sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad'; done
   for host in router far; do
     ip netns exec $host sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
   done
   ip link add to-far netns router mtu ${ENDPOINT_MTU} type veth peer name eth0 netns far mtu ${ENDPOINT_MTU}
   ip link add to-endpoint netns far type veth peer name eth0 netns endpoint
   for link in router/to-far far/eth0 far/to-endpoint endpoint/eth0 far/lo endpoint/lo; do
     ip -n \${link%/*} link set \${link#*/} up
   done
   ip -n router addr add 10.9.1.1/24 dev to-far;       ip -n router addr add fd00:9:1::1/64 dev to-far
   ip -n far addr add 10.9.1.2/24 dev eth0;            ip -n far addr add fd00:9:1::2/64 dev eth0
   ip -n far addr add 10.244.1.1/24 dev to-endpoint;   ip -n far addr add fd00:244:1::1/64 dev to-endpoint
   ip -n endpoint addr add 10.244.1.2/24 dev eth0;     ip -n endpoint addr add fd00:244:1::2/64 dev eth0
   ip -n node route add 10.244.1.0/24 via 10.9.0.2;    ip -n node route add fd00:244:1::/64 via fd00:9::2
   ip -n router route add 10.244.1.0/24 via 10.9.1.2;  ip -n router route add fd00:244:1::/64 via fd00:9:1::2
   ip -n far route add default via 10.9.1.1;           ip -n far route add default via fd00:9:1::1
   ip -n endpoint route add default via 10.244.1.1;    ip -n endpoint route add default via fd00:244:1::1
   ip -n node route add 10.244.5.2 dev to-pod mtu lock ${ENDPOINT_MTU}
   ip -n node route add fd00:244:5::2 dev to-pod mtu lock ${ENDPOINT_MTU}
   ip -n node route add 10.0.1.2 dev to-client mtu lock ${CLIENT_MTU}
   ip -n node route add 2001:db8:1::2 dev to-client mtu lock ${CLIENT_MTU}`,
]);
if (built.code !== 0) throw new Error(`the hosts cannot be built: ${built.stderr}`);

const TRANSFER_PORT = 9000;
const ECHO_PORT = 9001;
const NODE_PORT = 30900;
/** One Service a purpose, as an MTU is remembered by address: last number of its VIPs, and who its endpoint is. */
const SERVICES = [
  { name: 'transfer', number: 1, where: 'endpoint', nodePort: NODE_PORT },
  { name: 'hairpin', number: 2, where: 'pod', nodePort: 0 },
  { name: 'echo', number: 3, where: 'endpoint', nodePort: 0 },
] as const;
const up = await startUp(node, { files: [writeManifest(SERVICES.flatMap(objectsOf))] });

function objectsOf({ name, number, where, nodePort }: (typeof SERVICES)[number]): object[] {
  const clusterIPs = FAMILIES.map(({ vips }) => `${vips}${number}`);
  const ports = [
    { name: 'transfer', port: TRANSFER_PORT, protocol: 'TCP', ...(nodePort && { nodePort }) },
    { name: 'echo', port: ECHO_PORT, protocol: 'UDP' },
  ];
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'pmtu' },
    spec: { type: nodePort ? 'NodePort' : 'ClusterIP', clusterIP: clusterIPs[0], clusterIPs, ports },
  };
  const slices = FAMILIES.map((family) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${family.family.toLowerCase()}`,
      namespace: 'pmtu',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: family.family,
    ports,
    endpoints: [{ addresses: [family[where]] }],
  }));
  return [service, ...slices];
}

/** What the kernel of a host knows of the way to an address. */
const routeTo = async (host: Host, address: string): Promise<string> =>
  (await host.run('ip', ['route', 'get', address])).stdout;

/** The MTU that a host has learnt for an address, or null. */
async function learntMtu(host: Host, address: string): Promise<number | null> {
  const found = /expires \S+ mtu (\d+)/.exec(await routeTo(host, address));
  return found === null ? null : Number(found[1]);
}

const BYTES = 16 * 1024 * 1024;

/** Bulk data in both directions at once. @returns what both ends report */
async function transfer(from: Host, to: string, server: Host, listen: string): Promise<TransferReport[]> {
  const args = ['--bytes', String(BYTES)];
  const script = labScript('tcp-transfer');
  const listener = server.spawn(process.execPath, [script, '--listen', listen, '--seed', '21', ...args]);
  await listener.line(/^ready/, 10_000);
  const { stdout } = await from.run(process.execPath, [script, '--to', to, '--seed', '22', ...args], {
    timeoutMs: 40_000,
  });
  const there = lastJson<TransferReport>(await listener.line(/^\{/, 15_000));
  await listener.stop();
  return [lastJson<TransferReport>(stdout), there];
}

function arrivedWhole(t: Pick<Tap, 'equal' | 'strictSame'>, [here, there]: TransferReport[]): void {
  t.equal(here?.error, undefined, 'no error at this end');
  t.equal(there?.error, undefined, 'no error at the endpoint');
  t.equal(here?.sent.bytes, BYTES, 'everything was sent');
  t.strictSame(there?.received, here?.sent, 'the endpoint received what was sent');
  t.strictSame(here?.received, there?.sent, 'and the other way round');
}

for (const { family, endpoint: address, pod: podAddress, vips, node: nodeAddress } of FAMILIES) {
  t.test(
    `${family}: a bulk transfer arrives whole, and both ends learn what the way carries`,
    shows('RFC 4787 REQ-13', 'RFC 5382 REQ-9'),
    async (t) => {
      const vip = `${vips}1`;
      t.equal(await learntMtu(client, vip), null, 'nothing is known before');
      const reports = await transfer(client, at(vip, TRANSFER_PORT), endpoint, at(address, TRANSFER_PORT));
      arrivedWhole(t, reports);
      t.equal(await learntMtu(client, vip), ENDPOINT_MTU, 'the client, of the way to the VIP');
      const seen = splitAddress(reports[1]?.remote ?? '').host;
      t.match(seen, /^(198\.18\.0\.|fd\w*:)/, 'the endpoint talks to an address of the SNAT pool');
      t.equal(await learntMtu(endpoint, seen), CLIENT_MTU, 'the endpoint, of the way to that');
    },
  );

  t.test(`${family}: so does one to a NodePort, whose errors are addressed to the node itself`, async (t) => {
    const listen = at(address, TRANSFER_PORT);
    const reports = await transfer(client, at(nodeAddress, NODE_PORT), endpoint, listen);
    arrivedWhole(t, reports);
    t.equal(await learntMtu(client, nodeAddress), ENDPOINT_MTU, 'the client, of the way to the NodePort');
    const seen = splitAddress(reports[1]?.remote ?? '').host;
    t.equal(await learntMtu(endpoint, seen), CLIENT_MTU, 'the endpoint, of the way to the SNAT address');
  });

  t.test(`${family}: the node's own transfer learns it too`, async (t) => {
    const vip = `${vips}3`;
    arrivedWhole(t, await transfer(node, at(vip, TRANSFER_PORT), endpoint, at(address, TRANSFER_PORT)));
    t.equal(await learntMtu(node, vip), ENDPOINT_MTU, 'the node, of the way to the VIP');
  });

  t.test(
    `${family}: hairpin: a pod that reaches itself learns what the way to itself carries`,
    shows('RFC 5508 REQ-7'),
    async (t) => {
      const vip = `${vips}2`;
      t.equal(await learntMtu(pod, vip), null, 'nothing is known before');
      const reports = await transfer(pod, at(vip, TRANSFER_PORT), pod, at(podAddress, TRANSFER_PORT));
      arrivedWhole(t, reports);
      t.equal(await learntMtu(pod, vip), ENDPOINT_MTU, 'as a client, of the way to the VIP');
      const seen = splitAddress(reports[1]?.remote ?? '').host;
      t.equal(await learntMtu(pod, seen), ENDPOINT_MTU, 'as an endpoint, of the way to the SNAT address');
    },
  );

  t.test(
    `${family}: UDP: a datagram that is too big is an error at its socket, smaller ones pass`,
    shows('RFC 4787 REQ-13'),
    async (t) => {
      const server = endpoint.spawn(process.execPath, [
        labScript('udp-echo'),
        '--listen',
        at(address, ECHO_PORT),
      ]);
      await server.line(/^ready/, 10_000);
      const echo = async (size: number): Promise<UdpReport> => {
        const args = [labScript('udp-echo'), '--to', at(`${vips}3`, ECHO_PORT), '--sizes', String(size)];
        return lastJson<UdpReport>((await client.run(process.execPath, args)).stdout);
      };
      t.match(await echo(1400), { error: 'EMSGSIZE' });
      t.equal(await learntMtu(client, `${vips}3`), ENDPOINT_MTU);
      t.match(await echo(1200), { echoed: 1, lost: [] });
      await server.stop();
    },
  );

  t.test(`${family}: a closed UDP port of the endpoint is refused at the client's socket`, async (t) => {
    const args = [labScript('udp-echo'), '--to', at(`${vips}1`, ECHO_PORT)];
    const report = lastJson<UdpReport>((await client.run(process.execPath, args)).stdout);
    t.match(report, { error: 'ECONNREFUSED' });
  });
}

t.test(
  'IPv4: without DF the node cuts a datagram that is too big for the way into fragments',
  shows('RFC 4787 REQ-13a'),
  async (t) => {
    const [{ pod: address, vips }] = FAMILIES;
    const discovery = async (value: number): Promise<void> => {
      for (const host of [client, pod])
        await host.run('sh', ['-c', `echo ${value} > /proc/sys/net/ipv4/ip_no_pmtu_disc`]);
    };
    await discovery(1);
    const server = pod.spawn(process.execPath, [labScript('udp-echo'), '--listen', at(address, ECHO_PORT)]);
    await server.line(/^ready/, 10_000);
    const args = [labScript('udp-echo'), '--to', at(`${vips}2`, ECHO_PORT), '--sizes', '1400,1450'];
    const report = lastJson<UdpReport>((await client.run(process.execPath, args)).stdout);
    t.match(report, { echoed: 2, lost: [] });
    t.equal(report.error, undefined);
    await server.stop();
    await discovery(0);
  },
);

t.test('nothing was dropped, and super-packets went through', async (t) => {
  const { received, forwarded, passed, rejected, dropped, endpoints } = await countersAtRest();
  const { 'icmp-copy': copies = 0, ...others } = dropped;
  t.strictSame(others, {});
  t.equal(forwarded + passed + rejected + copies, received, 'every packet has exactly one outcome');
  for (const row of endpoints.filter(({ servicePort }) => servicePort === 'pmtu/transfer:transfer')) {
    const meanBytes = row.bytesOriginal / row.packetsOriginal;
    t.ok(meanBytes > 2 * 1500, `to ${row.endpoint}: ${Math.round(meanBytes)} bytes on average`);
  }
  t.equal((await up.stop('SIGTERM')).code, 0);
});

t.test("the source kept: an error of the endpoint itself reaches the client's socket", async (t) => {
  const args = ['--cluster-cidr', '10.244.0.0/16,fd00:244::/32'];
  const kept = await startUp(node, { files: [writeManifest(SERVICES.flatMap(objectsOf))], args });
  for (const { family, vips } of FAMILIES) {
    const script = [labScript('udp-echo'), '--to', at(`${vips}1`, ECHO_PORT)];
    const report = lastJson<UdpReport>((await pod.run(process.execPath, script)).stdout);
    t.match(report, { error: 'ECONNREFUSED' }, family);
  }
  t.strictSame(readCounters(STATE_DIR).dropped, {});
  t.equal((await kept.stop('SIGTERM')).code, 0);
});

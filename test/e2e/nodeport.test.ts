// NodePorts, external IPs and load-balancer addresses on a real node: from outside, from the node itself and from a pod,
// in both families, with strict reverse path filters.

import { STATE_DIR, startUp } from '../../src/lab/flowpin-up.js';
import { Host } from '../../src/lab/host.js';
import { hostState, settledHostState, stateChanges } from '../../src/lab/host-state.js';
import type { HttpReport } from '../../src/lab/http-client.js';
import { labScript } from '../../src/lab/httpenv.js';
import { run } from '../../src/lab/process.js';
import { readCounters } from '../../src/observe/counters.js';
import {
  at,
  buildNodeportLab,
  FAMILIES,
  type FamilyAddresses,
  get,
  HTTP_PORT,
  http,
  SOURCES,
  udp,
  web,
  writeManifest,
} from './nodeport-lab.js';
import { lastJson, tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildNodeportLab();
t.teardown(() => lab.close());
const node = lab.router;
const before = await settledHostState(node);

const NODE_NAME = ['--hostname-override', 'this-node'];
const POD_CIDRS = ['--cluster-cidr', FAMILIES.map(({ podCidr }) => podCidr).join(',')];
const CONNECTIONS = ['--connections', '12', '--requests', '4', '--concurrency', '4'];

/** Every way to the Service `web` from outside, with its port. */
const destinations = ({ family, node, clusterIP, externalIP, loadBalancerVIP }: FamilyAddresses) => [
  { kind: 'NodePort', to: at(node, 30080) },
  { kind: 'external IP', to: at(externalIP, 80) },
  { kind: 'load-balancer VIP', to: at(loadBalancerVIP, 80) },
  { kind: 'external IP of the node itself', to: at(node, 80) },
  { kind: 'clusterIP', to: at(clusterIP, 80) },
  {
    kind: "NodePort at the pods' gateway",
    to: at(family === 'IPv4' ? '10.244.1.1' : 'fd00:244:1::1', 30080),
  },
];

/** The node's own addresses among the external IPs, as with a load balancer that puts its address on the node. */
const [first, ...slices] = web();
const withLocalIPs = {
  ...first,
  spec: {
    ...(first as { spec: { externalIPs: string[] } }).spec,
    externalIPs: FAMILIES.flatMap(({ externalIP, node }) => [externalIP, node]),
  },
};

t.test('everything masqueraded, without pod CIDRs', async (t) => {
  const up = await startUp(node, { files: [writeManifest([withLocalIPs, ...slices])], args: NODE_NAME });
  for (const addresses of FAMILIES) {
    const pool = addresses.family === 'IPv4' ? /^198\.18\.0\.\d+$/ : /^fd00:198:18::[0-9a-f]+$/;
    for (const { kind, to } of destinations(addresses)) {
      for (const source of SOURCES) {
        const { connections, keepAlive } = await http(lab, source, to, CONNECTIONS);
        t.strictSame(
          {
            errors: { ...connections.errors, ...keepAlive.errors },
            answered: connections.answered + keepAlive.answered,
          },
          { errors: {}, answered: 16 },
          `${addresses.family} ${kind} from ${source}`,
        );
        t.ok(
          connections.clientAddresses.every((address) => pool.test(address)),
          'masqueraded',
        );
      }
    }
    for (const source of SOURCES) {
      const { echoed, sent } = await udp(lab, source, at(addresses.node, 30080));
      t.strictSame(
        { echoed, sent },
        { echoed: 3, sent: 3 },
        `${addresses.family} UDP NodePort from ${source}`,
      );
    }
  }
  const { connections } = await http(lab, 'node', '127.0.0.1:30080', CONNECTIONS);
  t.equal(connections.answered, 12, 'NodePort at 127.0.0.1 from the node');
  t.strictSame(readCounters(STATE_DIR).dropped, {}, 'no packet was dropped');
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  t.strictSame(stateChanges(before, await hostState(node)), [], 'and the node is as it was');
});

t.test('externalTrafficPolicy Local with pod CIDRs: sources are kept', async (t) => {
  const objects = web({ spec: { externalTrafficPolicy: 'Local', healthCheckNodePort: 32000 } });
  const up = await startUp(node, { files: [writeManifest(objects)], args: [...NODE_NAME, ...POD_CIDRS] });
  for (const addresses of FAMILIES) {
    const [local] = addresses.endpoints.map((address) => at(address, HTTP_PORT));
    for (const { kind, to } of destinations(addresses).filter(
      ({ kind }) => kind === 'NodePort' || kind === 'load-balancer VIP',
    )) {
      const outside = await http(lab, 'client', to, CONNECTIONS);
      t.strictSame(
        outside.connections.byEndpoint,
        { [local!]: 12 },
        `${addresses.family} ${kind}: only the local endpoint`,
      );
      t.strictSame(outside.connections.clientAddresses, [addresses.sources.client], 'which sees the client');
      t.equal(outside.keepAlive.answered, 4);

      const fromNode = await http(lab, 'node', to, CONNECTIONS);
      t.equal(fromNode.connections.answered, 12, 'from the node: all endpoints, masqueraded');
      t.notOk(fromNode.connections.clientAddresses.includes(addresses.sources.node));

      const fromPod = await http(lab, 'endpoint-0', to, CONNECTIONS);
      t.equal(fromPod.connections.answered, 12, 'from a pod: all endpoints');
    }
    const inside = await http(lab, 'endpoint-0', at(addresses.clusterIP, 80), [
      '--connections',
      '40',
      '--requests',
      '1',
    ]);
    t.equal(inside.connections.answered, 40, `${addresses.family} clusterIP from a pod`);
    t.ok(
      inside.connections.clientAddresses.includes(addresses.sources['endpoint-0']),
      'the other pod sees the pod',
    );
    t.equal(Object.keys(inside.connections.byEndpoint).length, 2, 'also itself, by way of the Service');

    const direct = await http(lab, 'endpoint-0', at(addresses.endpoints[1], HTTP_PORT), CONNECTIONS);
    t.strictSame(
      direct.connections.clientAddresses,
      [addresses.sources['endpoint-0']],
      'from pod to pod as ever',
    );
    t.match(
      await get(lab, 'client', `http://${at(addresses.node, 32000)}/`),
      '200 {"service":{"namespace":"default","name":"web"},"localEndpoints":1,"serviceProxyHealthy":true}',
      'healthCheckNodePort',
    );
    t.match(
      await get(lab, 'client', `http://${at(FAMILIES[0]!.node, 10256)}/healthz`),
      /^200 .*"nodeEligible":true/,
    );
  }
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  t.strictSame(stateChanges(before, await hostState(node)), [], 'and the node is as it was');
});

t.test("ports that no Service has are the node's own", async (t) => {
  const server = node.spawn(process.execPath, [
    labScript('http-server'),
    '--listen',
    '0.0.0.0:30081',
    '--name',
    'node',
  ]);
  await server.line(/^ready/, 10_000);
  const up = await startUp(node, { files: [writeManifest([withLocalIPs, ...slices])], args: NODE_NAME });
  for (const source of SOURCES) {
    const { connections } = await http(lab, source, '10.0.1.1:30081', CONNECTIONS);
    t.strictSame(connections.byEndpoint, { '0.0.0.0:30081': 12 }, `from ${source}`);
    const refused = await http(lab, source, '10.0.1.1:30082', ['--connections', '2', '--requests', '0']);
    t.strictSame(
      refused.connections.errors,
      { ECONNREFUSED: 2 },
      'where nobody listens it is refused at once',
    );
  }
  const elsewhere = await http(lab, 'client', '10.244.1.2:8888', CONNECTIONS);
  t.strictSame(
    elsewhere.connections.byEndpoint,
    { '10.244.1.2:8888': 12 },
    'and what only passes the node passes it',
  );
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  await server.stop();
});

t.test('after kill -9 the next start takes everything back that the rules need', async (t) => {
  const args = [...NODE_NAME, ...POD_CIDRS];
  const killed = await startUp(node, { files: [writeManifest([withLocalIPs, ...slices])], args });
  await killed.stop('SIGKILL');
  t.ok(
    stateChanges(before, await hostState(node)).some((line) => line.includes('lookup local')),
    'it was killed in the middle',
  );
  const { connections: own } = await http(lab, 'client', '10.244.1.2:8888', CONNECTIONS);
  t.equal(own.answered, 12, 'what is no Service works meanwhile');
  const up = await startUp(node, { files: [writeManifest([withLocalIPs, ...slices])], args });
  const { connections } = await http(lab, 'client', at(FAMILIES[0]!.node, 30080), CONNECTIONS);
  t.equal(connections.answered, 12, 'it works again');
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  t.strictSame(stateChanges(before, await hostState(node)), [], 'the node is as before the first start');
});

// Two pods on one bridge, as most CNI plugins build it: they answer each other without the node.
const BRIDGE = `
set -e
ip netns add pod-a; ip netns add pod-b
ip -n node link add br0 type bridge
ip -n node addr add 10.244.5.1/24 dev br0; ip -n node addr add fd00:244:5::1/64 dev br0 nodad; ip -n node link set br0 up
for pod in a:2 b:3; do
  name=pod-\${pod%:*} number=\${pod#*:}
  ip link add eth0 netns $name type veth peer name to-$name netns node
  ip -n node link set to-$name master br0 up
  ip -n $name addr add 10.244.5.$number/24 dev eth0; ip -n $name addr add fd00:244:5::$number/64 dev eth0 nodad
  ip -n $name link set lo up; ip -n $name link set eth0 up
  ip -n $name route add default via 10.244.5.1; ip -n $name -6 route add default via fd00:244:5::1
done`;

t.test('a source is not kept where the reply would not come back', async (t) => {
  const { code, stderr } = await run('sh', ['-c', BRIDGE]);
  t.equal(code, 0, stderr);
  const pods = [new Host('pod-a'), new Host('pod-b')] as const;
  t.teardown(() => Promise.all(pods.map((pod) => pod.close())));
  const serve = async (host: Host, address: string, port: number): Promise<void> => {
    const args = [labScript('http-server'), '--listen', at(address, port), '--name', host.name];
    await host.spawn(process.execPath, args).line(/^ready/, 10_000);
  };
  const objects = FAMILIES.flatMap(({ family, node: nodeAddress, sources }, index) => {
    const isIPv4 = family === 'IPv4';
    // The node's own network, as the API server's endpoint has it; another host's; a pod on the client's bridge.
    const endpoints = [nodeAddress, sources.client, isIPv4 ? '10.244.5.3' : 'fd00:244:5::3'];
    return endpoints.flatMap((address, number) => [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: `direct-${index}-${number}`, namespace: 'default' },
        spec: {
          clusterIP: isIPv4 ? `10.96.1.${number}` : `fd00:96:1::${number}`,
          ports: [{ port: 443, protocol: 'TCP' }],
        },
      },
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: `direct-${index}-${number}`,
          namespace: 'default',
          labels: { 'kubernetes.io/service-name': `direct-${index}-${number}` },
        },
        addressType: family,
        ports: [{ name: '', port: 6443, protocol: 'TCP' }],
        endpoints: [{ addresses: [address] }],
      },
    ]);
  });
  for (const { family, node: nodeAddress, sources } of FAMILIES) {
    await serve(node, nodeAddress, 6443);
    await serve(lab.host('client'), sources.client, 6443);
    await serve(pods[1], family === 'IPv4' ? '10.244.5.3' : 'fd00:244:5::3', 6443);
  }
  const up = await startUp(node, { files: [writeManifest(objects)], args: [...NODE_NAME, ...POD_CIDRS] });
  for (const { family } of FAMILIES) {
    for (const [number, what] of [
      "the node's own network",
      "another host's network",
      'a pod on the same bridge',
    ].entries()) {
      const to = family === 'IPv4' ? `10.96.1.${number}:443` : `[fd00:96:1::${number}]:443`;
      const args = [labScript('http-client'), '--to', to, '--connections', '4', '--requests', '2'];
      const { stdout } = await pods[0].run(process.execPath, args, { timeoutMs: 40_000 });
      const { connections, keepAlive } = lastJson<HttpReport>(stdout);
      t.equal(connections.answered + keepAlive.answered, 6, `${family} from a pod to an endpoint in ${what}`);
    }
  }
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

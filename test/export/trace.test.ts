/** The exported rules, followed packet by packet, say what the plan says. */
import t from 'tap';
import type { Flow, FlowVerdict } from '../../src/conformance/plane-types.js';
import { verdictsOf } from './rule-trace.js';
import { OPTIONS, service, slice, textFor } from './support.js';

const LOCAL = [...OPTIONS.nodeIPs, ...OPTIONS.loopbackIPs];
const PORTS = [{ name: 'http', port: 80, nodePort: 30080 }];
const POD = '10.32.0.1';
const NODE = OPTIONS.nodeIP;
const CLIENT = '203.0.113.5';

const to = (destIP: string, destPort: number) => ({ protocol: 'TCP', destIP, destPort }) as const;
const CLUSTER_IP = to('10.96.0.10', 80);
const VIP = to('192.0.2.80', 80);
const NODE_PORT = to(NODE, 30080);

const dnat = (endpoint: string, masquerade = false): FlowVerdict => ({
  verdict: 'DNAT',
  endpoint,
  masquerade,
});
const HERE = '10.32.0.1:8080';
const THERE = '10.32.1.1:8080';

const loadBalancer = (spec: object): object =>
  service('web', { type: 'LoadBalancer', clusterIP: '10.96.0.10', ports: PORTS, ...spec }, ['192.0.2.80']);
const endpoints = (...addresses: string[]): object => slice('web', [{ name: 'http', port: 8080 }], addresses);

const CASES: readonly {
  readonly name: string;
  readonly objects: readonly object[];
  readonly flow: Flow;
  readonly expected: readonly FlowVerdict[];
}[] = [
  {
    name: 'pod to ClusterIP; the hairpin is masqueraded',
    objects: [loadBalancer({}), endpoints('10.32.0.1@here', '10.32.1.1')],
    flow: { sourceIP: POD, ...CLUSTER_IP },
    expected: [dnat(HERE, true), dnat(THERE)],
  },
  {
    name: 'client to ClusterIP',
    objects: [loadBalancer({}), endpoints('10.32.1.1')],
    flow: { sourceIP: CLIENT, ...CLUSTER_IP },
    expected: [dnat(THERE, true)],
  },
  {
    name: 'client to NodePort, policy Local: the endpoint here, with its address kept',
    objects: [loadBalancer({ externalTrafficPolicy: 'Local' }), endpoints('10.32.0.1@here', '10.32.1.1')],
    flow: { sourceIP: CLIENT, ...NODE_PORT },
    expected: [dnat(HERE)],
  },
  {
    name: 'the node itself to a VIP, policy Local: any endpoint',
    objects: [loadBalancer({ externalTrafficPolicy: 'Local' }), endpoints('10.32.0.1@here', '10.32.1.1')],
    flow: { sourceIP: NODE, ...VIP },
    expected: [dnat(HERE, true), dnat(THERE, true)],
  },
  {
    name: 'client to a VIP, policy Local, no endpoint here',
    objects: [loadBalancer({ externalTrafficPolicy: 'Local' }), endpoints('10.32.1.1')],
    flow: { sourceIP: CLIENT, ...VIP },
    expected: [{ verdict: 'DROP' }],
  },
  {
    name: 'client outside the source ranges',
    objects: [loadBalancer({ loadBalancerSourceRanges: ['198.18.0.0/15'] }), endpoints('10.32.1.1')],
    flow: { sourceIP: CLIENT, ...VIP },
    expected: [{ verdict: 'DROP' }],
  },
  {
    name: 'source ranges say nothing about NodePorts',
    objects: [loadBalancer({ loadBalancerSourceRanges: ['198.18.0.0/15'] }), endpoints('10.32.1.1')],
    flow: { sourceIP: CLIENT, ...NODE_PORT },
    expected: [dnat(THERE, true)],
  },
  {
    name: 'no endpoints',
    objects: [loadBalancer({})],
    flow: { sourceIP: CLIENT, ...NODE_PORT },
    expected: [{ verdict: 'REJECT' }],
  },
  {
    name: 'another port of a ClusterIP',
    objects: [loadBalancer({}), endpoints('10.32.1.1')],
    flow: { sourceIP: CLIENT, ...to('10.96.0.10', 81) },
    expected: [{ verdict: 'PASS' }],
  },
];

for (const { name, objects, flow, expected } of CASES) {
  t.test(name, async (t) => t.same(verdictsOf(textFor(objects), flow, LOCAL), expected));
}

/** Which endpoints may have a flow, as kube-proxy's topology.go would have it. */
import t from 'tap';
import type { Endpoint } from '../../src/control/model/endpoint.js';
import type { TrafficPolicy } from '../../src/control/model/service-port.js';
import { categorizeEndpoints, type TopologyNode } from '../../src/control/model/topology.js';

/** An endpoint in a word: its last byte, then letters: l local, t terminating and serving, x neither ready nor serving. */
interface Given {
  readonly at: string;
  readonly zones?: readonly string[];
  readonly nodes?: readonly string[];
}

const endpoint = ({ at, zones = [], nodes = [] }: Given): Endpoint => ({
  ip: `10.0.0.${Number.parseInt(at, 10)}`,
  port: 80,
  ready: !/[tx]/.test(at),
  serving: !at.includes('x'),
  terminating: /[tx]/.test(at),
  isLocal: at.includes('l'),
  nodeName: null,
  zone: null,
  zoneHints: zones,
  nodeHints: nodes,
});

interface Case {
  readonly name: string;
  readonly internal?: TrafficPolicy;
  /** Policy of what comes from outside; absent: nothing does. */
  readonly external?: TrafficPolicy;
  readonly node?: Partial<TopologyNode>;
  readonly endpoints: readonly (string | Given)[];
  readonly cluster?: string | null;
  readonly local?: string | null;
  readonly all: string;
  readonly hasEndpoints?: boolean;
}

const IN_A = { nodeName: 'n1', nodeLabels: { 'topology.kubernetes.io/zone': 'a' } };
const zone = (at: string, ...zones: string[]): Given => ({ at, zones });
const both = (at: string, node: string, zoneName: string): Given => ({
  at,
  nodes: [node],
  zones: [zoneName],
});

const CASES: readonly Case[] = [
  { name: 'no endpoints', endpoints: [], cluster: '', all: '', hasEndpoints: false },
  { name: 'ready ones only', endpoints: ['1', '2x', '3t', '4'], cluster: '1 4', all: '1 4' },
  {
    name: 'none ready: those that serve while they terminate',
    endpoints: ['1x', '2t', '3t'],
    cluster: '2 3',
    all: '2 3',
  },
  { name: 'none ready, none serving', endpoints: ['1x'], cluster: '', all: '', hasEndpoints: false },
  {
    name: 'internal Local: those of this node',
    internal: 'Local',
    endpoints: ['1', '2l'],
    cluster: null,
    local: '2',
    all: '2',
  },
  {
    name: 'internal Local, all remote: none, though there are endpoints',
    internal: 'Local',
    endpoints: ['1', '2'],
    cluster: null,
    local: '',
    all: '',
  },
  {
    name: 'internal Local, the local one terminates, others are ready elsewhere: it is used on',
    internal: 'Local',
    endpoints: ['1', '2lt'],
    cluster: null,
    local: '2',
    all: '2',
  },
  {
    name: 'internal Local, all remote and terminating: there are endpoints',
    internal: 'Local',
    endpoints: ['1t'],
    cluster: null,
    local: '',
    all: '',
  },
  { name: 'external Cluster', external: 'Cluster', endpoints: ['1', '2l'], cluster: '1 2', all: '1 2' },
  {
    name: 'external Local: the cluster set too, for the short circuit',
    external: 'Local',
    endpoints: ['1', '2l'],
    cluster: '1 2',
    local: '2',
    all: '1 2',
  },
  {
    name: 'both fall back on their own, and all is sorted',
    external: 'Local',
    endpoints: ['1lt', '2', '3lt', '4'],
    cluster: '2 4',
    local: '1 3',
    all: '1 2 3 4',
  },
  {
    name: 'internal Local with a way from outside uses both',
    internal: 'Local',
    external: 'Cluster',
    endpoints: ['1', '2l'],
    cluster: '1 2',
    local: '2',
    all: '1 2',
  },
  {
    name: 'hints: the same zone',
    node: IN_A,
    endpoints: [zone('1', 'a'), zone('2', 'b'), zone('3', 'c', 'a')],
    cluster: '1 3',
    all: '1 3',
  },
  {
    name: 'hints: one ready endpoint without is enough to leave them be',
    node: IN_A,
    endpoints: [zone('1', 'a'), '2', zone('3', 'b')],
    cluster: '1 2 3',
    all: '1 2 3',
  },
  {
    name: 'hints: those that are not ready do not count',
    node: IN_A,
    endpoints: [zone('1', 'a'), '2t', zone('3', 'b'), zone('4x', 'a')],
    cluster: '1',
    all: '1',
  },
  {
    name: 'hints: none for this zone',
    node: IN_A,
    endpoints: [zone('1', 'b'), zone('2', 'c')],
    cluster: '1 2',
    all: '1 2',
  },
  {
    name: 'hints: the ones for this zone are not ready',
    node: IN_A,
    endpoints: [zone('1t', 'a'), zone('2', 'b')],
    cluster: '2',
    all: '2',
  },
  {
    name: 'hints: a node without a zone',
    endpoints: [zone('1', 'a'), zone('2', 'b')],
    cluster: '1 2',
    all: '1 2',
  },
  {
    name: 'hints never narrow the local set',
    external: 'Local',
    node: IN_A,
    endpoints: [zone('1l', 'a'), zone('2l', 'b'), zone('3', 'a'), zone('4', 'b')],
    cluster: '1 3',
    local: '1 2',
    all: '1 2 3',
  },
  {
    name: 'hints and nothing ready: every terminating one',
    node: IN_A,
    endpoints: [zone('1t', 'a'), zone('2t', 'b')],
    cluster: '1 2',
    all: '1 2',
  },
  {
    name: 'node hints come before zone hints',
    node: IN_A,
    endpoints: [both('1', 'n1', 'a'), both('2', 'n2', 'a'), both('3', 'n3', 'b')],
    cluster: '1',
    all: '1',
  },
  {
    name: 'node hints, none for this node: the same zone',
    node: { ...IN_A, nodeName: 'n9' },
    endpoints: [both('1', 'n1', 'a'), both('2', 'n2', 'a'), both('3', 'n3', 'b')],
    cluster: '1 2',
    all: '1 2',
  },
  {
    name: 'node hints, one without: the same zone',
    node: IN_A,
    endpoints: [both('1', 'n1', 'a'), zone('2', 'a'), both('3', 'n3', 'b')],
    cluster: '1 2',
    all: '1 2',
  },
  {
    name: 'node hints, switched off: the same zone',
    node: { ...IN_A, featureGates: { PreferSameTrafficDistribution: false } },
    endpoints: [both('1', 'n1', 'a'), both('2', 'n2', 'a'), both('3', 'n3', 'b')],
    cluster: '1 2',
    all: '1 2',
  },
];

t.test('endpoints are split into cluster, local and all', async (t) => {
  for (const given of CASES) {
    const {
      name,
      internal = 'Cluster',
      external,
      node,
      cluster,
      local = null,
      all,
      hasEndpoints = true,
    } = given;
    const port = {
      internalTrafficPolicy: internal,
      externalTrafficPolicy: external ?? 'Cluster',
      nodePort: external === undefined ? 0 : 30_080,
      externalIPs: [],
      loadBalancerVIPs: [],
    };
    const endpoints = given.endpoints.map((at) => endpoint(typeof at === 'string' ? { at } : at));
    const sets = categorizeEndpoints(endpoints, port, { nodeName: 'n1', nodeLabels: {}, ...node });
    const text = (set: readonly Endpoint[] | null): string | null =>
      set?.map(({ ip }) => ip.replace('10.0.0.', '')).join(' ') ?? null;
    t.same(
      {
        cluster: text(sets.cluster),
        local: text(sets.local),
        all: text(sets.all),
        hasEndpoints: sets.hasEndpoints,
      },
      { cluster, local, all, hasEndpoints },
      name,
    );
  }
});

/** The facts of a Service's ports, as kube-proxy's serviceport.go would have them. */
import t from 'tap';
import {
  type Destinations,
  isExternallyAccessible,
  type ServicePort,
  servicePortsOf,
  usesClusterEndpoints,
  usesLocalEndpoints,
} from '../../src/control/model/service-port.js';
import type { Service } from '../../src/control/sources/kube-object.js';
import { objectsOf, service } from './support.js';

const PORTS = [{ port: 80, nodePort: 30_080 }];
const DUAL = { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1', 'fd00:96::1'] };
const ingress = (...given: object[]): object => ({ loadBalancer: { ingress: given } });

const portsOf = (spec: object, status: object = {}, metadata: object = {}): ServicePort[] => {
  const [object] = objectsOf([{ ...service('web', spec, metadata), status }]) as Service[];
  return object === undefined ? [] : [...servicePortsOf(object, 'IPv4'), ...servicePortsOf(object, 'IPv6')];
};

/** One port each, IPv4; what is expected of it. */
const CASES: readonly { name: string; spec: object; status?: object; metadata?: object; facts: object }[] = [
  {
    name: 'nothing but a clusterIP: every default',
    spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
    facts: {
      name: { namespace: 'default', name: 'web', port: '', protocol: 'TCP' },
      family: 'IPv4',
      clusterIP: '10.96.0.1',
      port: 80,
      protocol: 'TCP',
      nodePort: 0,
      externalIPs: [],
      loadBalancerVIPs: [],
      loadBalancerSourceRanges: [],
      internalTrafficPolicy: 'Cluster',
      externalTrafficPolicy: 'Cluster',
      affinitySec: 0,
      healthCheckNodePort: 0,
      algorithm: null,
      weights: new Map(),
      retry: null,
      onEndpointRemoval: { kind: 'keep' },
      index: 0,
    },
  },
  {
    name: 'zero-padded addresses are decimal and written without padding',
    spec: {
      clusterIP: '172.30.0.041',
      externalIPs: ['192.168.099.022'],
      loadBalancerSourceRanges: ['203.0.113.000/025'],
      ports: PORTS,
    },
    status: ingress({ ip: '1.2.3.004' }),
    facts: {
      clusterIP: '172.30.0.41',
      externalIPs: ['192.168.99.22'],
      loadBalancerVIPs: ['1.2.3.4'],
      loadBalancerSourceRanges: ['203.0.113.0/25'],
    },
  },
  {
    name: 'blanks around source ranges are trimmed, host bits cleared',
    spec: { clusterIP: '10.96.0.1', loadBalancerSourceRanges: [' 203.0.113.7/25\t'], ports: PORTS },
    facts: { loadBalancerSourceRanges: ['203.0.113.0/25'] },
  },
  {
    name: 'a load balancer address of ipMode Proxy is not captured',
    spec: { type: 'LoadBalancer', clusterIP: '10.96.0.1', ports: PORTS },
    status: ingress({ ip: '1.2.3.4', ipMode: 'Proxy' }, { ip: '1.2.3.5', ipMode: 'VIP' }, { hostname: 'lb' }),
    facts: { loadBalancerVIPs: ['1.2.3.5'] },
  },
  {
    name: 'the nodePort and addresses count whatever the type is',
    spec: { clusterIP: '10.96.0.1', ports: PORTS },
    status: ingress({ ip: '1.2.3.4' }),
    facts: { nodePort: 30_080, loadBalancerVIPs: ['1.2.3.4'] },
  },
  {
    name: 'externalTrafficPolicy Local of a NodePort Service',
    spec: { type: 'NodePort', clusterIP: '10.96.0.1', externalTrafficPolicy: 'Local', ports: PORTS },
    facts: { externalTrafficPolicy: 'Local' },
  },
  {
    name: 'externalTrafficPolicy Local of a ClusterIP Service with externalIPs',
    spec: {
      type: 'ClusterIP',
      clusterIP: '10.96.0.1',
      externalIPs: ['192.0.2.1'],
      externalTrafficPolicy: 'Local',
      ports: PORTS,
    },
    facts: { externalTrafficPolicy: 'Local' },
  },
  {
    name: 'externalTrafficPolicy is ignored where nothing external leads to the Service',
    spec: { clusterIP: '10.96.0.1', externalTrafficPolicy: 'Local', ports: [{ port: 80 }] },
    facts: { externalTrafficPolicy: 'Cluster' },
  },
  {
    name: 'healthCheckNodePort with type LoadBalancer and externalTrafficPolicy Local',
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.1',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 345,
      ports: PORTS,
    },
    facts: { healthCheckNodePort: 345 },
  },
  {
    name: 'healthCheckNodePort is ignored with policy Cluster',
    spec: { type: 'LoadBalancer', clusterIP: '10.96.0.1', healthCheckNodePort: 345, ports: PORTS },
    facts: { healthCheckNodePort: 0 },
  },
  {
    name: 'healthCheckNodePort is ignored with another type',
    spec: {
      type: 'NodePort',
      clusterIP: '10.96.0.1',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 345,
      ports: PORTS,
    },
    facts: { healthCheckNodePort: 0 },
  },
  {
    name: 'session affinity lasts three hours unless it is said',
    spec: { clusterIP: '10.96.0.1', sessionAffinity: 'ClientIP', ports: PORTS },
    facts: { affinitySec: 10_800 },
  },
  {
    name: 'session affinity of its own length',
    spec: {
      clusterIP: '10.96.0.1',
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 1 } },
      ports: PORTS,
    },
    facts: { affinitySec: 1 },
  },
  {
    name: 'no session affinity, though a length is given',
    spec: {
      clusterIP: '10.96.0.1',
      sessionAffinity: 'None',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 1 } },
      ports: PORTS,
    },
    facts: { affinitySec: 0 },
  },
  {
    name: 'the annotations',
    spec: { clusterIP: '10.96.0.1', ports: PORTS },
    metadata: {
      annotations: {
        'flowpin.dev/algorithm': 'wrr',
        'flowpin.dev/weights': '10.244.0.3=2, 10.244.1.002=10, FD00::1=3',
        'flowpin.dev/retry': 'true',
        'flowpin.dev/on-endpoint-removal': 'drain=30',
        'other.example/algorithm': 1,
      },
    },
    facts: {
      algorithm: 'wrr',
      weights: new Map([
        ['10.244.0.3', 2],
        ['10.244.1.2', 10],
        ['fd00::1', 3],
      ]),
      retry: true,
      onEndpointRemoval: { kind: 'drain', seconds: 30 },
    },
  },
  {
    name: 'the other way of each annotation',
    spec: { clusterIP: '10.96.0.1', ports: PORTS },
    metadata: { annotations: { 'flowpin.dev/retry': 'false', 'flowpin.dev/on-endpoint-removal': 'reset' } },
    facts: { retry: false, onEndpointRemoval: { kind: 'reset' } },
  },
];

t.test("a Service port has kube-proxy's facts", async (t) => {
  for (const { name, spec, status, metadata, facts } of CASES) {
    const [port, ...others] = portsOf(spec, status, metadata);
    t.same(others, [], name);
    const { service: _, ...found } = port ?? ({} as ServicePort);
    t.same({ ...found, ...facts }, found, name);
  }
});

t.test('each family has the addresses of its own, and is there with a clusterIP of its own', async (t) => {
  const external = {
    externalIPs: ['192.0.2.1', 'fd00::1'],
    loadBalancerSourceRanges: ['203.0.113.0/24', 'fd00:1::/64'],
    ports: PORTS,
  };
  const status = ingress({ ip: '192.0.2.2' }, { ip: 'fd00::2' });
  const v4 = {
    family: 'IPv4',
    clusterIP: '10.96.0.1',
    externalIPs: ['192.0.2.1'],
    loadBalancerVIPs: ['192.0.2.2'],
    loadBalancerSourceRanges: ['203.0.113.0/24'],
  };
  const v6 = {
    family: 'IPv6',
    clusterIP: 'fd00:96::1',
    externalIPs: ['fd00::1'],
    loadBalancerVIPs: ['fd00::2'],
    loadBalancerSourceRanges: ['fd00:1::/64'],
  };
  t.match(portsOf({ ...DUAL, ...external }, status), [v4, v6]);
  t.match(portsOf({ clusterIP: '10.96.0.1', ...external }, status), [v4]);
  t.match(portsOf({ clusterIP: 'fd00:96::1', ...external }, status), [v6]);
  t.equal(portsOf({ clusterIP: '10.96.0.1', ...external }, status).length, 1);
  t.equal(portsOf({ clusterIP: 'fd00:96::1', ...external }, status).length, 1);
});

t.test('a Service that kube-proxy passes over has no ports', async (t) => {
  const spec = { ...DUAL, ports: PORTS };
  t.equal(portsOf(spec).length, 2);
  t.same(portsOf({ ...spec, type: 'ExternalName' }), []);
  t.same(portsOf({ clusterIP: 'None', clusterIPs: ['None'], ports: PORTS }), []);
  t.same(portsOf({ ports: PORTS }), []);
  t.same(portsOf({ ...DUAL }), []);
  for (const label of ['service-proxy-name', 'headless']) {
    for (const value of ['x', '', null]) {
      t.same(
        portsOf(spec, {}, { labels: { [`service.kubernetes.io/${label}`]: value } }),
        [],
        `${label}: ${value}`,
      );
    }
  }
});

t.test('which sets of endpoints a port uses', async (t) => {
  const none: Destinations = { nodePort: 0, externalIPs: [], loadBalancerVIPs: [] };
  const external = [
    { ...none, nodePort: 1 },
    { ...none, externalIPs: ['192.0.2.1'] },
    { ...none, loadBalancerVIPs: ['192.0.2.1'] },
  ];
  const sets = (
    internal: 'Cluster' | 'Local',
    externalPolicy: 'Cluster' | 'Local',
    destinations = none,
  ): string => {
    const port = { ...destinations, internalTrafficPolicy: internal, externalTrafficPolicy: externalPolicy };
    return `${usesClusterEndpoints(port) ? 'cluster' : ''} ${usesLocalEndpoints(port) ? 'local' : ''}`.trim();
  };
  t.equal(sets('Cluster', 'Cluster'), 'cluster');
  t.equal(sets('Local', 'Cluster'), 'local');
  t.equal(sets('Cluster', 'Local'), 'cluster', 'policy Local of what nothing external leads to');
  t.notOk(isExternallyAccessible(none));
  for (const destinations of external) {
    t.ok(isExternallyAccessible(destinations));
    t.equal(sets('Cluster', 'Cluster', destinations), 'cluster');
    t.equal(sets('Local', 'Cluster', destinations), 'cluster local');
    t.equal(sets('Cluster', 'Local', destinations), 'cluster local', 'cluster for the short circuit');
  }
});

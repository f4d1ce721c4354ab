/** Objects and options for the tests of the export. */
import fc from 'fast-check';
import { type Plan, planOf } from '../../src/control/compile/plan.js';
import {
  DEFAULT_IPTABLES_EXPORT,
  type IptablesExport,
  iptablesText,
} from '../../src/control/export/iptables.js';
import type { ProxyOptions } from '../../src/control/model/proxy-options.js';
import type { KubeObject } from '../../src/control/sources/kube-object.js';
import { Origin, remarkText } from '../../src/control/sources/origin.js';
import { readObject } from '../../src/control/sources/read-object.js';

export const OPTIONS: ProxyOptions = {
  mode: 'iptables',
  ipvsScheduler: 'rr',
  nodeName: 'here',
  nodeLabels: {},
  nodeIP: '198.51.100.7',
  nodeIPs: ['198.51.100.7', '2001:db8:7::7'],
  loopbackIPs: ['127.0.0.1', '::1'],
  nodePortAddresses: null,
  localhostNodePorts: false,
  clusterCIDRs: ['10.32.0.0/12', 'fd00:32::/48'],
  serviceCIDRs: [],
  masqueradeAll: false,
  links: null,
  rejectUnserved: false,
};

interface PortGiven {
  readonly name?: string;
  readonly port: number;
  readonly protocol?: string;
  readonly nodePort?: number;
}

/** A Service "shop/NAME". */
export const service = (
  name: string,
  spec: {
    readonly clusterIP: string;
    readonly ports: readonly PortGiven[];
    readonly [field: string]: unknown;
  },
  vips: readonly string[] = [],
): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'shop', name },
  spec,
  status: { loadBalancer: { ingress: vips.map((ip) => ({ ip })) } },
});

/** An EndpointSlice of "shop/NAME": addresses with "@here" are on this node, those with "~" terminate and serve. */
export const slice = (name: string, ports: readonly PortGiven[], endpoints: readonly string[]): object => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { namespace: 'shop', name: `${name}-x`, labels: { 'kubernetes.io/service-name': name } },
  addressType: endpoints.some((text) => text.includes(':')) ? 'IPv6' : 'IPv4',
  ports,
  endpoints: endpoints.map((text) => {
    const [address, nodeName] = text.replace('~', '').split('@');
    const conditions = text.startsWith('~')
      ? { ready: false, serving: true, terminating: true }
      : { ready: true };
    return { addresses: [address], conditions, ...(nodeName && { nodeName }) };
  }),
});

/** Reads objects that must be right. */
export const objectsOf = (values: readonly object[]): KubeObject[] =>
  values.map((value) => {
    const { object, setAside } = readObject(value, new Origin('test.yaml', () => 1));
    if (object === null || setAside.length > 0) throw new Error(setAside.map(remarkText).join('\n'));
    return object;
  });

export const planFor = (objects: readonly object[], options: ProxyOptions = OPTIONS): Plan =>
  planOf(objectsOf(objects), options);

/** The exported text of the objects. */
export const textFor = (
  objects: readonly object[],
  options: Partial<ProxyOptions> = {},
  given: Partial<IptablesExport> = {},
): string => {
  const all = { ...OPTIONS, ...options };
  return iptablesText(planFor(objects, all), all, { ...DEFAULT_IPTABLES_EXPORT, ...given });
};

/** The rules of one chain in one table. */
export function rulesIn(text: string, table: 'filter' | 'nat', chain: string): string[] {
  const part = text.split(/(?<=^COMMIT\n)/m).find((part) => part.startsWith(`*${table}\n`)) ?? '';
  return part.split('\n').filter((line) => line.startsWith(`-A ${chain} `));
}

export const chainsIn = (text: string): string[] => [...text.matchAll(/^:(\S+) /gm)].map(([, name]) => name!);

/** What a Service "shop/s0", "shop/s1", ... is like. */
export const anyService = fc.record({
  endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { maxLength: 4 }),
  isHere: fc.boolean(),
  type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer'),
  internalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
  externalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
  sessionAffinity: fc.constantFrom('None', 'ClientIP'),
  loadBalancerSourceRanges: fc.constantFrom([], ['203.0.113.0/24'], ['198.51.100.0/24', '203.0.113.0/24']),
});

type AnyService = typeof anyService extends fc.Arbitrary<infer Value> ? Value : never;

/** ClusterIP 10.96.1.1, NodePort 30000, VIP 192.0.2.1 and endpoints 10.32.0.x of the first, and so on. */
export const objectsFor = (services: readonly AnyService[]): object[] =>
  services.flatMap(({ endpoints, isHere, ...spec }, index) => {
    const name = `s${index}`;
    const ports = [{ name: 'p', port: 80, ...(spec.type !== 'ClusterIP' && { nodePort: 30000 + index }) }];
    const vips = spec.type === 'LoadBalancer' ? [`192.0.2.${index + 1}`] : [];
    const addresses = endpoints.map(
      (last, at) => `10.32.${index}.${last}${isHere && at === 0 ? '@here' : ''}`,
    );
    return [
      service(name, { clusterIP: `10.96.1.${index + 1}`, ports, ...spec }, vips),
      slice(name, [{ name: 'p', port: 8080 }], addresses),
    ];
  });

/**
 * Any Services on any node, through the real control plane: what the fuzz and the model test choose from. The addresses are
 * few and fixed, so that packets often meet, and a Service keeps its kind while its endpoints and policies change.
 */
import fc from 'fast-check';
import { compile } from '../../src/control/compile/compile.js';
import type { Plan } from '../../src/control/compile/plan.js';
import { Registry } from '../../src/control/compile/registry.js';
import type { ProxyOptions } from '../../src/control/model/proxy-options.js';
import { InMemoryDataplane } from '../../src/dataplane/in-memory.js';
import { snatPoolAt } from '../../src/host/snat-pool.js';
import { ENDPOINT_ROWS } from '../../src/table/counters.js';
import { OPTIONS, planFor } from '../export/support.js';

export const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;
export const SERVICES = 3;
export const NODE = ['198.51.100.7', '2001:db8:7::7'] as const;
export const POD_CIDRS = ['10.32.0.0/12', 'fd00:32::/48'] as const;
export const POOL_CIDRS = ['198.18.0.0/24', 'fd00:198:18::/120'] as const;
const ROWS = 256;

export const clusterIP = (service: number, v6: boolean): string =>
  v6 ? `fd00:96::${service + 1}` : `10.96.1.${service + 1}`;
export const externalIP = (service: number, v6: boolean): string =>
  v6 ? `2001:db8:2::${service + 1}` : `192.0.2.${service + 1}`;
export const podIP = (service: number, last: number, v6: boolean): string =>
  v6 ? `fd00:32::${service + 1}:${last}` : `10.32.${service}.${last}`;
export const PORT = 80;
export const TARGET_PORT = 8080;
export const NODE_PORT = 30_000;

/** What never changes of a Service. */
export const anyKinds = fc.array(fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer'), {
  minLength: SERVICES,
  maxLength: SERVICES,
});

const anyState = fc.record({
  endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 4 }),
  here: fc.boolean(),
  internalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
  externalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
  affinity: fc.boolean(),
  ranges: fc.constantFrom([], ['203.0.113.0/24', '2001:db8:113::/48']),
  algorithm: fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom(null, 'random', 'rr', 'wrr', 'lc', 'sed', 'nq', 'sh') },
    { weight: 1, arbitrary: fc.constant('mh') }, // its tables take long to make
  ),
  retry: fc.boolean(),
  onRemoval: fc.constantFrom('keep', 'reset', 'drain=5'),
});
/** One state a Service; many of them follow each other. */
export const anyStates = fc.array(anyState, { minLength: SERVICES, maxLength: SERVICES });
export type States = typeof anyStates extends fc.Arbitrary<infer Value> ? Value : never;

export const anyOptions: fc.Arbitrary<Partial<ProxyOptions>> = fc.record({
  mode: fc.constantFrom('iptables', 'nftables', 'userspace', 'ipvs'),
  masqueradeAll: fc.boolean(),
  answerPing: fc.boolean(),
  clusterCIDRs: fc.constantFrom<readonly string[]>([], POD_CIDRS),
  localhostNodePorts: fc.boolean(),
  nodePortAddresses: fc.constantFrom(null, ['198.51.100.0/24', '2001:db8:7::/64']),
  links: fc.constantFrom(null, [], ['203.0.113.0/24']),
});

/** Options as on a TUN: an unserved port is rejected. */
export const optionsOf = (some: Partial<ProxyOptions>): ProxyOptions => ({
  ...OPTIONS,
  rejectUnserved: true,
  ...some,
});

export function planOfWorld(
  kinds: readonly string[],
  states: States,
  options: ProxyOptions,
  retries = true,
): Plan {
  return planFor(
    states.flatMap((state, index) => objectsOf(kinds[index]!, state, index, retries)),
    options,
  );
}

function objectsOf(type: string, state: States[number], index: number, retries: boolean): object[] {
  const name = `s${index}`;
  const ports = PROTOCOLS.map((protocol, p) => ({
    name: protocol,
    port: PORT,
    protocol: protocol.toUpperCase(),
    ...(type !== 'ClusterIP' && { nodePort: NODE_PORT + index * 4 + p }),
  }));
  const weights = state.endpoints.map((last) => `${podIP(index, last, false)}=${last}`).join(',');
  const annotations = {
    'flowpin.dev/on-endpoint-removal': state.onRemoval,
    ...(state.algorithm !== null && { 'flowpin.dev/algorithm': state.algorithm }),
    'flowpin.dev/retry': String(state.retry && retries),
    ...(weights !== '' && { 'flowpin.dev/weights': weights }),
  };
  const vips = type === 'LoadBalancer' ? [false, true].map((v6) => ({ ip: externalIP(index, v6) })) : [];
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'shop', name, annotations },
    spec: {
      type,
      clusterIP: clusterIP(index, false),
      clusterIPs: [clusterIP(index, false), clusterIP(index, true)],
      ports,
      internalTrafficPolicy: state.internalTrafficPolicy,
      ...(type !== 'ClusterIP' && { externalTrafficPolicy: state.externalTrafficPolicy }),
      sessionAffinity: state.affinity ? 'ClientIP' : 'None',
      ...(type === 'LoadBalancer' && { loadBalancerSourceRanges: state.ranges }),
    },
    status: { loadBalancer: { ingress: vips } },
  };
  const slices = [false, true].map((v6) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: 'shop', name: `${name}-${v6}`, labels: { 'kubernetes.io/service-name': name } },
    addressType: v6 ? 'IPv6' : 'IPv4',
    ports: ports.map((port) => ({ name: port.name, protocol: port.protocol, port: TARGET_PORT })),
    endpoints: state.endpoints.map((last, at) => ({
      addresses: [podIP(index, last, v6)],
      conditions: { ready: true },
      ...(state.here && at === 0 && { nodeName: 'here' }),
    })),
  }));
  return [service, ...slices];
}

export const POOLS = POOL_CIDRS.map(snatPoolAt);

/** The pipeline over a plan, and the plans that follow it. */
export class WorldPlane extends InMemoryDataplane {
  private readonly registry: Registry;
  private readonly proxyOptions: ProxyOptions;

  constructor(plan: Plan, options: ProxyOptions, flowCapacity = 256, seed = 1) {
    const turns = new Int32Array(new SharedArrayBuffer(ROWS * 4));
    const registry = new Registry(turns, seed);
    super({
      table: compile(plan, options, registry, 0),
      snatPools: POOLS,
      turns,
      active: new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS_USED * 4)),
      seed,
      flowCapacity,
    });
    this.registry = registry;
    this.proxyOptions = options;
  }

  change(plan: Plan): void {
    this.publish(compile(plan, this.proxyOptions, this.registry, Math.floor(this.nowMs / 1000)));
  }
}

/** Far fewer ids than rows come up in a test. */
const ENDPOINT_ROWS_USED = Math.min(ENDPOINT_ROWS, 1 << 10);

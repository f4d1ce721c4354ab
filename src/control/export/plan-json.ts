/**
 * A plan to be read by people and by programs: which addresses are answered, by which policy, and with what chance a new
 * connection goes to each endpoint. Plain JSON values; keys are as Kubernetes names the things.
 */
import type { Plan, PlannedPort } from '../compile/plan.js';
import { type Endpoint, endpointText } from '../model/endpoint.js';
import type { ProxyMode, ProxyOptions } from '../model/proxy-options.js';
import { isExternallyAccessible, type ServicePort, type TrafficPolicy } from '../model/service-port.js';
import { servicePortNameText } from '../model/service-port-name.js';
import { type Ignored, remarkText, type SetAside } from '../sources/origin.js';

export interface PlanJson {
  readonly mode: ProxyMode;
  readonly servicePorts: readonly ServicePortJson[];
  /** One line for each. */
  readonly setAside: readonly string[];
  readonly ignored: readonly string[];
}

export interface ServicePortJson {
  /** "default/httpenv:http" */
  readonly name: string;
  readonly family: string;
  readonly protocol: string;
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  readonly destinations: readonly DestinationJson[];
  /** Where new connections may go, by traffic policy; a policy that no destination uses is not there. */
  readonly endpoints: {
    readonly Cluster?: readonly EndpointJson[];
    readonly Local?: readonly EndpointJson[];
  };
  /** "random", "rr", ... */
  readonly algorithm: string;
  readonly sessionAffinitySeconds?: number;
  readonly loadBalancerSourceRanges?: readonly string[];
  readonly healthCheckNodePort?: number;
  readonly retry?: boolean;
  readonly onEndpointRemoval?: string;
}

export interface DestinationJson {
  readonly kind: 'clusterIP' | 'externalIP' | 'loadBalancerVIP' | 'nodePort';
  /** "10.96.4.2:80"; a nodePort has no address of its own: ":30080". */
  readonly address: string;
  readonly policy: TrafficPolicy;
  /**
   * What becomes of a new connection from outside: it is balanced; or REJECT, when there is no endpoint anywhere; or DROP, when
   * the policy is Local and there is none on this node.
   */
  readonly verdict: 'balance' | 'REJECT' | 'DROP';
}

export interface EndpointJson {
  readonly endpoint: string;
  readonly nodeName?: string;
  /** Gets connections only because no endpoint is ready. */
  readonly terminating?: true;
  /** Of a new connection that no session affinity decides; not there when the algorithm is not a random one. */
  readonly probability?: number;
  readonly weight?: number;
}

/** Pure: the same plan and options give the same value. */
export const planJson = (plan: Plan, { mode, ipvsScheduler }: ProxyOptions): PlanJson => ({
  mode,
  servicePorts: plan.ports.map((port) => servicePortJson(port, MODE_ALGORITHM[mode] ?? ipvsScheduler, mode)),
  setAside: plan.setAside.map((remark: SetAside) => remarkText(remark)),
  ignored: plan.ignored.map((remark: Ignored) => remarkText(remark)),
});

/** null: the scheduler that is configured. */
const MODE_ALGORITHM: Record<ProxyMode, string | null> = {
  iptables: 'random',
  nftables: 'random',
  userspace: 'rr',
  ipvs: null,
};

function servicePortJson(
  { servicePort, endpoints }: PlannedPort,
  modeAlgorithm: string,
  mode: ProxyMode,
): ServicePortJson {
  const { name, family, protocol, internalTrafficPolicy, externalTrafficPolicy, weights } = servicePort;
  const algorithm = servicePort.algorithm ?? modeAlgorithm;
  const listed = (set: readonly Endpoint[]): EndpointJson[] =>
    set.map((endpoint) => endpointJson(endpoint, set.length, algorithm, weights));
  const {
    affinitySec,
    loadBalancerSourceRanges,
    healthCheckNodePort,
    onEndpointRemoval: removal,
  } = servicePort;
  return {
    name: servicePortNameText(name),
    family,
    protocol,
    internalTrafficPolicy,
    externalTrafficPolicy,
    destinations: destinationsOf(servicePort).map(({ kind, address }) => {
      const policy = kind === 'clusterIP' ? internalTrafficPolicy : externalTrafficPolicy;
      const { local, hasEndpoints } = endpoints;
      const isLacking = policy === 'Local' && (local ?? []).length === 0;
      return { kind, address, policy, verdict: !hasEndpoints ? 'REJECT' : isLacking ? 'DROP' : 'balance' };
    }),
    endpoints: {
      ...(endpoints.cluster && { Cluster: listed(endpoints.cluster) }),
      ...(endpoints.local && { Local: listed(endpoints.local) }),
    },
    algorithm,
    ...(affinitySec > 0 && { sessionAffinitySeconds: affinitySec }),
    ...(loadBalancerSourceRanges.length > 0 && { loadBalancerSourceRanges }),
    ...(healthCheckNodePort > 0 && { healthCheckNodePort }),
    ...((servicePort.retry ?? mode === 'userspace') && { retry: true }),
    ...(removal.kind !== 'keep' && {
      onEndpointRemoval: removal.kind === 'drain' ? `drain=${removal.seconds}` : removal.kind,
    }),
  };
}

function destinationsOf(port: ServicePort): Pick<DestinationJson, 'kind' | 'address'>[] {
  const at = (ip: string): string => endpointText({ ip, port: port.port });
  const own = { kind: 'clusterIP', address: at(port.clusterIP) } as const;
  if (!isExternallyAccessible(port)) return [own];
  return [
    own,
    ...port.externalIPs.map((ip) => ({ kind: 'externalIP', address: at(ip) }) as const),
    ...port.loadBalancerVIPs.map((ip) => ({ kind: 'loadBalancerVIP', address: at(ip) }) as const),
    ...(port.nodePort > 0 ? [{ kind: 'nodePort', address: `:${port.nodePort}` } as const] : []),
  ];
}

function endpointJson(
  endpoint: Endpoint,
  count: number,
  algorithm: string,
  weights: ReadonlyMap<string, number>,
): EndpointJson {
  const { ip, nodeName, ready } = endpoint;
  return {
    endpoint: endpointText(endpoint),
    ...(nodeName !== null && { nodeName }),
    ...(!ready && { terminating: true }),
    ...(algorithm === 'random' && { probability: 1 / count }),
    ...(algorithm === 'wrr' && { weight: weights.get(ip) ?? 1 }),
  };
}

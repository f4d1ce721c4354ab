/** Which endpoints may have a flow: kube-proxy's pkg/proxy/topology.go, CategorizeEndpoints. */
import { type Endpoint, isServingTerminating } from './endpoint.js';
import type { ProxyOptions } from './proxy-options.js';
import {
  type Destinations,
  type Policies,
  usesClusterEndpoints,
  usesLocalEndpoints,
} from './service-port.js';

export interface EndpointSets {
  /** For traffic policy Cluster, topology applied; null: no destination of the Service port uses this set. */
  readonly cluster: readonly Endpoint[] | null;
  /** For traffic policy Local: those on this node; null: not in use. */
  readonly local: readonly Endpoint[] | null;
  /** Every endpoint of the two, each once, sorted by "ip:port". */
  readonly all: readonly Endpoint[];
  /** Every endpoint that serves, wanted for new flows or not: UDP flows may stay with it. */
  readonly serving: readonly Endpoint[];
  /** Whether any endpoint anywhere is ready, or serves while it terminates. */
  readonly hasEndpoints: boolean;
}

export type TopologyNode = Pick<ProxyOptions, 'nodeName' | 'nodeLabels' | 'featureGates'>;

const ZONE_LABEL = 'topology.kubernetes.io/zone';

/**
 * @param endpoints of the Service port, sorted; the sets keep their order
 * @param servicePort which policies it has, and whether anything but its clusterIP is reachable
 */
export function categorizeEndpoints(
  endpoints: readonly Endpoint[],
  servicePort: Policies & Destinations,
  node: TopologyNode,
): EndpointSets {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  const hasEndpoints = ready.length > 0 || endpoints.some(isServingTerminating);
  // Both fall back on their own: a node's last endpoint may terminate while others are ready elsewhere.
  const cluster = usesClusterEndpoints(servicePort)
    ? orServingTerminating(nearest(ready, node), endpoints)
    : null;
  const local = usesLocalEndpoints(servicePort)
    ? orServingTerminating(ready.filter(isLocal), endpoints.filter(isLocal))
    : null;
  const serving = endpoints.filter((endpoint) => endpoint.serving || endpoint.ready);
  return { cluster, local, all: union(endpoints, cluster, local), serving, hasEndpoints };
}

const isLocal = (endpoint: Endpoint): boolean => endpoint.isLocal;

const orServingTerminating = (ready: readonly Endpoint[], among: readonly Endpoint[]): readonly Endpoint[] =>
  ready.length > 0 ? ready : among.filter(isServingTerminating);

/** Those of both, in the order of `endpoints`. */
function union(
  endpoints: readonly Endpoint[],
  cluster: EndpointSets['cluster'],
  local: EndpointSets['local'],
): readonly Endpoint[] {
  if (cluster === null || local === null) return cluster ?? local ?? [];
  if (local.length === 0) return cluster;
  const either = new Set([...cluster, ...local]);
  return either.size === cluster.length ? cluster : endpoints.filter((endpoint) => either.has(endpoint));
}

/**
 * Hints count only when every ready endpoint has them and one is meant for here; else every endpoint is near enough
 * (topology.go, topologyModeFromHints). Which of them are set, trafficDistribution or topology-aware routing, is decided
 * in the control plane of the cluster.
 */
function nearest(
  ready: readonly Endpoint[],
  { nodeName, nodeLabels, featureGates }: TopologyNode,
): readonly Endpoint[] {
  const hintedFor = (
    hintsOf: (endpoint: Endpoint) => readonly string[],
    here: string,
  ): readonly Endpoint[] => {
    if (!ready.every((endpoint) => hintsOf(endpoint).length > 0)) return [];
    return ready.filter((endpoint) => hintsOf(endpoint).includes(here));
  };
  if (featureGates?.['PreferSameTrafficDistribution'] !== false) {
    const sameNode = hintedFor(({ nodeHints }) => nodeHints, nodeName);
    if (sameNode.length > 0) return sameNode;
  }
  const sameZone = hintedFor(({ zoneHints }) => zoneHints, nodeLabels[ZONE_LABEL] ?? '');
  return sameZone.length > 0 ? sameZone : ready;
}

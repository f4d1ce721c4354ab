/** topology.json: endpoints with hints, and which of them a node uses. */
import type { Endpoint } from '../control/model/endpoint.js';
import { endpointText } from '../control/model/endpoint.js';
import { categorizeEndpoints } from '../control/model/topology.js';
import type { Check } from './check.js';
import { optionsOf } from './options-of.js';

interface TopologyCase {
  readonly id: string;
  readonly nodeName?: string;
  readonly nodeLabels?: Readonly<Record<string, string>>;
  readonly featureGates?: Readonly<Record<string, boolean>>;
  /** Of a release in which an annotation of the Service switched hints on. */
  readonly legacy?: boolean;
  readonly service: {
    readonly internalPolicyLocal?: boolean;
    readonly externalPolicyLocal?: boolean;
    readonly nodePort?: number;
    readonly externallyAccessible?: boolean;
    readonly hintsAnnotation?: string;
  };
  readonly endpoints?: readonly {
    readonly endpoint: string;
    readonly ready?: boolean;
    readonly serving?: boolean;
    readonly terminating?: boolean;
    readonly isLocal?: boolean;
    readonly zoneHints?: readonly string[] | null;
    readonly nodeHints?: readonly string[] | null;
  }[];
  readonly expect: {
    readonly clusterEndpoints: readonly string[] | null;
    readonly localEndpoints: readonly string[] | null;
    readonly allEndpoints: readonly string[] | null;
    readonly hasAnyEndpoints: boolean;
  };
}

export const topologyChecks = (data: unknown): Check[] =>
  (data as readonly TopologyCase[]).map((given) => ({
    name: given.id,
    expected: expectedOf(given),
    actual: () => setsOf(given),
  }));

function expectedOf({ expect, endpoints = [] }: TopologyCase): unknown {
  const { clusterEndpoints, localEndpoints, allEndpoints, hasAnyEndpoints } = expect;
  const isEmpty = endpoints.length === 0;
  return {
    clusterEndpoints: setText(clusterEndpoints, isEmpty),
    localEndpoints: setText(localEndpoints, isEmpty),
    allEndpoints: setText(allEndpoints ?? [], isEmpty),
    hasAnyEndpoints,
  };
}

function setsOf(given: TopologyCase): unknown {
  const { service, nodeName, nodeLabels, featureGates } = given;
  const endpoints = endpointsOf(given);
  const sets = categorizeEndpoints(
    endpoints,
    {
      internalTrafficPolicy: service.internalPolicyLocal ? 'Local' : 'Cluster',
      externalTrafficPolicy: service.externalPolicyLocal ? 'Local' : 'Cluster',
      nodePort: service.externallyAccessible ? service.nodePort || 8080 : 0,
      externalIPs: [],
      loadBalancerVIPs: [],
    },
    optionsOf({
      nodeName: nodeName ?? '',
      nodeLabels: nodeLabels ?? {},
      ...(featureGates && { featureGates }),
    }),
  );
  const isEmpty = endpoints.length === 0;
  return {
    clusterEndpoints: setText(sets.cluster?.map(endpointText) ?? null, isEmpty),
    localEndpoints: setText(sets.local?.map(endpointText) ?? null, isEmpty),
    allEndpoints: setText(sets.all.map(endpointText), isEmpty),
    hasAnyEndpoints: sets.hasEndpoints,
  };
}

/** null is a set that is not in use. Without any endpoint upstream does not tell that from an empty set. */
const setText = (set: readonly string[] | null, isEmpty: boolean): readonly string[] | null =>
  set === null ? (isEmpty ? [] : null) : [...set].sort();

function endpointsOf({ endpoints = [], legacy, service, nodeName }: TopologyCase): Endpoint[] {
  // Old releases did not look at the hints of a Service without the annotation. Who writes hints looks at it today.
  const hasHints = legacy !== true || ['auto', 'Auto'].includes(service.hintsAnnotation ?? '');
  return endpoints.map(({ endpoint, ready, serving, terminating, isLocal, zoneHints, nodeHints }) => {
    const at = endpoint.lastIndexOf(':');
    return {
      ip: endpoint.slice(0, at).replace(/^\[|\]$/g, ''),
      port: Number(endpoint.slice(at + 1)),
      ready: ready ?? false,
      serving: serving ?? false,
      terminating: terminating ?? false,
      nodeName: isLocal ? (nodeName ?? '') : null,
      isLocal: isLocal ?? false,
      zone: null,
      zoneHints: hasHints ? (zoneHints ?? []) : [],
      nodeHints: hasHints ? (nodeHints ?? []) : [],
    };
  });
}

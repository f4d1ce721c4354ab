/**
 * What the proxy shall do, as plain data: every Service port with the endpoints it may use. Compiled, exported, explained.
 *
 * Pure: the same objects, in whatever order, give the same plan.
 */
import type { Endpoint } from '../model/endpoint.js';
import { localReadyEndpoints } from '../model/endpoints-map.js';
import { ignoredOf } from '../model/ignored.js';
import { FAMILIES, KubeState } from '../model/kube-state.js';
import type { ProxyOptions } from '../model/proxy-options.js';
import { isExternallyAccessible, keyOf, type ServicePort } from '../model/service-port.js';
import { servicePortNameText } from '../model/service-port-name.js';
import { categorizeEndpoints, type EndpointSets } from '../model/topology.js';
import { type KubeObject, nameText, objectLabel, type Service } from '../sources/kube-object.js';
import { type Ignored, remarkAt, type SetAside } from '../sources/origin.js';
import { Claims } from './claims.js';

export interface PlannedPort {
  readonly servicePort: ServicePort;
  readonly endpoints: EndpointSets;
}

/** What a Service's healthCheckNodePort answers. */
export interface HealthCheck {
  /** "namespace/name". */
  readonly service: string;
  readonly nodePort: number;
  /** 0: the answer is 503, so that the load balancer sends nothing here. */
  readonly localReadyEndpoints: number;
}

export interface Plan {
  /** Sorted by the name as printed, then by family. */
  readonly ports: readonly PlannedPort[];
  /** Sorted by Service. */
  readonly healthChecks: readonly HealthCheck[];
  /** What shows only between objects; what was wrong with each of them alone was said when it was read. */
  readonly setAside: readonly SetAside[];
  readonly ignored: readonly Ignored[];
}

/** @param objects in any order */
export function planOf(objects: readonly KubeObject[], options: ProxyOptions): Plan {
  const planner = new Planner(options);
  planner.state.replace(objects);
  return planner.plan();
}

/**
 * More endpoints than this do not get flows at a Service port: their position fits 16 bits, and Maglev's table of 65,537
 * has a place for each. Kubernetes plans for 250.
 */
export const ENDPOINTS_MAX = 1 << 16;

/** Plans again and again while the objects in `state` change; what did not change is not worked out again. */
export class Planner {
  readonly state: KubeState;
  readonly #options: ProxyOptions;
  #planned = new Map<ServicePort, Planned>();

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.state = new KubeState(options.nodeName);
  }

  /** Applies the changes of `state` that are pending. */
  plan(): Plan {
    this.state.applyChanges();
    const { objects } = this.state;
    const services = byAge(objects.filter((object) => object.kind === 'Service'));
    const claims = new Claims();
    const tooMany: SetAside[] = [];
    const earlier = this.#planned;
    this.#planned = new Map();
    for (const family of FAMILIES) {
      const endpointsMap = this.state.endpointsMap(family);
      for (const service of services) {
        for (const port of this.state.portsOf(service, family)) {
          const servicePort = claims.claim(port);
          if (servicePort === null) continue;
          const given = endpointsMap.get(keyOf(port)) ?? NO_ENDPOINTS;
          const known = earlier.get(servicePort);
          const planned = known?.given === given ? known : this.#planPort(servicePort, given);
          this.#planned.set(servicePort, planned);
          if (planned.usableCount > ENDPOINTS_MAX) tooMany.push(surplus(servicePort, planned.usableCount));
        }
      }
    }
    const healthChecks = services.flatMap((service) => this.#healthCheck(service, claims));
    return {
      ports: sorted([...this.#planned.values()].map(({ port }) => port)),
      healthChecks: healthChecks.sort((a, b) => compare(a.service, b.service)),
      setAside: [...claims.setAside, ...tooMany],
      ignored: [...ignoredOf(objects), ...claims.ignored],
    };
  }

  #planPort(servicePort: ServicePort, given: readonly Endpoint[]): Planned {
    const sets = categorizeEndpoints(given, servicePort, this.#options);
    const endpoints = sets.all.length > ENDPOINTS_MAX ? cut(sets) : sets;
    return { given, port: { servicePort, endpoints }, usableCount: sets.all.length };
  }

  /** By the endpoints of the Service's first family: counting the second one would count every pod twice. */
  #healthCheck(service: Service, claims: Claims): HealthCheck[] {
    const [clusterIP] = service.clusterIPs;
    if (clusterIP === undefined) return [];
    const ports = this.state.portsOf(service, clusterIP.family);
    const [port] = ports;
    if (port === undefined || port.healthCheckNodePort === 0 || !claims.claimHealthCheck(port)) return [];
    const nodePort = port.healthCheckNodePort;
    const endpointsMap = this.state.endpointsMap(clusterIP.family);
    const ofService = ports.map(
      (port) => [keyOf(port), endpointsMap.get(keyOf(port)) ?? NO_ENDPOINTS] as const,
    );
    const count = localReadyEndpoints(new Map(ofService)).get(nameText(service)) ?? 0;
    return [{ service: nameText(service), nodePort, localReadyEndpoints: count }];
  }
}

/** What came of one Service port, and of which endpoints: it holds while both are the same. */
interface Planned {
  readonly given: readonly Endpoint[];
  readonly port: PlannedPort;
  readonly usableCount: number;
}

/** One empty list for all: it is compared by identity. */
const NO_ENDPOINTS: readonly Endpoint[] = [];

/**
 * How many ports have endpoints but none on this node for a policy Local: kube-proxy's gauge
 * sync_proxy_rules_no_local_endpoints_total, by traffic_policy.
 */
export function noLocalEndpoints(ports: readonly PlannedPort[]): { internal: number; external: number } {
  const dropping = ports.filter(
    ({ endpoints: { local, hasEndpoints } }) => hasEndpoints && local?.length === 0,
  );
  const count = (isLocal: (port: ServicePort) => boolean): number =>
    dropping.filter(({ servicePort }) => isLocal(servicePort)).length;
  return {
    internal: count(({ internalTrafficPolicy }) => internalTrafficPolicy === 'Local'),
    external: count((port) => port.externalTrafficPolicy === 'Local' && isExternallyAccessible(port)),
  };
}

/** The first of each set, as sorted. */
function cut({ cluster, local, all, serving, hasEndpoints }: EndpointSets): EndpointSets {
  const first = (endpoints: readonly Endpoint[] | null): readonly Endpoint[] | null =>
    endpoints?.slice(0, ENDPOINTS_MAX) ?? null;
  const kept = new Set([...(first(cluster) ?? []), ...(first(local) ?? [])]);
  return {
    cluster: first(cluster),
    local: first(local),
    all: all.filter((endpoint) => kept.has(endpoint)),
    serving,
    hasEndpoints,
  };
}

function surplus({ service, index }: ServicePort, usableCount: number): SetAside {
  const reason = `has ${usableCount} endpoints, of which only the first ${ENDPOINTS_MAX} as sorted get flows`;
  return remarkAt(service.origin, objectLabel(service), ['spec', 'ports', index], reason);
}

/** Oldest first, then by name. A Service without creationTimestamp has not been created yet: it comes last. */
function byAge(services: readonly Service[]): Service[] {
  return services
    .map((service) => ({ service, createdAtMs: createdAtMs(service), name: nameText(service) }))
    .sort((a, b) => compare(a.createdAtMs, b.createdAtMs) || compare(a.name, b.name))
    .map(({ service }) => service);
}

const createdAtMs = ({ creationTimestamp }: Service): number =>
  creationTimestamp === null ? Number.POSITIVE_INFINITY : Date.parse(creationTimestamp);

/** The families are planned one after the other, and sorting keeps that order. */
const sorted = (ports: readonly PlannedPort[]): PlannedPort[] =>
  ports
    .map((port) => ({ port, name: servicePortNameText(port.servicePort.name) }))
    .sort((a, b) => compare(a.name, b.name))
    .map(({ port }) => port);

/** Text by UTF-16 unit, the same on every machine; for names also the same as Go's. */
const compare = <Value extends string | number>(a: Value, b: Value): number => (a < b ? -1 : a > b ? 1 : 0);

/** The ports of Services, for one address family: kube-proxy's pkg/proxy/serviceport.go. */
import type { Family } from '../../wire/address.js';
import type { Algorithm, OnEndpointRemoval } from '../sources/annotations.js';
import type { KubeObject, Protocol, Service, TrafficPolicy } from '../sources/kube-object.js';
import { type ServicePortName, servicePortKey } from './service-port-name.js';

export { ALGORITHMS, type Algorithm, type OnEndpointRemoval } from '../sources/annotations.js';
export type { TrafficPolicy } from '../sources/kube-object.js';

/** The facts of one port of one Service, for one family. Addresses are canonical text. */
export interface ServicePort {
  readonly name: ServicePortName;
  readonly family: Family;
  readonly clusterIP: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** 0: none. */
  readonly nodePort: number;
  readonly externalIPs: readonly string[];
  /** status.loadBalancer.ingress[].ip with ipMode VIP (or none); those with ipMode Proxy are not captured. */
  readonly loadBalancerVIPs: readonly string[];
  /** loadBalancerSourceRanges of this family, trimmed, canonical; none: every client is let in. */
  readonly loadBalancerSourceRanges: readonly string[];
  readonly internalTrafficPolicy: TrafficPolicy;
  /** Cluster unless the Service is externally accessible. */
  readonly externalTrafficPolicy: TrafficPolicy;
  /** Seconds of ClientIP session affinity (stickyMaxAgeSeconds); 0: none. */
  readonly affinitySec: number;
  /** Only for type LoadBalancer with externalTrafficPolicy Local; else 0. */
  readonly healthCheckNodePort: number;
  /** Annotation flowpin.dev/algorithm; null: what the proxy mode does. */
  readonly algorithm: Algorithm | null;
  /** Annotation flowpin.dev/weights ("10.244.0.3=2,10.244.1.2=1"): by endpoint ip; others weigh 1. */
  readonly weights: ReadonlyMap<string, number>;
  /** Annotation flowpin.dev/retry; null: what the proxy mode does (userspace retries). */
  readonly retry: boolean | null;
  readonly onEndpointRemoval: OnEndpointRemoval;
  readonly service: Service;
  /** The port's position in spec.ports. */
  readonly index: number;
}

/** All its addresses but those of nodes. */
export const addressesOf = ({ clusterIP, externalIPs, loadBalancerVIPs }: ServicePort): string[] => [
  clusterIP,
  ...externalIPs,
  ...loadBalancerVIPs,
];

/** By `servicePortKey`. */
export type ServicePortMap = ReadonlyMap<string, ServicePort>;

/** Whether a port is reachable at something else than its clusterIP. */
export const isExternallyAccessible = ({ nodePort, externalIPs, loadBalancerVIPs }: Destinations): boolean =>
  nodePort !== 0 || externalIPs.length > 0 || loadBalancerVIPs.length > 0;

/** Whether any traffic of the port goes by policy Cluster: with policy Local there is still the short circuit. */
export const usesClusterEndpoints = (port: Policies & Destinations): boolean =>
  port.internalTrafficPolicy === 'Cluster' || isExternallyAccessible(port);

/** Whether any traffic of the port goes by policy Local. */
export const usesLocalEndpoints = (port: Policies & Destinations): boolean =>
  port.internalTrafficPolicy === 'Local' ||
  (port.externalTrafficPolicy === 'Local' && isExternallyAccessible(port));

export type Destinations = Pick<ServicePort, 'nodePort' | 'externalIPs' | 'loadBalancerVIPs'>;
export type Policies = Pick<ServicePort, 'internalTrafficPolicy' | 'externalTrafficPolicy'>;

export const keyOf = (port: ServicePort): string => servicePortKey(port.name);

/**
 * Why kube-proxy does not even see an object, whatever its kind (cmd/kube-proxy/app/server.go, Run); null: it does. Slices
 * have the label because the EndpointSlice controller copies the Service's labels.
 */
export function passOverReason({ serviceProxyName, headlessLabel }: KubeObject): string | null {
  if (serviceProxyName !== null) {
    return `label service.kubernetes.io/service-proxy-name: left to the proxy ${JSON.stringify(serviceProxyName)}`;
  }
  return headlessLabel ? 'label service.kubernetes.io/headless: not for a proxy' : null;
}

/** Why kube-proxy has no use for a Service (pkg/proxy/util, ShouldSkipService); null: it has. */
export function skipServiceReason({ type, headless, clusterIPs, ports }: Service): string | null {
  if (type === 'ExternalName') return 'type ExternalName is answered by DNS, not by a proxy';
  if (headless) return 'headless (clusterIP None): clients connect to the endpoints themselves';
  if (clusterIPs.length === 0) return 'no clusterIP is assigned';
  if (ports.length === 0) return 'no ports';
  return null;
}

/** @returns the Service's ports with the facts of one family, in the order of spec.ports; none when it has no clusterIP of it */
export function servicePortsOf(service: Service, family: Family): ServicePort[] {
  const clusterIP = service.clusterIPs.find((ip) => ip.family === family)?.address;
  if (clusterIP === undefined || (passOverReason(service) ?? skipServiceReason(service)) !== null) return [];
  const { namespace, name: serviceName, annotations } = service;
  const isOfFamily = (given: { readonly family: Family }): boolean => given.family === family;
  const shared = {
    family,
    clusterIP,
    externalIPs: service.externalIPs.filter(isOfFamily).map(({ address }) => address),
    loadBalancerVIPs: service.loadBalancerIngress
      .filter((ingress) => isOfFamily(ingress) && ingress.ipMode === 'VIP')
      .map(({ address }) => address),
    loadBalancerSourceRanges: service.loadBalancerSourceRanges.filter(isOfFamily).map(({ cidr }) => cidr),
    internalTrafficPolicy: service.internalTrafficPolicy,
    externalTrafficPolicy: externalTrafficPolicyOf(service),
    affinitySec: service.affinitySec,
    healthCheckNodePort: healthCheckNodePortOf(service),
    ...annotations,
    service,
  } as const;
  return service.ports.map(({ name: port, protocol, port: number, nodePort }, index) => ({
    name: { namespace, name: serviceName, port, protocol },
    port: number,
    protocol,
    nodePort,
    index,
    ...shared,
  }));
}

/** pkg/api/v1/service, ExternallyAccessible and ExternalPolicyLocal: by the type, whatever addresses there are. */
function externalTrafficPolicyOf({ type, externalIPs, externalTrafficPolicy }: Service): TrafficPolicy {
  const isAccessible = type === 'NodePort' || type === 'LoadBalancer' || externalIPs.length > 0;
  return isAccessible ? externalTrafficPolicy : 'Cluster';
}

/** pkg/api/v1/service, NeedsHealthCheck. */
export const healthCheckNodePortOf = ({
  type,
  externalTrafficPolicy,
  healthCheckNodePort,
}: Service): number =>
  type === 'LoadBalancer' && externalTrafficPolicy === 'Local' ? healthCheckNodePort : 0;

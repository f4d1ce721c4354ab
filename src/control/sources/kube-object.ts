/**
 * The Kubernetes objects that the proxy reads, reduced to the fields it uses and with every value checked.
 * Names are those of the Kubernetes API; addresses are canonical text; defaults are filled in.
 */
import type { Family } from '../../wire/address.js';
import type { ServiceAnnotations } from './annotations.js';
import type { Origin } from './origin.js';

export type KubeObject = Service | EndpointSlice | Endpoints;
export type Protocol = 'TCP' | 'UDP' | 'SCTP';
export type TrafficPolicy = 'Cluster' | 'Local';

/** What names an object: kind, namespace and name, as the label "Service default/httpenv". */
export type ObjectReference = Pick<KubeObject, 'kind' | 'namespace' | 'name'>;

interface ObjectMeta {
  readonly namespace: string;
  readonly name: string;
  readonly origin: Origin;
  /** Label service.kubernetes.io/service-proxy-name: another proxy serves it; null: it is not there. */
  readonly serviceProxyName: string | null;
  /** Label service.kubernetes.io/headless is there, with any value. */
  readonly headlessLabel: boolean;
}

/** v1 Service. */
export interface Service extends ObjectMeta {
  readonly kind: 'Service';
  /** RFC 3339, or null: a manifest that no API server has seen. */
  readonly creationTimestamp: string | null;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** clusterIP is "None". */
  readonly headless: boolean;
  /** At most one of each family; none when headless or when no API server has assigned any. */
  readonly clusterIPs: readonly { readonly family: Family; readonly address: string }[];
  readonly externalIPs: readonly ListedAddress[];
  /** status.loadBalancer.ingress, those with an ip. */
  readonly loadBalancerIngress: readonly (ListedAddress & { readonly ipMode: 'VIP' | 'Proxy' })[];
  readonly loadBalancerSourceRanges: readonly ListedCidr[];
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  /** 0: none. */
  readonly healthCheckNodePort: number;
  /** Seconds of ClientIP session affinity; 0: none. */
  readonly affinitySec: number;
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: Protocol;
    readonly port: number;
    /** 0: none. */
    readonly nodePort: number;
  }[];
  readonly annotations: ServiceAnnotations;
}

export interface ListedAddress {
  readonly family: Family;
  readonly address: string;
  /** Position in the list that the object gives it in. */
  readonly index: number;
}

export interface ListedCidr {
  readonly family: Family;
  readonly cidr: string;
  readonly index: number;
}

/** A port of an EndpointSlice or of a subset of Endpoints. */
export interface EndpointPort {
  readonly name: string;
  readonly protocol: Protocol;
  /** null: the object gives none. */
  readonly port: number | null;
}

/** discovery.k8s.io/v1 EndpointSlice. */
export interface EndpointSlice extends ObjectMeta {
  readonly kind: 'EndpointSlice';
  /** From the label kubernetes.io/service-name. */
  readonly serviceName: string;
  readonly addressType: Family | 'FQDN';
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly SliceEndpoint[];
}

export interface SliceEndpoint {
  /** The first of its addresses: kube-proxy uses no other (endpointslicecache.go, addEndpoints). */
  readonly address: string;
  /** null: the condition is not given. */
  readonly ready: boolean | null;
  readonly serving: boolean | null;
  readonly terminating: boolean | null;
  readonly nodeName: string | null;
  readonly zone: string | null;
  /** Zones that shall use this endpoint (hints.forZones); none: no hint. */
  readonly zoneHints: readonly string[];
  /** Nodes that shall use this endpoint (hints.forNodes); none: no hint. */
  readonly nodeHints: readonly string[];
}

/** v1 Endpoints; its name is the Service's name. */
export interface Endpoints extends ObjectMeta {
  readonly kind: 'Endpoints';
  readonly subsets: readonly {
    readonly addresses: readonly EndpointAddress[];
    readonly notReadyAddresses: readonly EndpointAddress[];
    readonly ports: readonly EndpointPort[];
  }[];
}

export interface EndpointAddress {
  readonly family: Family;
  readonly address: string;
  readonly nodeName: string | null;
}

/** "Service default/httpenv". */
export const objectLabel = ({ kind, namespace, name }: ObjectReference): string =>
  `${kind} ${namespace}/${name}`;

/** "default/httpenv". */
export const nameText = ({ namespace, name }: Pick<KubeObject, 'namespace' | 'name'>): string =>
  `${namespace}/${name}`;

/**
 * The Kubernetes objects that the proxy reads, reduced to the fields it uses and with every value checked.
 * Names are those of the Kubernetes API; addresses are canonical text.
 */
import type { Family } from '../../wire/address.js';
import type { Origin } from './origin.js';

export type KubeObject = Service | EndpointSlice | Endpoints;
export type Protocol = 'TCP' | 'UDP' | 'SCTP';

interface ObjectMeta {
  readonly namespace: string;
  readonly name: string;
  readonly origin: Origin;
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
  readonly ports: readonly { readonly name: string; readonly protocol: Protocol; readonly port: number }[];
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
export const objectLabel = ({
  kind,
  namespace,
  name,
}: Pick<KubeObject, 'kind' | 'namespace' | 'name'>): string => `${kind} ${namespace}/${name}`;

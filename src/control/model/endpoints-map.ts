/** EndpointSlices -> EndpointsMap, for one address family: kube-proxy's pkg/proxy/endpointslicecache.go. */
import type { Family } from '../../wire/address.js';
import type { EndpointSlice, SliceEndpoint } from '../sources/kube-object.js';
import { type Endpoint, endpointText } from './endpoint.js';
import { serviceOfKey, servicePortKey } from './service-port-name.js';

/** What an EndpointsMap is made from: an EndpointSlice, or a subset of Endpoints in that form. */
export type EndpointSliceFacts = Pick<
  EndpointSlice,
  'namespace' | 'name' | 'serviceName' | 'addressType' | 'ports' | 'endpoints'
>;

/** By `servicePortKey`; each list sorted as kube-proxy sorts it, by `endpointText`, without duplicates. */
export type EndpointsMap = ReadonlyMap<string, readonly Endpoint[]>;

/**
 * A port of a slice belongs to the Service's port of the same name and protocol; the slice carries the number, and the
 * Service's targetPort is not looked at. Slices of the other family and ports without number count for nothing.
 * @param slices in any order: the result is the same
 * @param nodeName this node's: endpoints there are local; "" when it is not known
 */
export function endpointsMapOf(
  slices: Iterable<EndpointSliceFacts>,
  family: Family,
  nodeName: string,
): EndpointsMap {
  const listed = new Map<string, Listed[]>();
  // The same ip:port may be in two slices for a while. kube-proxy keeps the local one, else whichever it meets first, in
  // Go's random map order; here that is the one of the first slice by name.
  const ofFamily = [...slices].filter(({ addressType }) => addressType === family).sort(byName);
  for (const { namespace, serviceName, ports, endpoints } of ofFamily) {
    for (const { name: port, protocol, port: number } of ports) {
      if (number === null || endpoints.length === 0) continue;
      const key = servicePortKey({ namespace, name: serviceName, port, protocol });
      const ofPort = listed.get(key) ?? [];
      listed.set(key, ofPort);
      for (const given of endpoints) {
        const endpoint = endpointOf(given, number, nodeName);
        ofPort.push({ text: endpointText(endpoint), endpoint });
      }
    }
  }
  return new Map([...listed].map(([key, ofPort]) => [key, merged(ofPort)]));
}

interface Listed {
  readonly text: string;
  readonly endpoint: Endpoint;
}

/** Sorted by text, and each once. Sorting is stable, so that of the same ones the first stays the first. */
function merged(listed: Listed[]): Endpoint[] {
  const found: Endpoint[] = [];
  let last = '';
  for (const { text, endpoint } of listed.sort(byText)) {
    if (text !== last) found.push(endpoint);
    else if (endpoint.isLocal && found.at(-1)?.isLocal === false) found[found.length - 1] = endpoint;
    last = text;
  }
  return found;
}

/**
 * For each Service, "namespace/name", how many addresses of this node are ready: what a healthCheckNodePort answers.
 * Two ports of one address count once; terminating ones not at all, so that load balancers leave in time.
 */
export function localReadyEndpoints(endpointsMap: EndpointsMap): Map<string, number> {
  const ips = new Map<string, Set<string>>();
  for (const [key, endpoints] of endpointsMap) {
    const service = serviceOfKey(key);
    for (const { ready, isLocal, ip } of endpoints) {
      if (ready && isLocal) ips.set(service, (ips.get(service) ?? new Set()).add(ip));
    }
  }
  return new Map([...ips].map(([service, found]) => [service, found.size]));
}

/** Absent conditions as the API defines them: ready is true, serving is as ready, terminating is false. */
function endpointOf(given: SliceEndpoint, port: number, thisNode: string): Endpoint {
  const { address, ready, serving, terminating, nodeName, zone, zoneHints, nodeHints } = given;
  const isReady = ready ?? true;
  return {
    ip: address,
    port,
    ready: isReady,
    serving: serving ?? isReady,
    terminating: terminating ?? false,
    nodeName,
    isLocal: nodeName !== null && nodeName !== '' && nodeName === thisNode,
    zone,
    zoneHints,
    nodeHints,
  };
}

const byText = (a: Listed, b: Listed): number => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0);

const byName = (a: EndpointSliceFacts, b: EndpointSliceFacts): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

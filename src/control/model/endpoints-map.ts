/** EndpointSlices -> EndpointsMap, for one address family: kube-proxy's pkg/proxy/endpointslicecache.go. */
import type { Family } from '../../wire/address.js';
import type { EndpointSlice, SliceEndpoint } from '../sources/kube-object.js';
import { type Endpoint, endpointText } from './endpoint.js';
import { servicePortKey } from './service-port-name.js';

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
 */
export function endpointsMapOf(slices: readonly EndpointSliceFacts[], family: Family): EndpointsMap {
  const byText = new Map<string, Map<string, Endpoint>>();
  // The same ip:port may be in two slices for a while. kube-proxy keeps whichever it meets first, in Go's random map
  // order; here that is the one of the first slice by name.
  const ofFamily = slices.filter(({ addressType }) => addressType === family).sort(byName);
  for (const { namespace, serviceName, ports, endpoints } of ofFamily) {
    for (const { name: port, protocol, port: number } of ports) {
      if (number === null) continue;
      const key = servicePortKey({ namespace, name: serviceName, port, protocol });
      const found = byText.get(key) ?? new Map<string, Endpoint>();
      byText.set(key, found);
      for (const given of endpoints) {
        const endpoint = endpointOf(given, number);
        const text = endpointText(endpoint);
        if (!found.has(text)) found.set(text, endpoint);
      }
    }
  }
  return new Map([...byText].map(([key, found]) => [key, sortedByText(found)]));
}

/** Absent conditions as the API defines them: ready is true, serving is as ready, terminating is false. */
function endpointOf(
  { address, ready, serving, terminating, nodeName }: SliceEndpoint,
  port: number,
): Endpoint {
  const isReady = ready ?? true;
  return {
    ip: address,
    port,
    ready: isReady,
    serving: serving ?? isReady,
    terminating: terminating ?? false,
    nodeName,
  };
}

const sortedByText = (found: ReadonlyMap<string, Endpoint>): Endpoint[] =>
  [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);

const byName = (a: EndpointSliceFacts, b: EndpointSliceFacts): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

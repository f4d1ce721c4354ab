/**
 * Endpoints objects in the form of slices. kube-proxy reads only slices; the EndpointSliceMirroring controller writes
 * them for Endpoints, and the endpoints controller writes both. Here a file may hold Endpoints alone.
 */
import type { EndpointAddress, EndpointSlice, Endpoints, SliceEndpoint } from '../sources/kube-object.js';
import type { EndpointSliceFacts } from './endpoints-map.js';

/** @returns for each subset a slice of each family that it has addresses of, as endpointslicemirroring/reconciler.go */
export function slicesOfEndpoints({ namespace, name, subsets }: Endpoints): EndpointSliceFacts[] {
  return subsets.flatMap(({ addresses, notReadyAddresses, ports }, index) => {
    const all = [
      ...addresses.map((given) => ({ given, ready: true })),
      ...notReadyAddresses.map((given) => ({ given, ready: false })),
    ];
    return (['IPv4', 'IPv6'] as const).flatMap((addressType) => {
      const endpoints = all
        .filter(({ given }) => given.family === addressType)
        .map(({ given, ready }) => sliceEndpoint(given, ready));
      // The number keeps the subsets in their order, which decides between duplicates; no slice has a name with "/".
      const sliceName = `${name}/${String(index).padStart(6, '0')}/${addressType}`;
      return endpoints.length === 0
        ? []
        : [{ namespace, name: sliceName, serviceName: name, addressType, ports, endpoints }];
    });
  });
}

/**
 * @returns the Endpoints whose Service has no EndpointSlice of its own. Where both exist slices win: they are what
 *   kube-proxy reads, and Endpoints are cut off at 1000 addresses.
 */
export function endpointsInUse(
  endpoints: readonly Endpoints[],
  slices: readonly EndpointSlice[],
): Endpoints[] {
  const sliced = new Set(slices.map(({ namespace, serviceName }) => `${namespace}/${serviceName}`));
  return endpoints.filter(({ namespace, name }) => !sliced.has(`${namespace}/${name}`));
}

const sliceEndpoint = ({ address, nodeName }: EndpointAddress, ready: boolean): SliceEndpoint => ({
  address,
  ready,
  serving: null,
  terminating: null,
  nodeName,
  zone: null,
  zoneHints: [],
  nodeHints: [],
});

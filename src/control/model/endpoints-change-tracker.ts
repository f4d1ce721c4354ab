/**
 * The EndpointsMap of one address family, and what changed in it when it was last brought up to date: kube-proxy's
 * pkg/proxy/endpointschangetracker.go.
 */
import type { Family } from '../../wire/address.js';
import { type Endpoint, endpointText } from './endpoint.js';
import { EndpointSliceCache, type EndpointsChange } from './endpoint-slice-cache.js';
import type { EndpointSliceFacts, EndpointsMap } from './endpoints-map.js';

export interface EndpointsUpdate {
  /** Services with endpoints added, removed or of another condition: "namespace/name". */
  readonly updatedServices: readonly string[];
  /** Whether flows without a connection may go where they should not now: some UDP port has other endpoints. */
  readonly conntrackCleanupRequired: boolean;
}

export class EndpointsChangeTracker {
  readonly #cache: EndpointSliceCache;
  readonly #map = new Map<string, readonly Endpoint[]>();

  constructor(family: Family, nodeName: string) {
    this.#cache = new EndpointSliceCache(family, nodeName);
  }

  /** As of the last `applyChanges`. */
  get endpointsMap(): EndpointsMap {
    return this.#map;
  }

  endpointSliceUpdate(slice: EndpointSliceFacts, remove: boolean): void {
    this.#cache.updatePending(slice, remove);
  }

  applyChanges(): EndpointsUpdate {
    const changes = this.#cache.checkoutChanges();
    for (const { previous, current } of changes) {
      for (const key of previous.keys()) this.#map.delete(key);
      for (const [key, endpoints] of current) this.#map.set(key, endpoints);
    }
    return {
      updatedServices: changes.map(({ service }) => service),
      conntrackCleanupRequired: changes.some(hasOtherUdpEndpoints),
    };
  }
}

/** Also from none to some: what was sent before may have been let through untouched. */
function hasOtherUdpEndpoints({ previous, current }: EndpointsChange): boolean {
  const udpPorts = [...previous.keys(), ...current.keys()].filter((key) => key.endsWith('/UDP'));
  return udpPorts.some((key) => textsOf(previous.get(key)) !== textsOf(current.get(key)));
}

const textsOf = (endpoints: readonly Endpoint[] = []): string => endpoints.map(endpointText).join(' ');

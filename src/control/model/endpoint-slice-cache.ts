/**
 * EndpointSlices by Service, for one address family: those in use (applied) and those seen since (pending), as endpoints
 * move between slices and must not be missing in between. kube-proxy's pkg/proxy/endpointslicecache.go.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Family } from '../../wire/address.js';
import { type EndpointSliceFacts, type EndpointsMap, endpointsMapOf } from './endpoints-map.js';

/** All changes of one Service's endpoints since they were last checked out. */
export interface EndpointsChange {
  /** "namespace/name". */
  readonly service: string;
  readonly previous: EndpointsMap;
  readonly current: EndpointsMap;
}

/** The slices of one Service. */
interface Tracker {
  readonly applied: Map<string, EndpointSliceFacts>;
  /** null: the slice is gone. */
  readonly pending: Map<string, EndpointSliceFacts | null>;
  /** What `applied` amounts to. */
  endpoints: EndpointsMap;
}

export class EndpointSliceCache {
  readonly #family: Family;
  readonly #nodeName: string;
  readonly #trackers = new Map<string, Tracker>();
  readonly #changed = new Set<string>();

  constructor(family: Family, nodeName: string) {
    this.#family = family;
    this.#nodeName = nodeName;
  }

  /** @param slice as it is now, or was before it was removed; one of the other family counts as removed */
  updatePending(slice: EndpointSliceFacts, remove: boolean): void {
    const service = `${slice.namespace}/${slice.serviceName}`;
    const tracker = this.#trackers.get(service) ?? {
      applied: new Map(),
      pending: new Map(),
      endpoints: new Map(),
    };
    const { applied, pending } = tracker;
    const known = (pending.has(slice.name) ? pending : applied).get(slice.name) ?? null;
    const wanted = remove || slice.addressType !== this.#family ? null : slice;
    if (isSameSlice(known, wanted)) return;
    this.#trackers.set(service, tracker);
    this.#changed.add(service);
    pending.set(slice.name, wanted);
  }

  /** The pending changes; from now on they are applied. */
  checkoutChanges(): EndpointsChange[] {
    const changes = [...this.#changed].map((service) => this.#checkout(service));
    this.#changed.clear();
    return changes;
  }

  #checkout(service: string): EndpointsChange {
    const tracker = this.#trackers.get(service);
    if (tracker === undefined) throw new Error(`no slices of ${service}`);
    const { applied, pending, endpoints: previous } = tracker;
    for (const [name, slice] of pending) {
      if (slice === null) applied.delete(name);
      else applied.set(name, slice);
    }
    pending.clear();
    tracker.endpoints = endpointsMapOf(applied.values(), this.#family, this.#nodeName);
    if (applied.size === 0) this.#trackers.delete(service);
    return { service, previous, current: tracker.endpoints };
  }
}

/** By what the proxy uses of it, not by where it stands in a file. */
function isSameSlice(a: EndpointSliceFacts | null, b: EndpointSliceFacts | null): boolean {
  if (a === null || b === null) return a === b;
  return isDeepStrictEqual([a.ports, a.endpoints], [b.ports, b.endpoints]);
}

/**
 * The Kubernetes objects as they are now, and the maps made from them for both address families. Objects come and go one
 * by one (`upsert`, `delete`) or all at once (`replace`); the maps follow when `applyChanges` is called, as in kube-proxy
 * where many changes are one sync. What a change does not touch is not worked out again.
 */
import type { Family } from '../../wire/address.js';
import type {
  EndpointSlice,
  Endpoints,
  KubeObject,
  ObjectReference,
  Service,
} from '../sources/kube-object.js';
import { nameText, objectLabel } from '../sources/kube-object.js';
import { EndpointsChangeTracker } from './endpoints-change-tracker.js';
import type { EndpointSliceFacts, EndpointsMap } from './endpoints-map.js';
import { slicesOfEndpoints } from './legacy-endpoints.js';
import { ServiceChangeTracker } from './service-change-tracker.js';
import { passOverReason, type ServicePort, type ServicePortMap } from './service-port.js';

export const FAMILIES = ['IPv4', 'IPv6'] as const satisfies readonly Family[];

/** What `applyChanges` brought, over both families. */
export interface StateUpdate {
  /** Services whose ports or endpoints are not what they were: "namespace/name". None: nothing is to be done. */
  readonly updatedServices: ReadonlySet<string>;
  /** Some UDP port has other endpoints: flows that know only the old ones are stale. */
  readonly conntrackCleanupRequired: boolean;
}

interface Trackers {
  readonly services: ServiceChangeTracker;
  readonly endpoints: EndpointsChangeTracker;
}

export class KubeState {
  readonly #objects = new Map<string, KubeObject>();
  /** Names of the EndpointSlices of each Service, which stand before its Endpoints. */
  readonly #sliced = new Map<string, Set<string>>();
  /** What stands in for slices where a Service has only Endpoints. */
  readonly #mirrored = new Map<string, readonly EndpointSliceFacts[]>();
  readonly #trackers: Readonly<Record<Family, Trackers>>;

  /** @param nodeName this node's: endpoints there are local */
  constructor(nodeName: string) {
    const trackers = (family: Family): Trackers => ({
      services: new ServiceChangeTracker(family),
      endpoints: new EndpointsChangeTracker(family, nodeName),
    });
    this.#trackers = { IPv4: trackers('IPv4'), IPv6: trackers('IPv6') };
  }

  /** Every object, also those that the proxy has no use for. */
  get objects(): readonly KubeObject[] {
    return [...this.#objects.values()];
  }

  upsert(object: KubeObject): void {
    const earlier = this.#objects.get(objectLabel(object));
    this.#objects.set(objectLabel(object), object);
    this.#changed(earlier ?? null, object);
  }

  /** Of an object that is not there: nothing. */
  delete(reference: ObjectReference): void {
    const earlier = this.#objects.get(objectLabel(reference));
    if (earlier === undefined) return;
    this.#objects.delete(objectLabel(reference));
    this.#changed(earlier, null);
  }

  /** @param objects all that there are; the others are deleted */
  replace(objects: readonly KubeObject[]): void {
    const labels = new Set(objects.map(objectLabel));
    for (const object of this.objects) if (!labels.has(objectLabel(object))) this.delete(object);
    for (const object of objects) this.upsert(object);
  }

  applyChanges(): StateUpdate {
    const updatedServices = new Set<string>();
    let conntrackCleanupRequired = false;
    for (const family of FAMILIES) {
      const { services, endpoints } = this.#trackers[family];
      const update = endpoints.applyChanges();
      for (const service of [...services.applyChanges(), ...update.updatedServices])
        updatedServices.add(service);
      conntrackCleanupRequired ||= update.conntrackCleanupRequired;
    }
    return { updatedServices, conntrackCleanupRequired };
  }

  servicePortMap(family: Family): ServicePortMap {
    return this.#trackers[family].services.servicePortMap;
  }

  endpointsMap(family: Family): EndpointsMap {
    return this.#trackers[family].endpoints.endpointsMap;
  }

  /** The ports of one Service, in the order of spec.ports. */
  portsOf(service: Service, family: Family): readonly ServicePort[] {
    return this.#trackers[family].services.portsOf(nameText(service));
  }

  #changed(earlier: KubeObject | null, current: KubeObject | null): void {
    const object = current ?? earlier;
    if (object?.kind === 'Service') this.#serviceChanged(object, current !== null);
    if (earlier?.kind === 'EndpointSlice') this.#sliceGone(earlier, current);
    if (current?.kind === 'EndpointSlice') this.#sliceThere(current);
    if (object?.kind === 'Endpoints') this.#mirror(nameText(object));
  }

  #serviceChanged(service: Service, isThere: boolean): void {
    for (const family of FAMILIES) {
      this.#trackers[family].services.update(nameText(service), isThere ? service : null);
    }
  }

  /** @param current what has taken its place; it may belong to another Service now, or be passed over */
  #sliceGone(slice: EndpointSlice, current: KubeObject | null): void {
    if (
      current?.kind === 'EndpointSlice' &&
      serviceOf(current) === serviceOf(slice) &&
      !isPassedOver(current)
    )
      return;
    this.#trackSlice(slice, true);
    const names = this.#sliced.get(serviceOf(slice));
    names?.delete(slice.name);
    if (names?.size === 0) this.#sliced.delete(serviceOf(slice));
    this.#mirror(serviceOf(slice));
  }

  #sliceThere(slice: EndpointSlice): void {
    if (isPassedOver(slice)) return;
    const names = this.#sliced.get(serviceOf(slice)) ?? new Set();
    this.#sliced.set(serviceOf(slice), names.add(slice.name));
    this.#trackSlice(slice, false);
    this.#mirror(serviceOf(slice));
  }

  /** Puts the Endpoints of a Service in the place of its slices, when it has none, and takes them away when it has. */
  #mirror(service: string): void {
    const endpoints = this.#objects.get(`Endpoints ${service}`) as Endpoints | undefined;
    const isUsed = endpoints !== undefined && !isPassedOver(endpoints) && !this.#sliced.has(service);
    const before = this.#mirrored.get(service) ?? [];
    const after = isUsed ? slicesOfEndpoints(endpoints) : [];
    const kept = new Set(after.map(({ name }) => name));
    for (const slice of before) if (!kept.has(slice.name)) this.#trackSlice(slice, true);
    for (const slice of after) this.#trackSlice(slice, false);
    if (after.length === 0) this.#mirrored.delete(service);
    else this.#mirrored.set(service, after);
  }

  #trackSlice(slice: EndpointSliceFacts, remove: boolean): void {
    for (const family of FAMILIES) this.#trackers[family].endpoints.endpointSliceUpdate(slice, remove);
  }
}

const serviceOf = ({ namespace, serviceName }: EndpointSlice): string => `${namespace}/${serviceName}`;

const isPassedOver = (object: KubeObject): boolean => passOverReason(object) !== null;

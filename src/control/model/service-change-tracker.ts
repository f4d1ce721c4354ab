/**
 * The ServicePortMap of one address family, and the Services that changed since it was last brought up to date:
 * kube-proxy's pkg/proxy/servicechangetracker.go.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Family } from '../../wire/address.js';
import type { Service } from '../sources/kube-object.js';
import { keyOf, type ServicePort, type ServicePortMap, servicePortsOf } from './service-port.js';

export class ServiceChangeTracker {
  readonly family: Family;
  readonly #applied = new Map<string, readonly ServicePort[]>();
  readonly #pending = new Map<string, Service | null>();
  readonly #map = new Map<string, ServicePort>();

  constructor(family: Family) {
    this.family = family;
  }

  /** As of the last `applyChanges`. */
  get servicePortMap(): ServicePortMap {
    return this.#map;
  }

  /** Those of one Service, in the order of spec.ports. */
  portsOf(service: string): readonly ServicePort[] {
    return this.#applied.get(service) ?? [];
  }

  /** @param service "namespace/name" @param current null: it is gone */
  update(service: string, current: Service | null): void {
    this.#pending.set(service, current);
  }

  /** @returns the Services whose ports are not what they were, "namespace/name" */
  applyChanges(): string[] {
    const updated: string[] = [];
    for (const [service, current] of this.#pending) {
      const before = this.portsOf(service);
      const after = current === null ? [] : servicePortsOf(current, this.family);
      for (const port of before) this.#map.delete(keyOf(port));
      for (const port of after) this.#map.set(keyOf(port), port);
      if (after.length === 0) this.#applied.delete(service);
      else this.#applied.set(service, after);
      if (!isDeepStrictEqual(before.map(factsOf), after.map(factsOf))) updated.push(service);
    }
    this.#pending.clear();
    return updated;
  }
}

/** What is the same when the Service was only read again, from another line of its file. */
const factsOf = ({ service: _, ...facts }: ServicePort): Omit<ServicePort, 'service'> => facts;

/** For each Service that has one, "namespace/name", its healthCheckNodePort. */
export function healthCheckNodePorts(servicePorts: ServicePortMap): Map<string, number> {
  const found = new Map<string, number>();
  for (const { name, healthCheckNodePort } of servicePorts.values()) {
    if (healthCheckNodePort !== 0) found.set(`${name.namespace}/${name.name}`, healthCheckNodePort);
  }
  return found;
}

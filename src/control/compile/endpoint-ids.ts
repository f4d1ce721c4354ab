/**
 * Which counter row belongs to which endpoint of which Service port. An id stays with its endpoint across table
 * generations, also while the endpoint is away, so that counts of living flows never land on another endpoint.
 */
import { ENDPOINT_ROWS, UNLISTED_ENDPOINT } from '../../table/counters.js';

export interface EndpointName {
  /** "namespace/name:port", as kube-proxy prints a ServicePortName. */
  readonly servicePort: string;
  readonly protocol: string;
  /** "ip:port". */
  readonly endpoint: string;
}

export class EndpointIds {
  private readonly ids = new Map<string, number>();
  private readonly names: EndpointName[] = [];

  /** @param earlier what `list` answered in an earlier life: flows of that time keep their counter rows */
  constructor(earlier: readonly EndpointName[] = []) {
    for (const name of earlier) this.idOf(name);
  }

  /** @returns the id of an endpoint, a new one if need be; UNLISTED_ENDPOINT when all rows are given out */
  idOf(name: EndpointName): number {
    const key = `${name.servicePort} ${name.protocol} ${name.endpoint}`;
    const known = this.ids.get(key);
    if (known !== undefined) return known;
    const id = this.names.length + 1;
    if (id >= ENDPOINT_ROWS) return UNLISTED_ENDPOINT;
    this.names.push(name);
    this.ids.set(key, id);
    return id;
  }

  /** The endpoints with a row, the one with id 1 first. */
  list(): readonly EndpointName[] {
    return this.names;
  }
}

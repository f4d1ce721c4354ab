/**
 * What compiling remembers from one table to the next: which counter row belongs to which endpoint, which row of shared
 * state to which Service port, in which order an endpoint set was shuffled, and since when an endpoint is gone. An id
 * stays with its endpoint also while the endpoint is away, so that counts of living flows never land on another one.
 */
import { Random } from '../../shared/random.js';
import type { TableEndpoint } from '../../table/builder.js';
import { ENDPOINT_ROWS, UNLISTED_ENDPOINT } from '../../table/counters.js';
import { ENDPOINT_STATE } from '../../table/layout.js';
import type { Endpoint } from '../model/endpoint.js';
import type { OnEndpointRemoval } from '../model/service-port.js';
import type { EndpointSets } from '../model/topology.js';

export interface EndpointName {
  /** "namespace/name:port", as kube-proxy prints a ServicePortName. */
  readonly servicePort: string;
  readonly protocol: string;
  /** "ip:port". */
  readonly endpoint: string;
}

/** What outlives the process: the names behind ids and rows. */
export interface RegistryNames {
  /** The endpoint with id 1 first. */
  readonly endpoints: readonly EndpointName[];
  /** Keys of Service ports, that of row 0 first. */
  readonly ports: readonly string[];
}

export class Registry {
  /** Turns of round robin, by row: shared with the workers. */
  readonly turns: Int32Array;
  /** By Service port with its protocol, then by endpoint. */
  private readonly ids = new Map<string, Map<string, number>>();
  /** What compiling made of the endpoints of a Service port, by the sets that the plan keeps while they are the same. */
  readonly records = new WeakMap<EndpointSets, ReadonlyMap<Endpoint, TableEndpoint>>();
  private readonly names: EndpointName[] = [];
  /** By id: what its Service wants when it goes; in which compilation it served last; the second since which it does not. */
  private readonly onRemoval: OnEndpointRemoval[] = [KEEP];
  private readonly served: number[] = [0];
  private readonly goneSec: number[] = [0];
  private compilation = 0;
  private readonly rows = new Map<string, number>();
  private readonly shuffles = new Map<
    string,
    { readonly members: string; readonly order: readonly number[] }
  >();
  private readonly random: Random;

  /**
   * @param turns one word a Service port, in memory that the workers share; ports beyond it share the last
   * @param earlier what `snapshot` answered in an earlier life: flows of that time keep their rows
   */
  constructor(turns: Int32Array, seed: number, earlier: RegistryNames = { endpoints: [], ports: [] }) {
    this.turns = turns;
    this.random = new Random(seed);
    for (const name of earlier.endpoints) this.idOf(name);
    for (const key of earlier.ports) this.rowOf(key);
  }

  snapshot(): RegistryNames {
    return { endpoints: this.names, ports: [...this.rows.keys()] };
  }

  /** @returns the id of an endpoint, a new one if need be; UNLISTED_ENDPOINT when all rows are given out */
  idOf(name: EndpointName): number {
    const known = this.idsOf(name.servicePort, name.protocol).get(name.endpoint);
    return known ?? this.newId(name);
  }

  /** The ids of a Service port by endpoint: for many endpoints of one port. */
  idsOf(servicePort: string, protocol: string): Map<string, number> {
    const key = `${servicePort} ${protocol}`;
    const known = this.ids.get(key);
    if (known !== undefined) return known;
    const ids = new Map<string, number>();
    this.ids.set(key, ids);
    return ids;
  }

  private newId(name: EndpointName): number {
    const ids = this.idsOf(name.servicePort, name.protocol);
    const id = this.names.length + 1;
    if (id >= ENDPOINT_ROWS) return UNLISTED_ENDPOINT;
    this.names.push(name);
    this.onRemoval.push(KEEP);
    this.served.push(0);
    this.goneSec.push(0);
    ids.set(name.endpoint, id);
    return id;
  }

  /** @returns the row of a Service port, a new one if need be */
  rowOf(key: string): number {
    const known = this.rows.get(key);
    if (known !== undefined) return known;
    const row = Math.min(this.rows.size, this.turns.length - 1);
    this.rows.set(key, row);
    return row;
  }

  /**
   * The order in which userspace mode takes turns: shuffled when the set changes, and then begun anew (pkg/proxy/userspace,
   * roundrobin.go).
   * @param key of the set @param members what identifies its endpoints, in the set's order
   * @returns indexes into `members`
   */
  orderOf(key: string, row: number, members: readonly string[]): readonly number[] {
    const joined = members.join(' ');
    const known = this.shuffles.get(key);
    if (known?.members === joined) return known.order;
    const order = members.map((_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = this.random.below(i + 1);
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    this.shuffles.set(key, { members: joined, order });
    Atomics.store(this.turns, row, 0);
    return order;
  }

  /** A table is being compiled: `serves` says anew who serves. */
  beginTable(): void {
    this.compilation++;
  }

  /** An endpoint serves in this table. */
  serves(id: number, onRemoval: OnEndpointRemoval): void {
    this.served[id] = this.compilation;
    this.onRemoval[id] = onRemoval;
  }

  /** @returns ENDPOINT_STATE of every id, as `serves` said for this table */
  states(nowSec: number): Int32Array {
    const states = new Int32Array(this.served.length);
    for (let id = 0; id < states.length; id++) {
      if (this.served[id] === this.compilation || id === UNLISTED_ENDPOINT) {
        this.goneSec[id] = 0;
        states[id] = ENDPOINT_STATE.LIVE;
      } else {
        states[id] = this.stateOfGone(id, nowSec);
      }
    }
    return states;
  }

  private stateOfGone(id: number, nowSec: number): number {
    if (this.goneSec[id] === 0) this.goneSec[id] = Math.max(1, nowSec);
    const onRemoval = this.onRemoval[id] ?? KEEP;
    if (onRemoval.kind === 'keep') return ENDPOINT_STATE.GONE;
    return (this.goneSec[id] ?? 0) + (onRemoval.kind === 'drain' ? onRemoval.seconds : 0);
  }
}

const KEEP: OnEndpointRemoval = { kind: 'keep' };

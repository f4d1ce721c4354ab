/**
 * The real pipeline on the in-memory device, without files and threads: what the conformance runner and the tests ask
 * their questions. The same table, steps and loop as a worker's.
 */
import { ActiveFlows } from '../conntrack/active-flows.js';
import { AffinityTable, affinityBytes } from '../conntrack/affinity.js';
import { FlowTable, flowFileBytes } from '../conntrack/flow-table.js';
import { ALONE, type Share } from '../conntrack/owner.js';
import { type PoolWords, PortPool } from '../conntrack/port-pool.js';
import { timeoutsOf } from '../conntrack/timeouts.js';
import { MemoryDevice } from '../device/memory.js';
import { Random } from '../shared/random.js';
import { COUNTERS_BYTES } from '../table/counters.js';
import { ServiceTable } from '../table/service-table.js';
import { FAMILIES } from '../wire/family.js';
import { COALESCE } from './coalesce.js';
import { WorkerContext } from './context.js';
import { HandOff, handOffRings } from './hand-off.js';
import { turn } from './loop.js';
import { Slab } from './packet.js';

export interface InMemoryOptions {
  /** Bytes of a compiled service table. */
  readonly table: ArrayBufferLike;
  /** One a family. */
  readonly snatPools: readonly PoolWords[];
  /** Shared state that the table's rows and ids index: see Registry, and ActiveFlows. */
  readonly turns: Int32Array;
  readonly active: Int32Array;
  readonly seed: number;
  /** Flows of each family; a power of two. */
  readonly flowCapacity: number;
  /** Files of flow tables to go on with, by family. */
  readonly flowFiles?: readonly (ArrayBufferLike | undefined)[];
  /** TIMEOUT.COUNT words; those of profile linux unless given. */
  readonly timeouts?: Int32Array;
  /** One of several workers, and the rings between all of them; the only one unless given. */
  readonly share?: Share;
  readonly rings?: Int32Array;
  /** Bits of COALESCE; none unless given. */
  readonly coalesce?: number;
  /** Where the clock begins. */
  readonly nowMs?: number;
  /** What several workers share, and one by itself has for itself. */
  readonly affinity?: AffinityTable;
  readonly penalties?: Int32Array;
  /** Of the random choices; made from `seed` unless given. */
  readonly random?: Random;
}

const AFFINITY_CAPACITY = 1 << 13;

export const freshAffinity = (): AffinityTable =>
  new AffinityTable(new ArrayBuffer(affinityBytes(AFFINITY_CAPACITY)), AFFINITY_CAPACITY);

export class InMemoryDataplane {
  readonly cx: WorkerContext;
  readonly device: MemoryDevice;
  /** Milliseconds of the clock; the caller moves it. */
  nowMs: number;

  constructor(options: InMemoryOptions) {
    const { turns, seed, flowCapacity: capacity } = options;
    const { share = ALONE, rings = handOffRings(share.workers) } = options;
    const active = new ActiveFlows(options.active, share);
    const slab = new Slab();
    this.cx = new WorkerContext({
      slab,
      table: ServiceTable.from(options.table),
      flows: FAMILIES.map((family) => {
        const file = options.flowFiles?.[family] ?? new ArrayBuffer(flowFileBytes(family, capacity));
        return new FlowTable(file, { family, capacity, seed, active: active.own });
      }),
      pools: options.snatPools.map((pool, family) => new PortPool(family, pool, share)),
      affinity: options.affinity ?? freshAffinity(),
      turns,
      active,
      penalties: options.penalties ?? new Int32Array(active.own.length),
      random: options.random ?? new Random(seed + share.worker),
      coalesce: options.coalesce ?? COALESCE.NONE,
      handOff: new HandOff(share, rings, () => {}),
      timeouts: options.timeouts ?? timeoutsOf('linux'),
      counters: new Float64Array(COUNTERS_BYTES / Float64Array.BYTES_PER_ELEMENT),
    });
    this.nowMs = options.nowMs ?? 1_000_000;
    this.cx.reapedMs = this.nowMs;
    this.device = new MemoryDevice(slab);
  }

  /** Publishes another table, as a worker takes it up between two batches. */
  publish(table: ArrayBufferLike): void {
    this.cx.table = ServiceTable.from(table);
  }

  /** Takes frames through. @returns the frames that came out, in order */
  send(...frames: Uint8Array[]): Uint8Array[] {
    for (const frame of frames) this.device.put(frame);
    this.device.sent.length = 0;
    while (turn(this.cx, this.device, this.nowMs) > 0 || this.cx.fragments.ready);
    return [...this.device.sent];
  }
}

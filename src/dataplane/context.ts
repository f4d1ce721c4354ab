/** Everything one worker works with, created once: every view and number of the packet's way. */
import type { FlowTable } from '../conntrack/flow-table.js';
import type { PortPool } from '../conntrack/port-pool.js';
import type { Random } from '../shared/random.js';
import type { ServiceTable } from '../table/service-table.js';
import { RECORD, SLOTS, type Slab } from './packet.js';

export interface ContextParts {
  readonly slab: Slab;
  readonly table: ServiceTable;
  readonly flows: FlowTable;
  readonly pool: PortPool;
  readonly random: Random;
  /** COUNTERS_BYTES of this worker's counters. */
  readonly counters: Float64Array;
}

export class WorkerContext {
  readonly slab: Slab;
  /** Records of the packets in the slab, see RECORD. */
  readonly records = new Int32Array(SLOTS * RECORD.SIZE);
  /** The Services; another one after a change, between two batches only. */
  table: ServiceTable;
  readonly flows: FlowTable;
  readonly pool: PortPool;
  readonly random: Random;
  readonly counters: Float64Array;
  /** Second of the current batch on the monotonic clock. */
  nowSec = 0;
  /** Millisecond up to which the flow table was looked over for expired flows. */
  reapedMs = 0;

  constructor(parts: ContextParts) {
    this.slab = parts.slab;
    this.table = parts.table;
    this.flows = parts.flows;
    this.pool = parts.pool;
    this.random = parts.random;
    this.counters = parts.counters;
  }
}

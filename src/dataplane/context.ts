/** Everything one worker works with, created once: every view and number of the packet's way. */
import type { ActiveFlows } from '../conntrack/active-flows.js';
import type { AffinityTable } from '../conntrack/affinity.js';
import type { FlowTable } from '../conntrack/flow-table.js';
import { FragmentTable } from '../conntrack/fragments.js';
import type { PortPool } from '../conntrack/port-pool.js';
import type { Random } from '../shared/random.js';
import { COUNTER } from '../table/counters.js';
import type { ServiceTable } from '../table/service-table.js';
import { Coalescer } from './coalesce.js';
import { type HandOff, HOPS_MAX } from './hand-off.js';
import { forwardOf } from './hits.js';
import { IcmpLimit } from './icmp-limit.js';
import { RECORD, SLOTS, type Slab } from './packet.js';
import { tallyOf } from './reinject.js';
import { RetryTable } from './retry.js';
import { DropReason } from './verdict.js';

export interface ContextParts {
  readonly slab: Slab;
  readonly table: ServiceTable;
  /** One of each family, indexed by FAMILY. */
  readonly flows: readonly FlowTable[];
  readonly pools: readonly PortPool[];
  readonly affinity: AffinityTable;
  /** Turns of round robin, by row of the Service port; shared by all workers. */
  readonly turns: Int32Array;
  readonly active: ActiveFlows;
  /** Until when each endpoint id is in the penalty box; shared by all workers. */
  readonly penalties: Int32Array;
  readonly random: Random;
  readonly handOff: HandOff;
  /** Bits of COALESCE: what the device takes as super-packets. */
  readonly coalesce: number;
  /** TIMEOUT.COUNT words, see conntrack/timeouts.ts. */
  readonly timeouts: Int32Array;
  /** COUNTERS_BYTES of this worker's counters. */
  readonly counters: Float64Array;
}

export class WorkerContext {
  readonly slab: Slab;
  /** Records of the packets in the slab, see RECORD. */
  readonly records = new Int32Array(SLOTS * RECORD.SIZE);
  /** What the packet in each slot is, see PLAIN. */
  readonly plain = new Int32Array(SLOTS);
  /** The flow of the packet in each slot if the fast path has forwarded it, else NO_FLOW. */
  readonly located = new Int32Array(SLOTS);
  /** Hash of the tuple of each plain packet. */
  readonly hashes = new Int32Array(SLOTS);
  /** The slot whose hash stands in `hashes`, while `process` looks at a plain packet; else -1. */
  hashed = -1;
  /** Written and never read: so that entries are looked at, which brings them into the cache (see `locateOf`). */
  touched = 0;
  /** The Services; another one after a change, between two batches only. */
  table: ServiceTable;
  readonly flows: readonly FlowTable[];
  readonly pools: readonly PortPool[];
  readonly affinity: AffinityTable;
  readonly turns: Int32Array;
  readonly active: ActiveFlows;
  /** Connections that wait for their endpoint's answer, and what is avoided meanwhile. */
  readonly retry: RetryTable;
  /** Datagrams of which fragments are on their way. */
  readonly fragments: FragmentTable;
  /** Of the ICMP errors that this worker makes. */
  readonly icmpLimit: IcmpLimit;
  readonly random: Random;
  /** This worker's share of the flows, and its way to the others. */
  readonly handOff: HandOff;
  readonly coalescer: Coalescer;
  /** By slot: how often the packet may still be handed over, see hand-off.ts. */
  readonly hopsLeft = new Int32Array(SLOTS).fill(HOPS_MAX);
  /** Seconds that a flow lives after a packet, by TIMEOUT. */
  readonly timeouts: Int32Array;
  readonly counters: Float64Array;
  /** Millisecond and second of the current batch on the monotonic clock. */
  nowMs = 0;
  nowSec = 0;
  /** Entries that new flows of this batch may still look at for one that they push out, see loop.ts. */
  evictionsLeft = 0;
  /** Millisecond up to which the flow tables were looked over for expired flows. */
  reapedMs = 0;
  /** By family: how many times its even share the reaper looks at, see loop.ts. */
  readonly reapPace: Int32Array;
  /** The loops over a batch that are made for this context: the fast path, and the counts at the end. */
  readonly forward: (count: number) => void;
  readonly tally: (count: number) => void;

  constructor(parts: ContextParts) {
    this.slab = parts.slab;
    this.table = parts.table;
    this.flows = parts.flows;
    this.pools = parts.pools;
    this.affinity = parts.affinity;
    this.turns = parts.turns;
    this.active = parts.active;
    this.retry = new RetryTable(parts.flows, parts.penalties);
    this.random = parts.random;
    this.handOff = parts.handOff;
    this.coalescer = new Coalescer(parts.coalesce);
    this.fragments = new FragmentTable(parts.flows[0].seed);
    this.icmpLimit = new IcmpLimit(parts.flows[0].seed);
    this.timeouts = parts.timeouts;
    this.counters = parts.counters;
    this.reapPace = new Int32Array(parts.flows.length).fill(1);
    this.forward = forwardOf(this);
    this.tally = tallyOf(this);
    // What the worker before this one held is gone with it.
    this.counters[COUNTER.DROPPED + DropReason.FragmentTimeout] += this.counters[COUNTER.HELD];
    this.counters[COUNTER.HELD] = 0;
  }
}

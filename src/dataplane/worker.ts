/**
 * The entry of a dataplane worker thread, run by the pool in supervisor.ts: attaches the shared memory, then takes
 * turns until it is told to stop. The TUN queue stays open when a worker ends, so that the one that replaces it goes on
 * where it was; the flows are in the mapped files.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { errnoName, wake } from '../../native-bindings/index.js';
import { ActiveFlows } from '../conntrack/active-flows.js';
import { AffinityTable, affinityBytes } from '../conntrack/affinity.js';
import { FlowTable, flowFileBytes } from '../conntrack/flow-table.js';
import { type PoolWords, PortPool } from '../conntrack/port-pool.js';
import { tunDevice } from '../device/tun.js';
import { mapped } from '../host/mapped-file.js';
import { monotonicMs } from '../shared/clock.js';
import { Random } from '../shared/random.js';
import { COUNTERS_BYTES } from '../table/counters.js';
import { ServiceTable } from '../table/service-table.js';
import { type PublishedTable, SIGNAL } from '../table/signals.js';
import { WorkerContext } from './context.js';
import { HandOff } from './hand-off.js';
import { isStream, turn } from './loop.js';
import { SLOTS, Slab } from './packet.js';

/** Longest sleep without traffic, if nobody wakes the worker: expired flows are reaped at least that often. */
const IDLE_WAIT_MS = 100;

/**
 * So long a stream is left to gather, as a network card moderates its interrupts (ethtool's rx-usecs). The kernel adds its timer
 * slack of 50 us and the time to wake up: about 90 us in all.
 */
const GATHER_MS = 0.02;
/** Nobody wakes who waits for this word. */
const NOBODY = new Int32Array(new SharedArrayBuffer(4));

export interface WorkerStartup {
  /** Number of this worker, from 0. */
  readonly worker: number;
  /** Descriptor of its TUN queue, opened by the main thread. */
  readonly descriptor: number;
  /** Descriptors that end the sleep of each worker, its own among them. */
  readonly wakes: readonly number[];
  /** Rings between all workers, see hand-off.ts. */
  readonly rings: Int32Array;
  readonly signals: Int32Array;
  readonly table: PublishedTable;
  /** Where later tables arrive. */
  readonly tables: MessagePort;
  /** Files of this worker's shards, one a family. */
  readonly flowsPaths: readonly string[];
  /** Flows in a shard; a power of two. */
  readonly flowCapacity: number;
  readonly countersPath: string;
  /** File of the ClientIP affinities of all workers, and how many it holds; a power of two. */
  readonly affinityPath: string;
  readonly affinityCapacity: number;
  /** Shared by all workers: turns of round robin by row, penalties by endpoint id, and the words of ActiveFlows. */
  readonly turns: Int32Array;
  readonly active: Int32Array;
  readonly penalties: Int32Array;
  /** Of the tuple hash and of the random choices. */
  readonly seed: number;
  /** One a family; one without addresses masquerades nothing. */
  readonly snatPools: readonly PoolWords[];
  /** TIMEOUT.COUNT words, see conntrack/timeouts.ts. */
  readonly timeouts: Int32Array;
  /** Bits of COALESCE. */
  readonly coalesce: number;
}

/** @throws Error when memory cannot be mapped or the device answers with an error; the supervisor decides then */
export default function runWorker(startup: WorkerStartup): void {
  const { signals, worker, tables, flowCapacity: capacity, seed } = startup;
  const share = { worker, workers: startup.wakes.length };
  const active = new ActiveFlows(startup.active, share);
  const slab = new Slab();
  const cx = new WorkerContext({
    slab,
    table: ServiceTable.from(startup.table.bytes),
    flows: startup.flowsPaths.map(
      (path, family) =>
        new FlowTable(mapped(path, flowFileBytes(family, capacity)), {
          family,
          capacity,
          seed,
          active: active.own,
        }),
    ),
    pools: startup.snatPools.map((pool, family) => new PortPool(family, pool, share)),
    affinity: new AffinityTable(
      mapped(startup.affinityPath, affinityBytes(startup.affinityCapacity)),
      startup.affinityCapacity,
    ),
    turns: startup.turns,
    active,
    penalties: startup.penalties,
    random: new Random(seed + worker),
    handOff: new HandOff(share, startup.rings, (other) => wake(startup.wakes[other])),
    timeouts: startup.timeouts,
    coalesce: startup.coalesce,
    counters: new Float64Array(mapped(startup.countersPath, COUNTERS_BYTES)),
  });
  cx.reapedMs = monotonicMs();
  const device = tunDevice(startup.descriptor, startup.wakes[worker], slab);

  let generation = startup.table.generation;
  Atomics.store(signals, SIGNAL.SEEN + worker, generation);
  while (Atomics.load(signals, SIGNAL.STOP) === 0) {
    if (Atomics.load(signals, SIGNAL.GENERATION) !== generation) {
      const newest = newestOf(tables);
      if (newest !== undefined) {
        cx.table = ServiceTable.from(newest.bytes);
        generation = newest.generation;
        Atomics.store(signals, SIGNAL.SEEN + worker, generation);
      }
    }
    const count = turn(cx, device, monotonicMs());
    if (count < 0) throw new Error(`worker ${worker}: the TUN device answered ${errnoName(count)}`);
    if (isStream(cx, count)) Atomics.wait(NOBODY, 0, 0, GATHER_MS);
    // A batch that is not full has ended because nothing more was there.
    else if (count < SLOTS && !cx.fragments.ready)
      device.wait(Math.max(0, Math.min(IDLE_WAIT_MS, Math.ceil(cx.retry.nextDueMs - monotonicMs()))));
  }
  tables.close();
}

/** The last table that waits on the port; the older ones are of no interest any more. */
function newestOf(port: MessagePort): PublishedTable | undefined {
  let newest: PublishedTable | undefined;
  for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port)) {
    newest = got.message as PublishedTable;
  }
  return newest;
}

/**
 * The entry of a dataplane worker thread, run by the pool in supervisor.ts: attaches the shared memory, then takes
 * turns until it is told to stop. The TUN queue stays open when a worker ends, so that the one that replaces it goes on
 * where it was; the flows are in the mapped file.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { errnoName, mapFile } from '../../native-bindings/index.js';
import { FlowTable, flowFileBytes } from '../conntrack/flow-table.js';
import { PortPool } from '../conntrack/port-pool.js';
import { tunDevice } from '../device/tun.js';
import { monotonicMs } from '../shared/clock.js';
import { Random } from '../shared/random.js';
import { COUNTERS_BYTES } from '../table/counters.js';
import { ServiceTable } from '../table/service-table.js';
import { type PublishedTable, SIGNAL } from '../table/signals.js';
import { WorkerContext } from './context.js';
import { turn } from './loop.js';
import { Slab } from './packet.js';

/** Longest sleep without traffic: how late an idle worker notices STOP or acknowledges a new table. */
const IDLE_WAIT_MS = 100;

export interface WorkerStartup {
  /** Number of this worker, from 0. */
  readonly worker: number;
  /** Descriptor of its TUN queue, opened by the main thread. */
  readonly descriptor: number;
  readonly signals: Int32Array;
  readonly table: PublishedTable;
  /** Where later tables arrive. */
  readonly tables: MessagePort;
  readonly flowsPath: string;
  /** Flows in this worker's shard; a power of two. */
  readonly flowCapacity: number;
  readonly countersPath: string;
  /** Of the tuple hash and of the random choices. */
  readonly seed: number;
  readonly snatPool: { readonly addresses: Int32Array; readonly network: number; readonly mask: number };
}

/** @throws Error when memory cannot be mapped or the device answers with an error; the supervisor decides then */
export default function runWorker(startup: WorkerStartup): void {
  const { signals, worker, tables } = startup;
  const slab = new Slab();
  const { addresses, network, mask } = startup.snatPool;
  const cx = new WorkerContext({
    slab,
    table: ServiceTable.from(startup.table.bytes),
    flows: new FlowTable(
      map(startup.flowsPath, flowFileBytes(startup.flowCapacity)),
      startup.flowCapacity,
      startup.seed,
    ),
    pool: new PortPool(addresses, network, mask),
    random: new Random(startup.seed + worker),
    counters: new Float64Array(map(startup.countersPath, COUNTERS_BYTES)),
  });
  cx.reapedMs = monotonicMs();
  const device = tunDevice(startup.descriptor, slab);

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
    if (count === 0) device.wait(IDLE_WAIT_MS);
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

function map(path: string, bytes: number): ArrayBuffer {
  const memory = mapFile(path, bytes);
  if (typeof memory === 'number') throw new Error(`cannot map ${path}: ${errnoName(memory)}`);
  return memory;
}

/** The dataplane of a running proxy: the device's queues, who gets which packet, the workers and their shared memory. */
import { flowCapacityOf, flowTimeoutsOf, type ProxyConfig } from './config.js';
import { affinityBytes } from './conntrack/affinity.js';
import { flowFileBytes } from './conntrack/flow-table.js';
import type { PoolWords } from './conntrack/port-pool.js';
import { Publisher } from './control/publish/publisher.js';
import { COALESCE } from './dataplane/coalesce.js';
import { Supervisor } from './dataplane/supervisor.js';
import { prepareFlowFiles } from './host/flow-files.js';
import { reserve } from './host/mapped-file.js';
import type { StateDir } from './host/state-dir.js';
import { Steering } from './host/steering.js';
import { closeTunQueues, openTunQueues, type TunQueues } from './host/tun-queues.js';
import { monotonicMs } from './shared/clock.js';
import { COUNTERS_BYTES, ENDPOINT_ROWS } from './table/counters.js';
import { signalsFor } from './table/signals.js';
import { FAMILIES, FAMILY } from './wire/family.js';

const START_TIMEOUT_MS = 10_000;
const AFFINITY_CAPACITY = 1 << 16;

export interface RunningDataplane {
  /** Flows in the table of one family of one worker. */
  readonly flowCapacity: number;
  readonly queues: TunQueues;
  readonly steering: Steering;
  readonly publisher: Publisher;
  /** Rejected when a worker fails too often; resolves after `stop`. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export interface DataplaneParts {
  readonly config: ProxyConfig;
  readonly state: StateDir;
  /** The table to begin with. */
  readonly table: SharedArrayBuffer;
  /** Turns of round robin by row. */
  readonly turns: Int32Array;
  /** The addresses in the table, for the kernel. */
  readonly addresses: ReadonlySet<string>;
  readonly warn: (message: string) => void;
}

/** Starts the workers; when it resolves, all of them work with the table. @throws Error, with everything stopped again */
export async function startDataplane(parts: DataplaneParts): Promise<RunningDataplane> {
  const { config, state, table, turns, addresses, warn } = parts;
  const { workers } = config;
  const flowCapacity = flowCapacityOf(config.settings.conntrack, workers);
  prepareFlowFiles(state, { workers, capacity: flowCapacity, nowSec: monotonicMs() / 1000, warn });
  for (let worker = 0; worker < workers; worker++) {
    for (const family of FAMILIES) {
      reserve(state.flowsPath(worker, family), flowFileBytes(family, flowCapacity));
    }
    reserve(state.countersPath(worker), COUNTERS_BYTES);
  }
  reserve(state.affinityPath, affinityBytes(AFFINITY_CAPACITY));
  const queues = openTunQueues(config.tun, workers, config.offload);
  const steering = new Steering(queues.descriptors[0] as number, workers);
  steering.add(addresses);
  const signals = signalsFor(workers);
  const publisher = new Publisher(signals, table, () => supervisor.wake());
  const active = new Int32Array(new SharedArrayBuffer(workers * ENDPOINT_ROWS * 4));
  const penalties = new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS * 4));
  const supervisor: Supervisor = new Supervisor({
    workers,
    signals,
    startupOf: (worker) => ({
      worker,
      descriptor: queues.descriptors[worker] as number,
      signals,
      ...publisher.connect(worker),
      flowsPaths: FAMILIES.map((family) => state.flowsPath(worker, family)),
      flowCapacity,
      countersPath: state.countersPath(worker),
      affinityPath: state.affinityPath,
      affinityCapacity: AFFINITY_CAPACITY,
      turns,
      active,
      penalties,
      seed: config.seed,
      snatPools: FAMILIES.map((family) => poolWords(config, family)),
      coalesce: coalesceOf(queues.offloads),
      timeouts: flowTimeoutsOf(config.settings.conntrack),
    }),
    onRestart: (worker, failure) => warn(`worker ${worker} is restarted: ${failure.message}`),
  });
  const ended = supervisor.run();
  const stop = async (): Promise<void> => {
    await supervisor.stop();
    publisher.close();
    steering.close();
    closeTunQueues(queues.descriptors);
  };
  try {
    await Promise.race([publisher.seen(START_TIMEOUT_MS), ended]);
  } catch (error) {
    ended.catch(() => {}); // the reason is being reported already
    await stop();
    throw error;
  }
  return { flowCapacity, queues, steering, publisher, ended, stop };
}

/** What the kernel hands over unfinished it also takes so. */
const coalesceOf = (offloads: string): number =>
  (offloads.includes('tso') ? COALESCE.TCP : 0) | (offloads.includes('uso') ? COALESCE.UDP : 0);

/** Of a family without a pool: none, with which nothing is masqueraded. */
function poolWords({ snatPools }: ProxyConfig, family: number): PoolWords {
  const pool = snatPools.find((pool) => (pool.family === 'IPv4' ? FAMILY.V4 : FAMILY.V6) === family);
  const none = new Int32Array(0);
  if (pool === undefined) return { addresses: none, network: none, mask: none };
  const { addresses, network, mask } = pool;
  return { addresses, network, mask };
}

/** Real worker threads over queues that a test has opened. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { timeoutsOf } from '../../src/conntrack/timeouts.js';
import { Publisher } from '../../src/control/publish/publisher.js';
import { Supervisor } from '../../src/dataplane/supervisor.js';
import { ENDPOINT_ROWS } from '../../src/table/counters.js';
import { signalsFor } from '../../src/table/signals.js';
import { POOLS, type Services, tableOf } from './dataplane.js';

export interface Rig {
  readonly signals: Int32Array;
  readonly publisher: Publisher;
  readonly supervisor: Supervisor;
  readonly ended: Promise<void>;
  readonly restarts: string[];
  /** Of the first worker. */
  readonly counters: () => Float64Array;
}

/** @param dir where the workers' files are @param services of the first table */
export function rig(
  dir: string,
  descriptors: readonly number[],
  services: Services = { '10.96.0.1:80/tcp': ['10.1.0.1:80'] },
): Rig {
  const workers = descriptors.length;
  const signals = signalsFor(workers);
  const publisher = new Publisher(signals, tableOf(services), () => supervisor.wake());
  const restarts: string[] = [];
  const supervisor: Supervisor = new Supervisor({
    workers,
    signals,
    startupOf: (worker) => ({
      worker,
      descriptor: descriptors[worker],
      signals,
      ...publisher.connect(worker),
      flowsPaths: [join(dir, `flows4-${worker}`), join(dir, `flows6-${worker}`)],
      flowCapacity: 1024,
      countersPath: join(dir, `counters-${worker}`),
      affinityPath: join(dir, 'affinity'),
      affinityCapacity: 1024,
      turns: new Int32Array(new SharedArrayBuffer(64)),
      active: new Int32Array(new SharedArrayBuffer(workers * ENDPOINT_ROWS * 4)),
      penalties: new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS * 4)),
      seed: 1,
      snatPools: POOLS,
      timeouts: timeoutsOf('linux'),
      coalesce: 0,
    }),
    onRestart: (_, failure) => restarts.push(failure.message),
  });
  const ended = supervisor.run();
  const counters = () => {
    const bytes = readFileSync(join(dir, 'counters-0'));
    return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 1024));
  };
  return { signals, publisher, supervisor, ended, restarts, counters };
}

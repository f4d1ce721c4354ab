/**
 * Starts the dataplane workers in piscina's threads and keeps them running. A worker is one task that lasts as long as
 * the proxy: when it ends by an error, or its thread dies, the task is run again and takes up its queue and its shard.
 */
import { Piscina } from 'piscina';
import { closeDescriptor, errnoName, openWake, wake } from '../../native-bindings/index.js';
import { SIGNAL } from '../table/signals.js';
import { handOffRings } from './hand-off.js';
import type { WorkerStartup } from './worker.js';

/** More failures of one worker within the window are not bad luck: the proxy gives up. */
const FAILURES_MAX = 5;
const FAILURE_WINDOW_MS = 10_000;
const RESTART_DELAY_MS = 50;

/** worker.ts with all that it imports in one module (scripts/bundle.ts). */
const WORKER = new URL('../../bundle/worker.js', import.meta.url).href;

export interface SupervisorOptions {
  readonly workers: number;
  readonly signals: Int32Array;
  /** What a worker is started with; asked for again at every restart. Its `tables` port is transferred. */
  readonly startupOf: (worker: number) => Omit<WorkerStartup, 'wakes' | 'rings'>;
  /** A worker failed and is being restarted. */
  readonly onRestart: (worker: number, failure: Error) => void;
}

export class Supervisor {
  private readonly pool: Piscina;
  private readonly options: SupervisorOptions;
  private readonly running: Promise<void>[] = [];
  private readonly wakes: readonly number[];
  private readonly rings: Int32Array;

  constructor(options: SupervisorOptions) {
    this.options = options;
    this.rings = handOffRings(options.workers);
    this.wakes = Array.from({ length: options.workers }, openWakeOrThrow);
    this.pool = new Piscina({
      filename: WORKER,
      minThreads: options.workers,
      maxThreads: options.workers,
    });
  }

  /** Starts every worker. @returns a promise that is rejected when a worker fails too often, else resolves after `stop` */
  run(): Promise<void> {
    for (let worker = 0; worker < this.options.workers; worker++) this.running.push(this.keepRunning(worker));
    return Promise.all(this.running).then(() => undefined);
  }

  /** Ends the sleep of workers without traffic: something is there for them to see. */
  wake(): void {
    for (const descriptor of this.wakes) wake(descriptor);
  }

  /** Tells every worker to return, waits until they have, and ends the threads. */
  async stop(): Promise<void> {
    Atomics.store(this.options.signals, SIGNAL.STOP, 1);
    this.wake();
    await Promise.allSettled(this.running);
    await this.pool.destroy();
    for (const descriptor of this.wakes) closeDescriptor(descriptor);
  }

  private async keepRunning(worker: number): Promise<void> {
    let failures: number[] = [];
    while (Atomics.load(this.options.signals, SIGNAL.STOP) === 0) {
      const startup: WorkerStartup = {
        ...this.options.startupOf(worker),
        wakes: this.wakes,
        rings: this.rings,
      };
      try {
        await this.pool.run(startup, { transferList: [startup.tables] });
      } catch (error) {
        const failure = error instanceof Error ? error : new Error(String(error));
        const now = performance.now();
        failures = [...failures.filter((at) => now - at < FAILURE_WINDOW_MS), now];
        if (failures.length > FAILURES_MAX) throw failure;
        this.options.onRestart(worker, failure);
        await new Promise((resolve) => setTimeout(resolve, RESTART_DELAY_MS));
      }
    }
  }
}

function openWakeOrThrow(): number {
  const descriptor = openWake();
  if (descriptor < 0) throw new Error(`no descriptor to wake a worker with: ${errnoName(descriptor)}`);
  return descriptor;
}

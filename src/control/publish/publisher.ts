/**
 * Hands compiled service tables to the workers. A worker looks at GENERATION between two batches, takes the newest
 * table from its port and says so in SEEN, so every packet is decided by one whole table. A table that no worker
 * holds any more is collected like any other memory.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { type PublishedTable, SIGNAL } from '../../table/signals.js';

const SEEN_POLL_MS = 1;

export class Publisher {
  private readonly signals: Int32Array;
  private readonly ports: (MessagePort | undefined)[] = [];
  private current: PublishedTable;
  private readonly wake: () => void;

  /**
   * @param signals shared words, see SIGNAL
   * @param first the table to begin with: generation 1
   * @param wake ends the sleep of workers without traffic
   */
  constructor(signals: Int32Array, first: SharedArrayBuffer, wake: () => void) {
    this.signals = signals;
    this.wake = wake;
    this.current = { generation: 1, bytes: first };
    Atomics.store(signals, SIGNAL.GENERATION, 1);
  }

  /** Of the newest table. */
  get generation(): number {
    return this.current.generation;
  }

  /** The newest table. */
  get table(): SharedArrayBuffer {
    return this.current.bytes;
  }

  /**
   * Connects a worker that begins, or begins again.
   * @returns the table it begins with, and the port on which later ones arrive (to be transferred to it)
   */
  connect(worker: number): { table: PublishedTable; tables: MessagePort } {
    this.ports[worker]?.close();
    const { port1, port2 } = new MessageChannel();
    port1.unref(); // an idle port must not keep the process alive
    this.ports[worker] = port1;
    Atomics.store(this.signals, SIGNAL.SEEN + worker, 0);
    return { table: this.current, tables: port2 };
  }

  /** Makes `bytes` the table for every worker from its next batch on. @returns its generation */
  publish(bytes: SharedArrayBuffer): number {
    this.current = { generation: this.current.generation + 1, bytes };
    for (const port of this.ports) port?.postMessage(this.current);
    Atomics.store(this.signals, SIGNAL.GENERATION, this.current.generation);
    this.wake();
    return this.current.generation;
  }

  /** Resolves when every connected worker works with the newest table. @throws Error after `timeoutMs` */
  async seen(timeoutMs: number): Promise<void> {
    const { generation } = this.current;
    for (let waitedMs = 0; ; waitedMs += SEEN_POLL_MS) {
      const behind = this.ports.findIndex(
        (_, worker) => Atomics.load(this.signals, SIGNAL.SEEN + worker) < generation,
      );
      if (behind === -1) return;
      if (waitedMs >= timeoutMs)
        throw new Error(`worker ${behind} did not take up table ${generation} in ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, SEEN_POLL_MS));
    }
  }

  close(): void {
    for (const port of this.ports) port?.close();
  }
}

/** Several workers of the real pipeline in one thread, each with its queue; who gets a packet first is the test's to say. */
import { handOffRings } from '../../src/dataplane/hand-off.js';
import { ENDPOINT_ROWS } from '../../src/table/counters.js';
import { type DataplaneOptions, Ids, type Services, TestDataplane } from './dataplane.js';

export class TestWorkers {
  readonly workers: readonly TestDataplane[];

  /** @param options of each; `flowFilesOf` a worker's own flow tables' files, by family */
  constructor(
    services: Services,
    count: number,
    {
      flowFilesOf,
      ...options
    }: DataplaneOptions & { flowFilesOf?: (worker: number) => readonly ArrayBufferLike[] } = {},
  ) {
    const rings = handOffRings(count);
    const active = new Int32Array(new SharedArrayBuffer(count * ENDPOINT_ROWS * 4));
    const ids = options.ids ?? new Ids();
    this.workers = Array.from(
      { length: count },
      (_, worker) =>
        new TestDataplane(services, {
          ...options,
          ...(flowFilesOf && { flowFiles: flowFilesOf(worker) }),
          ids,
          rings,
          active,
          share: { worker, workers: count },
        }),
    );
  }

  /** Puts frames into one worker's queue, and lets all work until nothing moves. @returns what came out, of any of them */
  deliver(worker: number, ...frames: Uint8Array[]): Uint8Array[] {
    const out = this.workers[worker]!.send(...frames);
    return [...out, ...this.settle()];
  }

  /** Lets all work until nothing moves. */
  settle(): Uint8Array[] {
    const out: Uint8Array[] = [];
    // A packet is handed over twice at most: to where its fragments meet, and to its flow.
    for (let round = 0; round < 4; round++) for (const worker of this.workers) out.push(...worker.send());
    return out;
  }

  get flowCount(): number {
    return this.workers.reduce((sum, { flowCount }) => sum + flowCount, 0);
  }

  /** Counters of all workers, by name. */
  get counts(): Record<string, number> {
    const sum: Record<string, number> = {};
    for (const { counts } of this.workers) {
      for (const [name, count] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + count;
    }
    return sum;
  }
}

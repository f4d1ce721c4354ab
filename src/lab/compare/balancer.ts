/**
 * The data plane of a run: one or more workers' contexts of the production pipeline, over one clock.
 *
 * The result does not depend on how many workers there are: a flow belongs to one of them by its client's address and port,
 * as in production;
 * what production shares among workers (turns, connections by endpoint, penalties, affinities) is shared; all draw from one
 * generator, in the order of the packets; and expired flows are reaped to the end at every full second, as they expire.
 */

import { flowFileBytes } from '../../conntrack/flow-table.js';
import { ownerOf, shardOf, stirWords } from '../../conntrack/owner.js';
import type { PoolWords } from '../../conntrack/port-pool.js';
import { Registry } from '../../control/compile/registry.js';
import { handOffRings } from '../../dataplane/hand-off.js';
import { freshAffinity, InMemoryDataplane } from '../../dataplane/in-memory.js';
import { powerOfTwoAtLeast } from '../../shared/assert.js';
import { Random } from '../../shared/random.js';
import { ENDPOINT_ROWS } from '../../table/counters.js';
import { half, word } from '../../wire/byte-order.js';
import { FAMILY } from '../../wire/family.js';

/** Where the data plane's clock stands when a run begins. */
const EPOCH_MS = 1_000_000;

const PORT_ROWS = 1 << 14;
const FLOWS_MIN = 1024;

/** Nothing is masqueraded: clients are pods, whose replies come back this way. */
const NO_POOL: PoolWords = {
  addresses: Int32Array.of(),
  network: Int32Array.of(-1),
  mask: Int32Array.of(-1),
};
const NO_POOL_V6: PoolWords = {
  addresses: Int32Array.of(),
  network: Int32Array.of(-1, -1, -1, -1),
  mask: Int32Array.of(-1, -1, -1, -1),
};

export class Balancer {
  readonly registry: Registry;
  readonly #workers: InMemoryDataplane[] = [];
  readonly #files: ArrayBuffer[][];
  readonly #shared: Omit<ConstructorParameters<typeof InMemoryDataplane>[0], 'table'>;
  readonly #pinned: boolean;
  #reapedSec = 0;

  /**
   * @param pinned false: every flow is forgotten behind each packet
   * @param flows at most so many, closed ones that are still remembered among them
   */
  constructor(workers: number, pinned: boolean, flows: number, seed: number) {
    const flowCapacity = powerOfTwoAtLeast(Math.max(flows, FLOWS_MIN));
    const turns = new Int32Array(new SharedArrayBuffer(PORT_ROWS * 4));
    this.registry = new Registry(turns, seed);
    this.#pinned = pinned;
    this.#files = Array.from({ length: workers }, () => [
      new ArrayBuffer(flowFileBytes(FAMILY.V4, flowCapacity)),
      new ArrayBuffer(flowFileBytes(FAMILY.V6, flowCapacity)),
    ]);
    this.#shared = {
      rings: handOffRings(workers),
      snatPools: [NO_POOL, NO_POOL_V6],
      turns,
      active: new Int32Array(new SharedArrayBuffer(workers * ENDPOINT_ROWS * 4)),
      seed,
      flowCapacity,
      affinity: freshAffinity(),
      penalties: new Int32Array(ENDPOINT_ROWS),
      random: new Random(seed),
    };
  }

  /** Milliseconds on the data plane's clock. */
  static clockOf(ms: number): number {
    return EPOCH_MS + ms;
  }

  /** Gives all workers a table; the first one starts them. */
  publish(table: SharedArrayBuffer, ms: number): void {
    this.#files.forEach((_, worker) => {
      const running = this.#workers.at(worker);
      if (running === undefined) this.#workers[worker] = this.#start(worker, table, ms);
      else running.publish(table);
    });
  }

  /**
   * Takes a packet through the pipeline.
   * @param client address of the connection's client as a number, and its port: whose packet it is
   * @returns frames that came out
   */
  send(frame: Uint8Array, client: number, port: number, ms: number): Uint8Array[] {
    const worker = this.#workers[workerOf(client, port, this.#workers.length)];
    worker.nowMs = Balancer.clockOf(ms);
    const sent = worker.send(frame);
    if (!this.#pinned) forgetFlows(worker, Number.POSITIVE_INFINITY);
    return sent;
  }

  /** When a kept SYN has waited long enough; Infinity when none waits. */
  get nextDueMs(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const { cx } of this.#workers) {
      if (cx.retry.nextDueMs < Number.MAX_SAFE_INTEGER) due = Math.min(due, cx.retry.nextDueMs);
    }
    return due - EPOCH_MS;
  }

  /** A turn without packets, for SYNs whose endpoint has let its time pass. @returns frames that came out */
  wake(ms: number): Uint8Array[] {
    return this.#workers.flatMap((worker) => {
      worker.nowMs = Balancer.clockOf(ms);
      return worker.send();
    });
  }

  /** Forgets what has expired by now. To be called before anything else happens at a time. */
  reap(ms: number): void {
    const nowSec = Math.floor(Balancer.clockOf(ms) / 1000);
    if (nowSec === this.#reapedSec) return;
    this.#reapedSec = nowSec;
    for (const worker of this.#workers) forgetFlows(worker, nowSec);
  }

  /**
   * The workers are gone, as by kill -9, and others take their places: flows are in the mapped files, kept SYNs are lost. All
   * of them at once, so that it is the same for any number.
   * @param table the current one
   */
  killWorkers(table: SharedArrayBuffer, ms: number): void {
    this.#files.forEach((_, worker) => {
      this.#workers[worker] = this.#start(worker, table, ms);
    });
  }

  #start(worker: number, table: SharedArrayBuffer, ms: number): InMemoryDataplane {
    return new InMemoryDataplane({
      ...this.#shared,
      table,
      flowFiles: this.#files[worker],
      share: { worker, workers: this.#files.length },
      nowMs: Balancer.clockOf(ms),
    });
  }
}

function forgetFlows({ cx }: InMemoryDataplane, nowSec: number): void {
  for (const flows of cx.flows) flows.reap(nowSec, flows.sweepCount, flows.sweepCount);
}

/** As the workers of a TUN device have it. */
const workerOf = (client: number, port: number, workers: number): number =>
  ownerOf(shardOf(stirWords(Int32Array.of(word(client)), 0, 1), half(port)), workers);

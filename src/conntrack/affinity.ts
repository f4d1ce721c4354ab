/**
 * ClientIP session affinity: which endpoint a client was given last, for every Service port that asks for it. One
 * table for all workers, in a mapped file, because two connections of one client may belong to two workers; a lock is
 * held around recalling, choosing and remembering, which happens for the first packet of a flow only.
 *
 *   lock, pad to a cache line | entries of ENTRY.SIZE words, open addressing with a short window
 *
 * A client that finds its window full takes the place of the one not seen for longest. Times are ticks of 64 ms, which
 * fit 31 bits for four years.
 */
import { assert, isPowerOfTwo } from '../shared/assert.js';
import { finish, mix } from '../shared/hash.js';
import { ADDRESS_WORDS_MAX } from '../wire/family.js';

const LOCK = 0;
const ENTRIES_AT = 16;
const ENTRY = {
  /** Row of the Service port + 1; 0: empty. */ ROW: 0,
  ADDRESS: 1,
  ENDPOINT: 5,
  SEEN: 6,
  SIZE: 8,
} as const;

/** Slots looked at for one client. */
const WINDOW = 16;
/** A holder of the lock that was killed must not stop the others: about a millisecond of trying. */
const LOCK_TRIES_MAX = 100_000;
const TICK_MS = 64;

/** No endpoint is remembered. */
export const NO_AFFINITY = 0;

export const affinityBytes = (capacity: number): number => (ENTRIES_AT + capacity * ENTRY.SIZE) * 4;

export class AffinityTable {
  private readonly words: Int32Array;
  private readonly mask: number;
  private readonly seed: number;
  /** Where `recall` looked last: `remember` follows it, under the same lock. */
  private place = 0;

  /** @param memory `affinityBytes(capacity)` bytes that all workers share @param capacity clients; a power of two */
  constructor(memory: ArrayBufferLike, capacity: number) {
    assert(
      isPowerOfTwo(capacity) && memory.byteLength === affinityBytes(capacity),
      'the memory fits the capacity',
    );
    this.words = new Int32Array(memory);
    this.mask = capacity - 1;
    this.seed = 0x61666669;
  }

  lock(): void {
    for (let tries = LOCK_TRIES_MAX; tries > 0; tries--) {
      if (Atomics.compareExchange(this.words, LOCK, 0, 1) === 0) return;
    }
  }

  unlock(): void {
    Atomics.store(this.words, LOCK, 0);
  }

  /**
   * @param row of the Service port
   * @param client words of its address at `at`, `count` of them
   * @param timeoutSec seconds since the client's last new connection after which it is free again
   * @returns the id of its endpoint, or NO_AFFINITY
   */
  recall(
    row: number,
    client: Int32Array,
    at: number,
    count: number,
    nowMs: number,
    timeoutSec: number,
  ): number {
    const { words } = this;
    const now = ticks(nowMs);
    let hash = mix(this.seed, row);
    for (let i = 0; i < count; i++) hash = mix(hash, client[at + i]);
    hash = finish(hash);
    let oldest = -1;
    for (let i = 0; i < WINDOW; i++) {
      const entry = ENTRIES_AT + ((hash + i) & this.mask) * ENTRY.SIZE;
      if (words[entry] === row + 1 && isClient(words, entry + ENTRY.ADDRESS, client, at, count)) {
        this.place = entry;
        const age = now - words[entry + ENTRY.SEEN];
        // xt_recent's --rcheck --seconds: seen that long ago still counts.
        return age >= 0 && age * TICK_MS <= timeoutSec * 1000 ? words[entry + ENTRY.ENDPOINT] : NO_AFFINITY;
      }
      if (words[entry] === 0) {
        this.place = entry;
        return NO_AFFINITY;
      }
      if (oldest === -1 || words[entry + ENTRY.SEEN] < words[oldest + ENTRY.SEEN]) oldest = entry;
    }
    this.place = oldest;
    return NO_AFFINITY;
  }

  /** Notes the endpoint that the client of the last `recall` has been given, and when. */
  remember(
    row: number,
    client: Int32Array,
    at: number,
    count: number,
    endpoint: number,
    nowMs: number,
  ): void {
    const { words, place } = this;
    words[place] = row + 1;
    for (let i = 0; i < ADDRESS_WORDS_MAX; i++)
      words[place + ENTRY.ADDRESS + i] = i < count ? client[at + i] : 0;
    words[place + ENTRY.ENDPOINT] = endpoint;
    words[place + ENTRY.SEEN] = ticks(nowMs);
  }
}

const ticks = (ms: number): number => Math.floor(ms / TICK_MS);

function isClient(words: Int32Array, entry: number, client: Int32Array, at: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (words[entry + i] !== client[at + i]) return false;
  return true;
}

/**
 * Packets on their way from one worker to another: what the kernel brought to a queue whose worker does not own it. A ring
 * of shared memory between every two workers, one writer and one reader each, so there is no lock.
 *
 *   ring   HEAD | pad | TAIL | pad | [length and hops, words of the frame] ...   positions are words, HEAD = TAIL: empty
 *
 * A packet is handed over HOPS_MAX times at most, whatever tables and hashes say, so none goes round for ever.
 *
 * HEAD and TAIL are moved once a batch. What a worker that is killed has not published yet is lost, as in a device's queue;
 * the one that replaces it goes on at both marks. A ring that is full refuses: a named drop.
 */
import type { Share } from '../conntrack/owner.js';
import { assert } from '../shared/assert.js';
import { FRAME_AT, SLOT_BYTES, SLOTS, type Slab, type Slot } from './packet.js';

/** To where its fragments meet, and to its flow; or to the client that it may be from, and to the one that it may be for. */
export const HOPS_MAX = 2;

const HEAD = 0;
const TAIL = 16; // a cache line of its own: the two sides do not disturb each other
const DATA = 32;
/** Three packets of 64 KiB, or some thousand short ones. */
const RING_WORDS = 1 << 16;
const DATA_WORDS = RING_WORDS - DATA;

const SLOT_WORDS = SLOT_BYTES / 4;
/** Of the word before a frame: its length below, the hops left above. */
const HOPS_SHIFT = 20;
const LENGTH_MASK = (1 << HOPS_SHIFT) - 1;

/** A frame begins in the middle of a word: copied from the word that holds its first byte. */
const FRAME_WORD = FRAME_AT >> 2;

assert(SLOT_BYTES % 4 === 0, 'slots begin on words');
assert(SLOT_WORDS < DATA_WORDS, 'the longest packet fits a ring');

/** Memory of the rings between `workers` workers. */
export const handOffRings = (workers: number): Int32Array =>
  new Int32Array(new SharedArrayBuffer(workers * (workers - 1) * RING_WORDS * Int32Array.BYTES_PER_ELEMENT));

/** One worker's ends of the rings. */
export class HandOff {
  readonly share: Share;
  private readonly rings: Int32Array;
  private readonly wake: (worker: number) => void;
  /** By other worker: where the next frame to it goes; published by `flush`. */
  private readonly heads: Int32Array;
  /** The worker whose ring is emptied first next time. */
  private first = 0;

  /** @param rings `handOffRings` of all workers @param wake ends another worker's sleep */
  constructor(share: Share, rings: Int32Array, wake: (worker: number) => void) {
    this.share = share;
    this.rings = rings;
    this.wake = wake;
    this.heads = new Int32Array(share.workers);
    for (let to = 0; to < share.workers; to++) {
      if (to !== share.worker) this.heads[to] = rings[this.ringOf(share.worker, to) + HEAD];
    }
  }

  /** Copies the frame in `slot` for worker `to`. @returns false when there is no room */
  give(slab: Slab, slot: Slot, to: number, hopsLeft: number): boolean {
    const { rings } = this;
    const ring = this.ringOf(this.share.worker, to);
    const length = slab.lengths[slot];
    const words = frameWords(length);
    let at = this.heads[to];
    const used = at - Atomics.load(rings, ring + TAIL);
    if ((used < 0 ? used + DATA_WORDS : used) + words + 1 >= DATA_WORDS) return false;
    rings[ring + DATA + at] = length | (hopsLeft << HOPS_SHIFT);
    const from = slot * SLOT_WORDS + FRAME_WORD;
    for (let i = 0; i < words; i++) {
      at = next(at);
      rings[ring + DATA + at] = slab.words[from + i];
    }
    this.heads[to] = next(at);
    return true;
  }

  /** Publishes what was given, and wakes who was given something. */
  flush(): void {
    const { rings, share, heads } = this;
    for (let to = 0; to < share.workers; to++) {
      if (to === share.worker) continue;
      const ring = this.ringOf(share.worker, to);
      if (rings[ring + HEAD] === heads[to]) continue;
      Atomics.store(rings, ring + HEAD, heads[to]);
      this.wake(to);
    }
  }

  /** Fills slots from 0 on with the frames that wait here, and their hops. @returns how many */
  take(slab: Slab, hopsLeft: Int32Array): number {
    const { worker, workers } = this.share;
    let count = 0;
    for (let i = 0; i < workers && count < SLOTS; i++) {
      const from = (this.first + i) % workers;
      if (from !== worker) count = this.takeFrom(from, slab, hopsLeft, count);
    }
    this.first = (this.first + 1) % workers;
    return count;
  }

  /** @param count slots in use @returns slots in use now */
  private takeFrom(worker: number, slab: Slab, hopsLeft: Int32Array, count: number): number {
    const { rings } = this;
    const ring = this.ringOf(worker, this.share.worker);
    const head = Atomics.load(rings, ring + HEAD);
    let at = rings[ring + TAIL];
    if (at === head) return count;
    let slot = count;
    for (; at !== head && slot < SLOTS; slot++) {
      const length = rings[ring + DATA + at] & LENGTH_MASK;
      hopsLeft[slot] = rings[ring + DATA + at] >>> HOPS_SHIFT;
      const words = frameWords(length);
      const to = slot * SLOT_WORDS + FRAME_WORD;
      for (let i = 0; i < words; i++) {
        at = next(at);
        slab.words[to + i] = rings[ring + DATA + at];
      }
      at = next(at);
      slab.lengths[slot] = length;
    }
    Atomics.store(rings, ring + TAIL, at);
    return slot;
  }

  private ringOf(from: number, to: number): number {
    return (from * (this.share.workers - 1) + (to < from ? to : to - 1)) * RING_WORDS;
  }
}

const next = (at: number): number => (at + 1 === DATA_WORDS ? 0 : at + 1);

/** Words from the one that holds a frame's first byte to the one that holds its last. */
const frameWords = (length: number): number => ((FRAME_AT + length + 3) >> 2) - FRAME_WORD;

/**
 * The flow table of one family: records in a mapped file, found through an index in this thread's own memory.
 *
 *   file    header (one page) | entry 0 | entry 1 | ...            survives `kill -9` of the process
 *   index   [hash, reference] pairs, open addressing, half full    rebuilt from the file on attach
 *   free    stack of entries that held a flow and hold none now    rebuilt likewise
 *
 * A flow has two references, one for each tuple, so that a packet of either direction is found with one probe of
 * the index and one record: two cache misses. Only the records are kept in the file; because everything else
 * is derived from them, an interrupted change cannot leave the two apart. A record is complete before its LIVE
 * bit is set and has lost it before it is free, so what a reader sees LIVE is whole.
 *
 * One writer: the worker that owns the shard. Deleting shifts later index slots back (no tombstones), so
 * lookups do not get slower with age; probes are bounded and a full neighbourhood refuses the insert.
 */
import { assert, isPowerOfTwo } from '../shared/assert.js';
import { finish, mix } from '../shared/hash.js';
import { ADDRESS_WORDS, FAMILY, TUPLE_WORDS } from '../wire/family.js';
import { ENTRY, ENTRY_WORDS, STATUS } from './entry.js';

/** An entry's number times two plus the direction of the tuple that was found. */
export type FlowRef = number & { readonly brand?: 'flow' };
export const NO_FLOW: FlowRef = -1;

export const FLOW_FILE = {
  MAGIC: 0,
  VERSION: 1,
  ENTRY_BYTES: 2,
  CAPACITY: 3,
  /** Entries from this one on have never held a flow: nobody looks at them, and they take no memory. */
  USED: 4,
  /** Length of the header; entries begin on a page of their own. */
  BYTES: 4096,
} as const;
const MAGIC = 0x70696e73; // "pins"
const VERSION = 3;

/** No lookup and no insert looks at more index slots: at half load the longest run is far below. */
export const PROBES_MAX = 128;

/** Bytes of a record, by family. */
export const entryBytes = (family: number): number => ENTRY_WORDS[family] * 4;

/** The bytes of a file for `capacity` flows. */
export const flowFileBytes = (family: number, capacity: number): number =>
  FLOW_FILE.BYTES + capacity * entryBytes(family);

/** Words of a slot of the index. */
export const INDEX = { HASH: 0, REFERENCE: 1, SIZE: 2 } as const;

/**
 * The hash of the tuple at `at`. Word by word, because a loop in the loop of whoever asks costs more than it saves (see hits.ts).
 * Who has an IPv6 network for himself can find addresses with equal hashes, whatever the seed, some hundred of each; then flows near
 * theirs are refused, and PROBES_MAX bounds what a lookup costs.
 * @param seed drawn at start, so that otherwise nobody can aim at one slot
 */
export const hashTuple = (
  seed: number,
  words: Int32Array,
  at: number,
  family: number,
  protocol: number,
): number => {
  let hash = mix(mix(mix(seed ^ protocol, words[at]), words[at + 1]), words[at + 2]);
  if (family !== FAMILY.V4) {
    hash = mix(mix(mix(hash, words[at + 3]), words[at + 4]), words[at + 5]);
    hash = mix(mix(mix(hash, words[at + 6]), words[at + 7]), words[at + 8]);
  }
  return finish(hash);
};

/** Why bytes cannot be taken over as a flow table. */
export class FlowFileError extends Error {
  override readonly name = 'FlowFileError';
}

export interface FlowTableOptions {
  readonly family: number;
  /** Entries; a power of two. */
  readonly capacity: number;
  /** Of the tuple hash. */
  readonly seed: number;
  /** Flows of every endpoint id, counted up and down as they come and go: see ActiveFlows. */
  readonly active: Int32Array;
}

export class FlowTable {
  readonly family: number;
  readonly addressWords: number;
  readonly tupleWords: number;
  readonly entryWords: number;
  readonly entries: Int32Array;
  /** The same records as 64-bit floats: entry word / 2. */
  readonly floats: Float64Array;
  readonly capacity: number;
  readonly seed: number;
  /** Slots of INDEX, and the number of the last; a reference of 0: empty. For whoever probes for many tuples at once (hits.ts). */
  readonly index: Int32Array;
  readonly indexMask: number;
  private readonly active: Int32Array;
  private readonly free: Int32Array;
  private readonly header: Int32Array;
  private freeCount = 0;
  /** As FLOW_FILE.USED. */
  private used: number;
  private sweepAt = 0;

  /**
   * Takes over the flows in `file`, or lays out a fresh table when it is all zeros.
   * @param file `flowFileBytes(family, capacity)` bytes
   * @throws FlowFileError when the file was laid out by something else
   */
  constructor(file: ArrayBufferLike, { family, capacity, seed, active }: FlowTableOptions) {
    assert(isPowerOfTwo(capacity), 'the capacity is a power of two');
    assert(file.byteLength === flowFileBytes(family, capacity), 'the file fits the capacity');
    this.header = new Int32Array(file, 0, FLOW_FILE.BYTES / 4);
    adoptHeader(this.header, family, capacity);
    this.family = family;
    this.addressWords = ADDRESS_WORDS[family];
    this.tupleWords = TUPLE_WORDS[family];
    this.entryWords = ENTRY_WORDS[family];
    this.entries = new Int32Array(file, FLOW_FILE.BYTES);
    this.floats = new Float64Array(file, FLOW_FILE.BYTES);
    this.capacity = capacity;
    this.seed = seed | 0;
    this.active = active;
    this.index = new Int32Array(capacity * 4 * INDEX.SIZE); // two references a flow, half full
    this.indexMask = capacity * 4 - 1;
    this.free = new Int32Array(capacity);
    this.used = usedOf(this.header, capacity);
    this.rebuild();
  }

  /** Flows in the table. */
  get count(): number {
    return this.used - this.freeCount;
  }

  /** Word offset of the entry of a flow. */
  entryOf(flow: FlowRef): number {
    return (flow >> 1) * this.entryWords;
  }

  /** Word offset of a tuple of the entry at `at`. */
  tupleOf(at: number, direction: number): number {
    return at + ENTRY.ORIGINAL + direction * this.tupleWords;
  }

  /** @returns the flow that has the tuple at `at` of `words` in either direction, or NO_FLOW */
  find(words: Int32Array, at: number, protocol: number): FlowRef {
    return this.findHashed(this.hash(words, at, protocol), words, at, protocol);
  }

  /** `find`, when the tuple's hash is known. */
  findHashed(hash: number, words: Int32Array, at: number, protocol: number): FlowRef {
    const { index, entries, tupleWords, entryWords } = this;
    const mask = this.indexMask;
    for (let slot = hash & mask, probes = PROBES_MAX; probes > 0; slot = (slot + 1) & mask, probes--) {
      const reference = index[slot * INDEX.SIZE + INDEX.REFERENCE];
      if (reference === 0) return NO_FLOW;
      if (index[slot * INDEX.SIZE + INDEX.HASH] !== hash) continue;
      const flow = reference - 1;
      const entry = (flow >> 1) * entryWords;
      const tuple = entry + ENTRY.ORIGINAL + (flow & 1) * tupleWords;
      let i = 0;
      while (i < tupleWords && entries[tuple + i] === words[at + i]) i++;
      if (i === tupleWords && (entries[entry] & STATUS.PROTOCOL_MASK) === protocol) return flow;
    }
    return NO_FLOW;
  }

  /** The hash of the tuple at `at` of `words`. */
  hash(words: Int32Array, at: number, protocol: number): number {
    return hashTuple(this.seed, words, at, this.family, protocol);
  }

  /**
   * A free entry for the caller to fill in (everything but STATUS), then to `confirm`. Not yet a flow.
   * @returns the word offset of the entry in `entries`, or -1 when the table is full
   */
  allocate(): number {
    if (this.freeCount > 0) return this.free[this.freeCount - 1] * this.entryWords;
    return this.used < this.capacity ? this.used * this.entryWords : -1;
  }

  /**
   * Makes the entry that `allocate` answered last a flow: both tuples can be found from now on.
   * @param status flags and protocol; LIVE is added
   * @param original hash of its original tuple
   * @param reply hash of its reply tuple
   * @returns its reference in the original direction, or NO_FLOW when the index has no room near a tuple's hash
   */
  confirm(at: number, status: number, original: number, reply: number): FlowRef {
    const number = at / this.entryWords;
    const isFirstUse = this.freeCount === 0;
    assert(
      number === (isFirstUse ? this.used : this.free[this.freeCount - 1]),
      'the entry is the one that was allocated last',
    );
    if (isFirstUse) this.header[FLOW_FILE.USED] = number + 1; // before it is LIVE
    this.entries[at] = status | STATUS.LIVE;
    if (!this.insertBoth(number, original, reply)) {
      this.entries[at] = 0;
      return NO_FLOW;
    }
    if (isFirstUse) this.used++;
    else this.freeCount--;
    this.active[this.entries[at + ENTRY.ENDPOINT]]++;
    return number * 2;
  }

  /** Forgets a flow. @param flow either of its references */
  remove(flow: FlowRef): void {
    const number = flow >> 1;
    const at = number * this.entryWords;
    this.unindex(number * 2);
    this.unindex(number * 2 + 1);
    this.entries[at] = 0;
    this.free[this.freeCount++] = number;
    this.active[this.entries[at + ENTRY.ENDPOINT]]--;
  }

  /**
   * Looks at the next `count` entries, in a circle, and forgets those that have expired. At most once round.
   * @param nowSec second on the clock that EXPIRES is measured with
   * @param most flows to forget: each takes as long as a hundred looks
   * @returns how many flows were forgotten
   */
  reap(nowSec: number, count: number, most: number): number {
    let reaped = 0;
    for (let left = Math.min(count, this.used); left > 0 && reaped < most; left--) {
      const at = this.sweepAt * this.entryWords;
      if ((this.entries[at] & STATUS.LIVE) !== 0 && this.entries[at + ENTRY.EXPIRES] <= nowSec) {
        this.remove(this.sweepAt * 2);
        reaped++;
      }
      this.advance();
    }
    return reaped;
  }

  /**
   * Makes room: looks at the next `count` entries, in the same circle as `reap`, for a flow that is not ASSURED or has
   * expired, and forgets the first one.
   * @returns how many entries were looked at
   */
  evict(nowSec: number, count: number): number {
    const most = Math.min(count, this.used);
    for (let looked = 1; looked <= most; looked++) {
      const number = this.sweepAt;
      const at = number * this.entryWords;
      const status = this.entries[at];
      this.advance();
      if ((status & STATUS.LIVE) === 0) continue;
      if ((status & STATUS.ASSURED) !== 0 && this.entries[at + ENTRY.EXPIRES] > nowSec) continue;
      this.remove(number * 2);
      return looked;
    }
    return most;
  }

  private advance(): void {
    this.sweepAt = this.sweepAt + 1 >= this.used ? 0 : this.sweepAt + 1;
  }

  /** Entries that have held a flow: a sweep goes over these. */
  get sweepCount(): number {
    return this.used;
  }

  private hashOf(flow: FlowRef): number {
    const at = this.entryOf(flow);
    const protocol = this.entries[at] & STATUS.PROTOCOL_MASK;
    return hashTuple(this.seed, this.entries, this.tupleOf(at, flow & 1), this.family, protocol);
  }

  private insertBoth(number: number, original: number, reply: number): boolean {
    if (!this.insert(number * 2, original)) return false;
    if (this.insert(number * 2 + 1, reply)) return true;
    this.unindex(number * 2);
    return false;
  }

  private insert(flow: FlowRef, hash: number): boolean {
    const { index, indexMask: mask } = this;
    for (let slot = hash & mask, probes = PROBES_MAX; probes > 0; slot = (slot + 1) & mask, probes--) {
      if (index[slot * INDEX.SIZE + INDEX.REFERENCE] !== 0) continue;
      index[slot * INDEX.SIZE + INDEX.HASH] = hash;
      index[slot * INDEX.SIZE + INDEX.REFERENCE] = flow + 1;
      return true;
    }
    return false;
  }

  /** Takes a reference out of the index and closes the gap, so that no probe stops early at it. */
  private unindex(flow: FlowRef): void {
    const { index, indexMask: mask } = this;
    let gap = this.hashOf(flow) & mask;
    while (index[gap * INDEX.SIZE + INDEX.REFERENCE] !== flow + 1) gap = (gap + 1) & mask;
    for (
      let slot = (gap + 1) & mask;
      index[slot * INDEX.SIZE + INDEX.REFERENCE] !== 0;
      slot = (slot + 1) & mask
    ) {
      const home = index[slot * INDEX.SIZE + INDEX.HASH] & mask;
      // It may fill the gap if its home lies at or before the gap, going round.
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      index[gap * INDEX.SIZE + INDEX.HASH] = index[slot * INDEX.SIZE + INDEX.HASH];
      index[gap * INDEX.SIZE + INDEX.REFERENCE] = index[slot * INDEX.SIZE + INDEX.REFERENCE];
      gap = slot;
    }
    index[gap * INDEX.SIZE + INDEX.REFERENCE] = 0;
  }

  private rebuild(): void {
    for (let number = this.used - 1; number >= 0; number--) {
      const at = number * this.entryWords;
      const known = this.entries[at + ENTRY.ENDPOINT] >>> 0 < this.active.length;
      const live = known && (this.entries[at] & STATUS.LIVE) !== 0;
      // Two records of one tuple cannot be: the process that wrote them looked before it inserted. A second
      // one is damage, and is forgotten rather than found by chance.
      if (
        live &&
        this.isNew(at) &&
        this.insertBoth(number, this.hashOf(number * 2), this.hashOf(number * 2 + 1))
      ) {
        this.active[this.entries[at + ENTRY.ENDPOINT]]++;
        continue;
      }
      this.entries[at] = 0;
      this.free[this.freeCount++] = number;
    }
  }

  private isNew(at: number): boolean {
    const protocol = this.entries[at] & STATUS.PROTOCOL_MASK;
    return (
      this.find(this.entries, this.tupleOf(at, 0), protocol) === NO_FLOW &&
      this.find(this.entries, this.tupleOf(at, 1), protocol) === NO_FLOW
    );
  }
}

/**
 * @param header the first FLOW_FILE.BYTES of a file, as words
 * @returns why it is no flow table of this family and layout, or null when it is one
 */
export function flowFileProblem(header: Int32Array, family: number): string | null {
  if (header[FLOW_FILE.MAGIC] !== MAGIC) return 'not a flow table';
  if (header[FLOW_FILE.VERSION] !== VERSION || header[FLOW_FILE.ENTRY_BYTES] !== entryBytes(family)) {
    return `flow table of another layout (version ${header[FLOW_FILE.VERSION]})`;
  }
  return null;
}

/** Entries that may hold a flow. A number that cannot be is damage: then every entry is looked at. */
export function usedOf(header: Int32Array, capacity: number): number {
  const used = header[FLOW_FILE.USED];
  return used >= 0 && used <= capacity ? used : capacity;
}

/** All zeros are laid out; what was laid out before has to fit. */
function adoptHeader(header: Int32Array, family: number, capacity: number): void {
  if (isUnused(header)) {
    layOut(header, family, capacity);
    return;
  }
  const problem = flowFileProblem(header, family);
  if (problem !== null) throw new FlowFileError(problem);
  const found = header[FLOW_FILE.CAPACITY];
  if (found !== capacity) throw new FlowFileError(`flow table for ${found} flows, not ${capacity}`);
}

/** All zeros: a file that its maker had no time to lay out. */
export const isUnused = (header: Int32Array): boolean => header.every((value) => value === 0);

/** Makes all zeros the header of an empty table. */
export function layOut(header: Int32Array, family: number, capacity: number): void {
  header[FLOW_FILE.VERSION] = VERSION;
  header[FLOW_FILE.ENTRY_BYTES] = entryBytes(family);
  header[FLOW_FILE.CAPACITY] = capacity;
  header[FLOW_FILE.MAGIC] = MAGIC; // last: a header without it is not believed
}

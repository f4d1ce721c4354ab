/**
 * The flow table: records of ENTRY_BYTES in a mapped file, found through an index in this thread's own memory.
 *
 *   file    header (one page) | entry 0 | entry 1 | ...            survives `kill -9` of the process
 *   index   [hash, reference] pairs, open addressing, half full    rebuilt from the file on attach
 *   free    stack of entries that hold no flow                     rebuilt likewise
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
import { ENTRY, ENTRY_BYTES, STATUS, TUPLE, tupleAt } from './entry.js';

/** An entry's number times two plus the direction of the tuple that was found. */
export type FlowRef = number & { readonly brand?: 'flow' };
export const NO_FLOW: FlowRef = -1;

export const FLOW_FILE = {
  MAGIC: 0,
  VERSION: 1,
  ENTRY_BYTES: 2,
  CAPACITY: 3,
  /** Length of the header; entries begin on a page of their own. */
  BYTES: 4096,
} as const;
const MAGIC = 0x70696e73; // "pins"
const VERSION = 1;

/** No lookup and no insert looks at more index slots: at half load the longest run is far below. */
const PROBES_MAX = 128;

/** The bytes of a file for `capacity` flows. */
export const flowFileBytes = (capacity: number): number => FLOW_FILE.BYTES + capacity * ENTRY_BYTES;

/** The hash of a tuple. @param seed drawn at start, so that nobody can aim at one slot */
export function hashTuple(seed: number, src: number, dst: number, ports: number, protocol: number): number {
  return finish(mix(mix(mix(seed ^ protocol, src), dst), ports));
}

/** Why bytes cannot be taken over as a flow table. */
export class FlowFileError extends Error {
  override readonly name = 'FlowFileError';
}

export class FlowTable {
  readonly entries: Int32Array;
  /** The same records as 64-bit floats: entry word / 2. */
  readonly floats: Float64Array;
  readonly capacity: number;
  readonly seed: number;
  private readonly index: Int32Array;
  private readonly indexMask: number;
  private readonly free: Int32Array;
  private freeCount = 0;
  private sweepAt = 0;

  /**
   * Takes over the flows in `file`, or lays out a fresh table when it is all zeros.
   * @param file `flowFileBytes(capacity)` bytes
   * @param capacity entries; a power of two
   * @param seed of the tuple hash
   * @throws FlowFileError when the file was laid out by something else
   */
  constructor(file: ArrayBufferLike, capacity: number, seed: number) {
    assert(isPowerOfTwo(capacity), 'the capacity is a power of two');
    assert(file.byteLength === flowFileBytes(capacity), 'the file fits the capacity');
    adoptHeader(new Int32Array(file, 0, FLOW_FILE.BYTES / 4), capacity);
    this.entries = new Int32Array(file, FLOW_FILE.BYTES);
    this.floats = new Float64Array(file, FLOW_FILE.BYTES);
    this.capacity = capacity;
    this.seed = seed | 0;
    this.index = new Int32Array(capacity * 4 * 2); // two references a flow, half full, two words each
    this.indexMask = capacity * 4 - 1;
    this.free = new Int32Array(capacity);
    this.rebuild();
  }

  /** Flows in the table. */
  get count(): number {
    return this.capacity - this.freeCount;
  }

  /** @returns the flow that has this tuple in either direction, or NO_FLOW */
  find(src: number, dst: number, ports: number, protocol: number): FlowRef {
    const hash = hashTuple(this.seed, src, dst, ports, protocol);
    const index = this.index;
    const entries = this.entries;
    const mask = this.indexMask;
    for (let slot = hash & mask, probes = PROBES_MAX; probes > 0; slot = (slot + 1) & mask, probes--) {
      const reference = index[slot * 2 + 1];
      if (reference === 0) return NO_FLOW;
      if (index[slot * 2] !== hash) continue;
      const flow = reference - 1;
      const at = (flow >> 1) * ENTRY.WORDS;
      const tuple = tupleAt(at, flow & 1);
      if (
        entries[tuple] === src &&
        entries[tuple + TUPLE.DST] === dst &&
        entries[tuple + TUPLE.PORTS] === ports &&
        (entries[at] & STATUS.PROTOCOL_MASK) === protocol
      ) {
        return flow;
      }
    }
    return NO_FLOW;
  }

  /**
   * A free entry for the caller to fill in (everything but STATUS), then to `confirm`. Not yet a flow.
   * @returns the word offset of the entry in `entries`, or -1 when the table is full
   */
  allocate(): number {
    if (this.freeCount === 0) return -1;
    return this.free[this.freeCount - 1] * ENTRY.WORDS;
  }

  /**
   * Makes the entry that `allocate` answered last a flow: both tuples can be found from now on.
   * @param status flags and protocol; LIVE is added
   * @returns its reference in the original direction, or NO_FLOW when the index has no room near a tuple's hash
   */
  confirm(at: number, status: number): FlowRef {
    const number = at / ENTRY.WORDS;
    assert(number === this.free[this.freeCount - 1], 'the entry is the one that was allocated last');
    this.entries[at] = status | STATUS.LIVE;
    if (!this.insertBoth(number)) {
      this.entries[at] = 0;
      return NO_FLOW;
    }
    this.freeCount--;
    return number * 2;
  }

  /** Forgets a flow. @param flow either of its references */
  remove(flow: FlowRef): void {
    const number = flow >> 1;
    this.unindex(number * 2);
    this.unindex(number * 2 + 1);
    this.entries[number * ENTRY.WORDS] = 0;
    this.free[this.freeCount++] = number;
  }

  /**
   * Looks at the next `count` entries, in a circle, and forgets those that have expired.
   * @param nowSec second on the clock that EXPIRES is measured with
   * @returns how many flows were forgotten
   */
  reap(nowSec: number, count: number): number {
    let reaped = 0;
    for (let left = count; left > 0; left--) {
      const at = this.sweepAt * ENTRY.WORDS;
      if ((this.entries[at] & STATUS.LIVE) !== 0 && this.entries[at + ENTRY.EXPIRES] <= nowSec) {
        this.remove(this.sweepAt * 2);
        reaped++;
      }
      this.sweepAt = (this.sweepAt + 1) & (this.capacity - 1);
    }
    return reaped;
  }

  private hashOf(flow: FlowRef): number {
    const at = (flow >> 1) * ENTRY.WORDS;
    const tuple = tupleAt(at, flow & 1);
    const protocol = this.entries[at] & STATUS.PROTOCOL_MASK;
    const { entries } = this;
    return hashTuple(
      this.seed,
      entries[tuple],
      entries[tuple + TUPLE.DST],
      entries[tuple + TUPLE.PORTS],
      protocol,
    );
  }

  private insertBoth(number: number): boolean {
    if (!this.insert(number * 2)) return false;
    if (this.insert(number * 2 + 1)) return true;
    this.unindex(number * 2);
    return false;
  }

  private insert(flow: FlowRef): boolean {
    const hash = this.hashOf(flow);
    for (
      let slot = hash & this.indexMask, probes = PROBES_MAX;
      probes > 0;
      slot = (slot + 1) & this.indexMask, probes--
    ) {
      if (this.index[slot * 2 + 1] !== 0) continue;
      this.index[slot * 2] = hash;
      this.index[slot * 2 + 1] = flow + 1;
      return true;
    }
    return false;
  }

  /** Takes a reference out of the index and closes the gap, so that no probe stops early at it. */
  private unindex(flow: FlowRef): void {
    const index = this.index;
    const mask = this.indexMask;
    let gap = this.hashOf(flow) & mask;
    while (index[gap * 2 + 1] !== flow + 1) gap = (gap + 1) & mask;
    for (let slot = (gap + 1) & mask; index[slot * 2 + 1] !== 0; slot = (slot + 1) & mask) {
      const home = index[slot * 2] & mask;
      // It may fill the gap if its home lies at or before the gap, going round.
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      index[gap * 2] = index[slot * 2];
      index[gap * 2 + 1] = index[slot * 2 + 1];
      gap = slot;
    }
    index[gap * 2 + 1] = 0;
  }

  private rebuild(): void {
    for (let number = this.capacity - 1; number >= 0; number--) {
      const at = number * ENTRY.WORDS;
      const live = (this.entries[at] & STATUS.LIVE) !== 0;
      // Two records of one tuple cannot be: the process that wrote them looked before it inserted. A second
      // one is damage, and is forgotten rather than found by chance.
      if (live && this.isNew(number) && this.insertBoth(number)) continue;
      this.entries[at] = 0;
      this.free[this.freeCount++] = number;
    }
  }

  private isNew(number: number): boolean {
    const at = number * ENTRY.WORDS;
    const protocol = this.entries[at] & STATUS.PROTOCOL_MASK;
    for (const tuple of [tupleAt(at, 0), tupleAt(at, 1)]) {
      const [src, dst, ports] = this.entries.subarray(tuple, tuple + TUPLE.WORDS);
      if (this.find(src!, dst!, ports!, protocol) !== NO_FLOW) return false;
    }
    return true;
  }
}

/**
 * @param header the first FLOW_FILE.BYTES of a file, as words
 * @returns why it cannot be taken over, or null when it can, or is all zeros and can be laid out
 */
export function flowFileProblem(header: Int32Array, capacity: number): string | null {
  if (header.every((value) => value === 0)) return null;
  if (header[FLOW_FILE.MAGIC] !== MAGIC) return 'not a flow table';
  if (header[FLOW_FILE.VERSION] !== VERSION || header[FLOW_FILE.ENTRY_BYTES] !== ENTRY_BYTES) {
    return `flow table of another layout (version ${header[FLOW_FILE.VERSION]})`;
  }
  if (header[FLOW_FILE.CAPACITY] === capacity) return null;
  return `flow table for ${header[FLOW_FILE.CAPACITY]} flows, not ${capacity}`;
}

function adoptHeader(header: Int32Array, capacity: number): void {
  const problem = flowFileProblem(header, capacity);
  if (problem !== null) throw new FlowFileError(problem);
  header[FLOW_FILE.VERSION] = VERSION;
  header[FLOW_FILE.ENTRY_BYTES] = ENTRY_BYTES;
  header[FLOW_FILE.CAPACITY] = capacity;
  header[FLOW_FILE.MAGIC] = MAGIC; // last: a header without it is not believed
}

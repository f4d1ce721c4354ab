/**
 * The compiled service table as a worker reads it: `ServiceTable.from(bytes)`, then lookups that answer offsets into
 * `words`. Read-only; many threads may look at the same bytes.
 */
import { bucketOf, slotOf } from './displace.js';
import { hashFrontend } from './hash-frontend.js';
import {
  ENDPOINT,
  ENDPOINT_STATE,
  FRONTEND,
  HEADER,
  PLACE,
  PREFIX,
  TABLE_MAGIC,
  TABLE_VERSION,
} from './layout.js';

export const NO_FRONTEND = -1;

/** The bytes are not a service table of this version. */
export class TableFormatError extends Error {
  override readonly name = 'TableFormatError';
}

export class ServiceTable {
  /** The whole table; offsets answered below index into it. */
  readonly words: Int32Array;
  /** Bits of TABLE_FLAG. */
  readonly flags: number;
  readonly frontendCount: number;
  readonly endpointCount: number;
  /** What becomes of flows to each endpoint id: see ENDPOINT_STATE. */
  readonly states: Int32Array;
  private readonly placeMask: number;
  private readonly placesAt: number;
  private readonly frontendsAt: number;
  private readonly bucketMask: number;
  private readonly displacements: Uint8Array;
  private readonly probesMax: number;
  private readonly cascadeAt: number;

  private constructor(words: Int32Array) {
    this.words = words;
    this.flags = words[HEADER.FLAGS];
    this.frontendCount = words[HEADER.FRONTEND_COUNT];
    this.endpointCount = words[HEADER.ENDPOINT_COUNT];
    this.placeMask = words[HEADER.PLACE_MASK];
    this.placesAt = words[HEADER.PLACES_AT];
    this.frontendsAt = words[HEADER.FRONTENDS_AT];
    this.bucketMask = words[HEADER.BUCKET_MASK];
    const displacements = words[HEADER.DISPLACEMENTS_AT] * Int32Array.BYTES_PER_ELEMENT;
    this.displacements = new Uint8Array(words.buffer, displacements, this.bucketMask + 1);
    this.probesMax = words[HEADER.PROBES_MAX];
    const states = words[HEADER.STATES_AT];
    this.states = words.subarray(states, states + words[HEADER.STATE_COUNT]);
    this.cascadeAt = words[HEADER.CASCADE_AT];
  }

  /**
   * Opens the bytes that `TableBuilder.finish` made, in this or another thread.
   * @throws TableFormatError on a wrong magic, version or length
   */
  static from(bytes: ArrayBufferLike): ServiceTable {
    if (bytes.byteLength % 4 !== 0 || bytes.byteLength < HEADER.SIZE * 4) {
      throw new TableFormatError(`a service table cannot be ${bytes.byteLength} bytes long`);
    }
    const words = new Int32Array(bytes);
    if (words[HEADER.MAGIC] !== TABLE_MAGIC) throw new TableFormatError('not a service table (magic)');
    if (words[HEADER.VERSION] !== TABLE_VERSION) {
      throw new TableFormatError(`service table version ${words[HEADER.VERSION]}, this is ${TABLE_VERSION}`);
    }
    if (words[HEADER.WORDS] !== words.length) {
      throw new TableFormatError(`service table of ${words[HEADER.WORDS]} words in ${words.length}`);
    }
    return new ServiceTable(words);
  }

  /**
   * Looks up `count` address words that stand at `at` of another array.
   * @param key `frontendKey(...)`, `wholeAddressKey(...)`, or with `count` 0 `nodePortKey(...)`
   * @returns the offset of the FRONTEND record, or NO_FRONTEND
   */
  find(address: Int32Array, at: number, count: number, key: number): number {
    const words = this.words;
    const hash = hashFrontend(address, at, count, key);
    const displacement = this.displacements[bucketOf(hash, this.bucketMask)];
    let slot = slotOf(hash, displacement, this.placeMask);
    for (let probes = this.probesMax; probes > 0; probes--) {
      const place = this.placesAt + slot * PLACE.SIZE;
      const found = words[place];
      if (found === 0) return NO_FRONTEND;
      if (found === key && hasAddress(words, place, address, at, count))
        return this.frontendsAt + slot * FRONTEND.SIZE;
      slot = (slot + 1) & this.placeMask;
    }
    return NO_FRONTEND;
  }

  /**
   * Whether an address is in one of the prefixes of a list.
   * @param list offset of the pair (first prefix, how many)
   */
  inPrefixes(list: number, address: Int32Array, at: number, count: number, family: number): boolean {
    const words = this.words;
    let prefix = words[list];
    for (let left = words[list + 1]; left > 0; left--, prefix += PREFIX.SIZE) {
      if (words[prefix + PREFIX.FAMILY] !== family) continue;
      let i = 0;
      while (i < count && (address[at + i] & words[prefix + PREFIX.MASK + i]) === words[prefix + i]) i++;
      if (i === count) return true;
    }
    return false;
  }

  /** Whether two addresses are in one and the same prefix of a list; parameters as for `inPrefixes`. */
  inOnePrefix(
    list: number,
    a: Int32Array,
    aAt: number,
    b: Int32Array,
    bAt: number,
    count: number,
    family: number,
  ): boolean {
    const words = this.words;
    let prefix = words[list];
    for (let left = words[list + 1]; left > 0; left--, prefix += PREFIX.SIZE) {
      if (words[prefix + PREFIX.FAMILY] !== family) continue;
      let i = 0;
      for (; i < count; i++) {
        const mask = words[prefix + PREFIX.MASK + i];
        if ((a[aAt + i] & mask) !== words[prefix + i] || (b[bAt + i] & mask) !== words[prefix + i]) break;
      }
      if (i === count) return true;
    }
    return false;
  }

  /** @param set offset of the pair (first endpoint, how many) @returns offset of the ENDPOINT record number `index` */
  endpointAt(set: number, index: number): number {
    return this.words[set] + index * ENDPOINT.SIZE;
  }

  /** The state of an endpoint id; of one that the table knows nothing of, GONE. */
  stateOf(id: number): number {
    return id < this.states.length ? this.states[id] : ENDPOINT_STATE.GONE;
  }

  /** @param remaining endpoints still to go, 2 or more @returns see `cascadeThreshold` in layout.ts */
  cascadeThreshold(remaining: number): number {
    return this.words[this.cascadeAt + remaining];
  }
}

/** Whether the place is of this address; a NodePort, looked up without one, is. */
function hasAddress(
  words: Int32Array,
  place: number,
  address: Int32Array,
  at: number,
  count: number,
): boolean {
  const own = words[place + PLACE.ADDRESS];
  if (count <= 1) return count === 0 || own === address[at];
  return sameWords(words, own, address, at, count);
}

function sameWords(a: Int32Array, at: number, b: Int32Array, bt: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (a[at + i] !== b[bt + i]) return false;
  return true;
}

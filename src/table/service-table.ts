/**
 * The compiled service table as a worker reads it: `ServiceTable.from(bytes)`, then lookups that answer offsets.
 * Read-only; many threads may look at the same bytes.
 */
import { hashFrontend } from './hash-frontend.js';
import { ENDPOINT, FRONTEND, HEADER, TABLE_MAGIC, TABLE_VERSION } from './layout.js';

export const NO_FRONTEND = -1;

/** The bytes are not a service table of this version. */
export class TableFormatError extends Error {
  override readonly name = 'TableFormatError';
}

export class ServiceTable {
  /** The whole table; offsets answered below index into it. */
  readonly words: Int32Array;
  readonly frontendCount: number;
  readonly endpointCount: number;
  private readonly frontendMask: number;
  private readonly frontendsAt: number;
  private readonly endpointsAt: number;
  private readonly cascadeAt: number;
  private readonly probesMax: number;

  private constructor(words: Int32Array) {
    this.words = words;
    this.frontendCount = words[HEADER.FRONTEND_COUNT];
    this.endpointCount = words[HEADER.ENDPOINT_COUNT];
    this.frontendMask = words[HEADER.FRONTEND_MASK];
    this.frontendsAt = words[HEADER.FRONTENDS_AT];
    this.endpointsAt = words[HEADER.ENDPOINTS_AT];
    this.cascadeAt = words[HEADER.CASCADE_AT];
    this.probesMax = words[HEADER.PROBES_MAX];
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
   * @param address destination address as a word
   * @param key `frontendKey(portHalf, protocol)` or `WHOLE_ADDRESS`
   * @returns the offset of the FRONTEND record in `words`, or NO_FRONTEND
   */
  find(address: number, key: number): number {
    const words = this.words;
    let slot = hashFrontend(address, key) & this.frontendMask;
    for (let probes = this.probesMax; probes > 0; probes--) {
      const at = this.frontendsAt + slot * FRONTEND.SIZE;
      const found = words[at + FRONTEND.KEY];
      if (found === key && words[at] === address) return at;
      if (found === 0) return NO_FRONTEND;
      slot = (slot + 1) & this.frontendMask;
    }
    return NO_FRONTEND;
  }

  /** @param frontend an offset that `find` answered @returns how many endpoints it has */
  endpointsOf(frontend: number): number {
    return this.words[frontend + FRONTEND.ENDPOINT_COUNT];
  }

  /** @returns the offset of the ENDPOINT record number `index` (from 0) of a frontend */
  endpointAt(frontend: number, index: number): number {
    return this.endpointsAt + (this.words[frontend + FRONTEND.ENDPOINT_FIRST] + index) * ENDPOINT.SIZE;
  }

  /** @param remaining endpoints still to go, 2 or more @returns see `cascadeThreshold` in layout.ts */
  cascadeThreshold(remaining: number): number {
    return this.words[this.cascadeAt + remaining];
  }
}

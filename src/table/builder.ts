/**
 * The only writer of service table bytes: `add` every frontend, then `finish`. Pure: the same frontends in the
 * same order give the same bytes.
 */
import { assert, powerOfTwoAtLeast } from '../shared/assert.js';
import { hashFrontend } from './hash-frontend.js';
import {
  cascadeThreshold,
  ENDPOINT,
  FRONTEND,
  frontendKey,
  HEADER,
  TABLE_MAGIC,
  TABLE_VERSION,
  WHOLE_ADDRESS,
} from './layout.js';

export interface TableEndpoint {
  /** Address as a word, port as a half. */
  readonly address: number;
  readonly port: number;
  /** Row of its counters. */
  readonly id: number;
}

export class TableBuilder {
  private readonly keys: number[] = []; // address, key, first endpoint, endpoint count
  private readonly endpoints: number[] = []; // address, port, id
  private readonly seen = new Set<string>();
  private endpointsLongest = 0;

  /**
   * @param address the frontend's address as a word
   * @param port its port as a half
   * @param protocol IP protocol number
   * @param endpoints in the order in which the cascade tries them; none: connections are rejected
   * @throws Error when the frontend was added before: the model has settled conflicts by then
   */
  add(address: number, port: number, protocol: number, endpoints: readonly TableEndpoint[]): void {
    assert(port > 0 && port <= 0xffff && protocol > 0 && protocol <= 0xff, 'port and protocol are in range');
    const known = this.addKey(address, frontendKey(port, protocol), this.endpointCount, endpoints.length);
    assert(!known, 'a frontend is added once');
    this.addKey(address, WHOLE_ADDRESS, 0, 0);
    for (const { address, port, id } of endpoints) this.endpoints.push(address, port, id);
    this.endpointsLongest = Math.max(this.endpointsLongest, endpoints.length);
  }

  /** @returns the table's bytes, in memory that threads can share */
  finish(): SharedArrayBuffer {
    const keyCount = this.keys.length / FRONTEND.SIZE;
    const slots = powerOfTwoAtLeast(Math.max(2, keyCount * 2)); // half full at most: short probes
    const frontendsAt = HEADER.SIZE;
    const endpointsAt = frontendsAt + slots * FRONTEND.SIZE;
    const cascadeAt = endpointsAt + this.endpointCount * ENDPOINT.SIZE;
    const wordCount = cascadeAt + this.endpointsLongest + 1;

    const words = new Int32Array(new SharedArrayBuffer(wordCount * Int32Array.BYTES_PER_ELEMENT));
    words[HEADER.MAGIC] = TABLE_MAGIC;
    words[HEADER.VERSION] = TABLE_VERSION;
    words[HEADER.WORDS] = wordCount;
    words[HEADER.FRONTEND_MASK] = slots - 1;
    words[HEADER.FRONTENDS_AT] = frontendsAt;
    words[HEADER.FRONTEND_COUNT] = keyCount;
    words[HEADER.ENDPOINTS_AT] = endpointsAt;
    words[HEADER.ENDPOINT_COUNT] = this.endpointCount;
    words[HEADER.CASCADE_AT] = cascadeAt;
    words[HEADER.PROBES_MAX] = this.placeFrontends(words.subarray(frontendsAt, endpointsAt), slots - 1);
    this.placeEndpoints(words.subarray(endpointsAt, cascadeAt));
    for (let n = 2; n <= this.endpointsLongest; n++) words[cascadeAt + n] = cascadeThreshold(n);
    return words.buffer as SharedArrayBuffer;
  }

  private get endpointCount(): number {
    return this.endpoints.length / 3;
  }

  private addKey(address: number, key: number, first: number, count: number): boolean {
    const identity = `${address} ${key}`;
    if (this.seen.has(identity)) return true;
    this.seen.add(identity);
    this.keys.push(address, key, first, count);
    return false;
  }

  private placeFrontends(frontends: Int32Array, mask: number): number {
    let probesMax = 0;
    for (let from = 0; from < this.keys.length; from += FRONTEND.SIZE) {
      const address = this.keys[from];
      const key = this.keys[from + FRONTEND.KEY];
      let slot = hashFrontend(address, key) & mask;
      let probes = 1;
      while (frontends[slot * FRONTEND.SIZE + FRONTEND.KEY] !== 0) {
        slot = (slot + 1) & mask;
        probes++;
      }
      probesMax = Math.max(probesMax, probes);
      for (let i = 0; i < FRONTEND.SIZE; i++) frontends[slot * FRONTEND.SIZE + i] = this.keys[from + i];
    }
    return probesMax;
  }

  private placeEndpoints(records: Int32Array): void {
    for (let from = 0, at = 0; from < this.endpoints.length; from += 3, at += ENDPOINT.SIZE) {
      records[at + ENDPOINT.ADDRESS] = this.endpoints[from];
      records[at + ENDPOINT.PORT] = this.endpoints[from + 1];
      records[at + ENDPOINT.ID] = this.endpoints[from + 2];
    }
  }
}

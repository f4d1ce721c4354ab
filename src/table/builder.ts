/**
 * The only writer of service table bytes: add addresses, Service ports and their frontends, then `finish`. Pure: the
 * same calls in the same order give the same bytes.
 */
import { assert, powerOfTwoAtLeast } from '../shared/assert.js';
import { ADDRESS_WORDS, ADDRESS_WORDS_MAX, FAMILY } from '../wire/family.js';
import { displace } from './displace.js';
import { hashFrontend } from './hash-frontend.js';
import {
  ADDRESS_FLAG,
  cascadeThreshold,
  ENDPOINT,
  ENDPOINT_FLAG,
  FRONTEND,
  frontendKey,
  HEADER,
  MAGLEV_SIZE,
  nodePortKey,
  PLACE,
  PORT,
  PREFIX,
  TABLE_MAGIC,
  TABLE_VERSION,
  wholeAddressKey,
} from './layout.js';
import { backendName, maglevTable } from './maglev.js';
import { NO_FRONTEND, ServiceTable } from './service-table.js';

export interface TableEndpoint {
  /** Address in words. */
  readonly address: readonly number[];
  /** Port as a half. */
  readonly port: number;
  /** Counter row. */
  readonly id: number;
  readonly weight: number;
}

export interface TablePrefix {
  readonly family: number;
  /** In words, host bits cleared. */
  readonly network: readonly number[];
  readonly mask: readonly number[];
}

export interface TablePort {
  readonly family: number;
  readonly protocol: number;
  /** Bits of PORT_FLAG. */
  readonly flags: number;
  /** ALGORITHM. */
  readonly algorithm: number;
  /** For policy Cluster and policy Local, in the order in which they are tried. */
  readonly cluster: readonly TableEndpoint[];
  readonly local: readonly TableEndpoint[];
  readonly ranges: readonly TablePrefix[];
  readonly affinitySec: number;
  readonly row: number;
  /** Whether the sets get Maglev lookup tables. */
  readonly maglev: boolean;
}

/** Words that grow at their end; a section's offsets become offsets into the table when its start is known. */
class Section {
  length = 0;
  private memory = new Int32Array(1024);

  /** Room for `count` more words, all zero. @returns the offset of the first */
  grow(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.memory.length) {
      const larger = new Int32Array(powerOfTwoAtLeast(this.length));
      larger.set(this.memory);
      this.memory = larger;
    }
    return at;
  }

  get words(): Int32Array {
    return this.memory.subarray(0, this.length);
  }

  set(at: number, values: readonly number[]): void {
    for (let i = 0; i < values.length; i++) this.memory[at + i] = values[i] as number;
  }
}

export class TableBuilder {
  private readonly flags: number;
  private readonly frontends: { key: number; address: readonly number[]; kind: number; port: number }[] = [];
  private readonly seen = new Map<string, number>();
  private readonly ports = new Section();
  private readonly endpoints = new Section();
  private readonly prefixes = new Section();
  private readonly maglevs: Uint32Array[] = [];
  private endpointsLongest = 0;
  private podPrefixes: readonly [number, number] = [0, 0];
  private servicePrefixes: readonly [number, number] = [0, 0];
  private linkPrefixes: readonly [number, number] = [0, 0];

  /** @param flags bits of TABLE_FLAG */
  constructor(flags: number) {
    this.flags = flags;
  }

  /** Prefixes of pods, of ClusterIPs, and of links whose hosts answer each other directly. */
  setPrefixes(
    pods: readonly TablePrefix[],
    services: readonly TablePrefix[],
    links: readonly TablePrefix[],
  ): void {
    this.podPrefixes = this.addPrefixes(pods);
    this.servicePrefixes = this.addPrefixes(services);
    this.linkPrefixes = this.addPrefixes(links);
  }

  /** Adds bits of ADDRESS_FLAG to what is known of an address. */
  addAddress(family: number, address: readonly number[], flags: number): void {
    const at = this.addKey(wholeAddressKey(family), address, flags, 0);
    this.frontends[at].kind |= flags;
  }

  /** @returns a handle for `addFrontend` */
  addPort(port: TablePort): number {
    const cluster = this.addEndpoints(port.cluster);
    const local = this.addEndpoints(port.local);
    const ranges = this.addPrefixes(port.ranges);
    const maglev = port.maglev ? [this.addMaglev(port.cluster), this.addMaglev(port.local)] : [0, 0];
    const at = this.ports.grow(PORT.SIZE);
    this.ports.set(at, [
      port.flags,
      port.algorithm,
      ...cluster,
      ...local,
      ...ranges,
      port.affinitySec,
      port.row,
      ...maglev,
    ]);
    return at;
  }

  /**
   * @param kind FRONTEND_KIND
   * @param address in words; empty for a NodePort
   * @param portHalf port as a half
   * @param port handle from `addPort`
   * @throws Error when the frontend was added before: the plan has settled conflicts by then
   */
  addFrontend(
    kind: number,
    family: number,
    address: readonly number[],
    portHalf: number,
    protocol: number,
    port: number,
  ): void {
    assert(
      portHalf > 0 && portHalf <= 0xffff && protocol > 0 && protocol <= 0xff,
      'port and protocol are in range',
    );
    const key = (address.length === 0 ? nodePortKey : frontendKey)(family, portHalf, protocol);
    const before = this.frontends.length;
    assert(this.addKey(key, address, kind, port) === before, 'a frontend is added once');
  }

  /**
   * @param states ENDPOINT_STATE of every endpoint id from 0
   * @returns the table's bytes, in memory that threads can share
   */
  finish(states: Int32Array): SharedArrayBuffer {
    const slots = powerOfTwoAtLeast(Math.max(4, Math.ceil(this.frontends.length * 1.25)));
    const buckets = slots / 4;
    const placesAt = HEADER.SIZE;
    const frontendsAt = placesAt + slots * PLACE.SIZE;
    const displacementsAt = frontendsAt + slots * FRONTEND.SIZE;
    const addressesAt = displacementsAt + Math.ceil(buckets / Int32Array.BYTES_PER_ELEMENT);
    const isLong = ({ address }: { address: readonly number[] }): boolean => address.length > 1;
    const portsAt = addressesAt + this.frontends.filter(isLong).length * ADDRESS_WORDS_MAX;
    const endpointsAt = portsAt + this.ports.length;
    const prefixesAt = endpointsAt + this.endpoints.length;
    const statesAt = prefixesAt + this.prefixes.length;
    const cascadeAt = statesAt + states.length;
    const maglevsAt = cascadeAt + this.endpointsLongest + 1;
    const wordCount = maglevsAt + this.maglevs.length * MAGLEV_SIZE;

    const words = new Int32Array(new SharedArrayBuffer(wordCount * Int32Array.BYTES_PER_ELEMENT));
    words[HEADER.MAGIC] = TABLE_MAGIC;
    words[HEADER.VERSION] = TABLE_VERSION;
    words[HEADER.WORDS] = wordCount;
    words[HEADER.FLAGS] = this.flags;
    words[HEADER.PLACE_MASK] = slots - 1;
    words[HEADER.PLACES_AT] = placesAt;
    words[HEADER.FRONTENDS_AT] = frontendsAt;
    words[HEADER.FRONTEND_COUNT] = this.frontends.length;
    words[HEADER.ENDPOINT_COUNT] = this.endpoints.length / ENDPOINT.SIZE;
    words[HEADER.STATE_COUNT] = states.length;
    words[HEADER.STATES_AT] = statesAt;
    words[HEADER.CASCADE_AT] = cascadeAt;
    for (const [at, [first, count]] of [
      [HEADER.POD_PREFIXES, this.podPrefixes],
      [HEADER.SERVICE_PREFIXES, this.servicePrefixes],
      [HEADER.LINK_PREFIXES, this.linkPrefixes],
    ] as const) {
      words[at] = prefixesAt + first;
      words[at + 1] = count;
    }
    words[HEADER.BUCKET_MASK] = buckets - 1;
    words[HEADER.DISPLACEMENTS_AT] = displacementsAt;
    const placed = displace(this.hashes(), slots, buckets);
    words[HEADER.PROBES_MAX] = placed.probesMax;
    new Uint8Array(words.buffer).set(placed.displacements, displacementsAt * Int32Array.BYTES_PER_ELEMENT);
    let longAt = addressesAt;
    for (const [i, frontend] of this.frontends.entries()) {
      const { key, address, kind, port } = frontend;
      const place = placesAt + placed.slots[i] * PLACE.SIZE;
      words[place + PLACE.KEY] = key;
      words[place + PLACE.ADDRESS] = isLong(frontend) ? longAt : (address[0] ?? 0);
      const at = frontendsAt + placed.slots[i] * FRONTEND.SIZE;
      words[at + FRONTEND.KIND] = kind;
      words[at + FRONTEND.PORT] = portsAt + port;
      if (!isLong(frontend)) continue;
      words.set(address, longAt);
      longAt += ADDRESS_WORDS_MAX;
    }
    words.set(this.ports.words, portsAt);
    for (let at = portsAt; at < endpointsAt; at += PORT.SIZE) {
      words[at + PORT.CLUSTER] += endpointsAt;
      words[at + PORT.LOCAL] += endpointsAt;
      words[at + PORT.RANGES] += prefixesAt;
      for (const maglev of [at + PORT.MAGLEV, at + PORT.MAGLEV + 1]) {
        if (words[maglev] !== 0) words[maglev] = maglevsAt + (words[maglev] - 1) * MAGLEV_SIZE;
      }
    }
    words.set(this.endpoints.words, endpointsAt);
    words.set(this.prefixes.words, prefixesAt);
    words.set(states, statesAt);
    for (let n = 2; n <= this.endpointsLongest; n++) words[cascadeAt + n] = cascadeThreshold(n);
    for (const [i, table] of this.maglevs.entries()) words.set(table, maglevsAt + i * MAGLEV_SIZE);
    markServices(words, endpointsAt, prefixesAt);
    return words.buffer as SharedArrayBuffer;
  }

  private addKey(key: number, address: readonly number[], kind: number, port: number): number {
    const identity = `${key} ${address.join(' ')}`;
    const known = this.seen.get(identity);
    if (known !== undefined) return known;
    this.seen.set(identity, this.frontends.length);
    return this.frontends.push({ key, address, kind, port }) - 1;
  }

  /** @returns offset of the first in its section, and the count */
  private addEndpoints(endpoints: readonly TableEndpoint[]): [number, number] {
    const first = this.endpoints.grow(endpoints.length * ENDPOINT.SIZE);
    let at = first;
    for (const { address, port, id, weight } of endpoints) {
      this.endpoints.set(at, address);
      const flags = address.length === ADDRESS_WORDS[FAMILY.V6] ? ENDPOINT_FLAG.IPV6 : 0;
      this.endpoints.set(at + ENDPOINT.PORT, [port, id, weight, flags]);
      at += ENDPOINT.SIZE;
    }
    this.endpointsLongest = Math.max(this.endpointsLongest, endpoints.length);
    return [first, endpoints.length];
  }

  private addPrefixes(prefixes: readonly TablePrefix[]): [number, number] {
    const first = this.prefixes.grow(prefixes.length * PREFIX.SIZE);
    let at = first;
    for (const { family, network, mask } of prefixes) {
      this.prefixes.set(at + PREFIX.NETWORK, network);
      this.prefixes.set(at + PREFIX.MASK, mask);
      this.prefixes.set(at + PREFIX.FAMILY, [family]);
      at += PREFIX.SIZE;
    }
    return [first, prefixes.length];
  }

  /** @returns its number from 1; 0 for a set that needs none */
  private addMaglev(endpoints: readonly TableEndpoint[]): number {
    if (endpoints.length < 2) return 0;
    const names = endpoints.map(({ address, port }) => backendName(address, port));
    return this.maglevs.push(
      maglevTable(
        names,
        endpoints.map(({ weight }) => weight),
      ),
    );
  }

  private hashes(): Int32Array {
    return Int32Array.from(this.frontends, ({ address, key }) =>
      hashFrontend(Int32Array.from(address), 0, address.length, key),
    );
  }
}

/** Finds the endpoints from `at` to `end` of a finished table that are Services themselves, once here and not for every flow. */
function markServices(words: Int32Array, at: number, end: number): void {
  const table = ServiceTable.from(words.buffer);
  for (let endpoint = at; endpoint < end; endpoint += ENDPOINT.SIZE) {
    const flags = endpoint + ENDPOINT.FLAGS;
    const family = (words[flags] & ENDPOINT_FLAG.IPV6) === 0 ? FAMILY.V4 : FAMILY.V6;
    const address = endpoint + ENDPOINT.ADDRESS;
    const found = table.find(words, address, ADDRESS_WORDS[family], wholeAddressKey(family));
    if (found === NO_FRONTEND) continue;
    if (words[found + FRONTEND.KIND] & ADDRESS_FLAG.REJECT_UNSERVED) words[flags] |= ENDPOINT_FLAG.IS_SERVICE;
  }
}

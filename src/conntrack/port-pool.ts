/**
 * The SNAT pool of one family: the addresses that masqueraded flows come from, and the choice of a source for a flow.
 *
 * A source is good when no flow has it towards the same endpoint: what nf_nat calls a unique tuple, since only then
 * does a reply tell its flow. The flow table itself is the record of what is in use. And its shard has to be the client's,
 * so that replies come to the worker that has the flow; where that shard's ports are taken, another of this worker's will do.
 */
import type { Random } from '../shared/random.js';
import { half, portsWord } from '../wire/byte-order.js';
import { ADDRESS_WORDS, TUPLE_WORDS } from '../wire/family.js';
import { type FlowTable, NO_FLOW } from './flow-table.js';
import { ownerOf, portOfShard, type Share, shardOf, stirWords } from './owner.js';

/** Ports that SNAT draws from: the unprivileged ones (nf_nat_core.c keeps a source port of 1024 and up there). */
export const SNAT_PORT_FIRST = 1024;
const SNAT_PORT_COUNT = 65536 - SNAT_PORT_FIRST;

/** Draws before a pool counts as exhausted: with 9 of 10 places taken, all miss once in 10^6 flows. */
const DRAWS_MAX = 128;

/** A SNAT pool in words: usable addresses one behind the other, first address and mask of the whole. */
export interface PoolWords {
  readonly addresses: Int32Array;
  readonly network: Int32Array;
  readonly mask: Int32Array;
}

export class PortPool {
  /** The reply tuple that is being made: its source (the endpoint) is the caller's to set, the rest is found. Then its hash. */
  readonly reply: Int32Array;
  private readonly addressWords: number;
  private readonly addresses: Int32Array;
  private readonly addressCount: number;
  private readonly network: Int32Array;
  private readonly mask: Int32Array;
  private readonly share: Share;

  /** @param share the shards whose flows draw here */
  constructor(family: number, { addresses, network, mask }: PoolWords, share: Share) {
    this.reply = new Int32Array(TUPLE_WORDS[family] + 1);
    this.addressWords = ADDRESS_WORDS[family];
    this.addresses = addresses;
    this.addressCount = addresses.length / this.addressWords;
    this.network = network;
    this.mask = mask;
    this.share = share;
  }

  /** Whether the address at `at` lies in the pool: a packet to it that has no flow belongs to nobody. */
  contains(words: Int32Array, at: number): boolean {
    let i = 0;
    while (i < this.addressWords && (words[at + i] & this.mask[i]) === this.network[i]) i++;
    return i === this.addressWords;
  }

  /**
   * Masquerade: completes `reply` with an address of the pool and a random port, drawn for every flow as with iptables'
   * --random-fully.
   * @param shard the client's
   * @param endpointPort as a half
   * @returns false when the pool is exhausted for this endpoint
   */
  draw(flows: FlowTable, random: Random, shard: number, endpointPort: number, protocol: number): boolean {
    if (this.addressCount === 0) return false;
    for (let draws = DRAWS_MAX; draws > 0; draws--) {
      this.takeAddress(this.addresses, random.below(this.addressCount) * this.addressWords);
      if (this.drawInShard(flows, random, shard, endpointPort, protocol)) return true;
    }
    for (let draws = DRAWS_MAX; draws > 0; draws--) {
      this.takeAddress(this.addresses, random.below(this.addressCount) * this.addressWords);
      if (this.drawOfWorker(flows, random, endpointPort, protocol)) return true;
    }
    return false;
  }

  /**
   * No masquerade: completes `reply` with the client's own address and port. Two flows of one client port through two
   * frontends can meet at one endpoint; then the port is drawn, the address stays (nf_nat does the same).
   * @param words where the client's address stands, at `at`
   * @param port the client's port as a half
   * @param shard the client's
   */
  keep(
    flows: FlowTable,
    random: Random,
    shard: number,
    words: Int32Array,
    at: number,
    port: number,
    endpointPort: number,
    protocol: number,
  ): boolean {
    this.takeAddress(words, at);
    if (this.isFree(flows, endpointPort, port, protocol)) return true;
    for (let draws = DRAWS_MAX; draws > 0; draws--) {
      if (this.drawInShard(flows, random, shard, endpointPort, protocol)) return true;
    }
    for (let draws = DRAWS_MAX; draws > 0; draws--) {
      if (this.drawOfWorker(flows, random, endpointPort, protocol)) return true;
    }
    return false;
  }

  private takeAddress(words: Int32Array, at: number): void {
    const { reply, addressWords } = this;
    for (let i = 0; i < addressWords; i++) reply[addressWords + i] = words[at + i];
  }

  /** One of the 252 unprivileged ports that put the address in `reply` into the shard. */
  private drawInShard(
    flows: FlowTable,
    random: Random,
    shard: number,
    endpointPort: number,
    protocol: number,
  ): boolean {
    const address = stirWords(this.reply, this.addressWords, this.addressWords);
    const port = portOfShard(address, shard, random.below(256));
    return half(port) >= SNAT_PORT_FIRST && this.isFree(flows, endpointPort, port, protocol);
  }

  /** Any unprivileged port, if it puts the address in `reply` into a shard of this worker. */
  private drawOfWorker(flows: FlowTable, random: Random, endpointPort: number, protocol: number): boolean {
    const { worker, workers } = this.share;
    const address = stirWords(this.reply, this.addressWords, this.addressWords);
    const port = half(SNAT_PORT_FIRST + random.below(SNAT_PORT_COUNT));
    return (
      ownerOf(shardOf(address, port), workers) === worker && this.isFree(flows, endpointPort, port, protocol)
    );
  }

  private isFree(flows: FlowTable, endpointPort: number, port: number, protocol: number): boolean {
    const { reply } = this;
    reply[2 * this.addressWords] = portsWord(endpointPort, port);
    const hash = flows.hash(reply, 0, protocol);
    reply[flows.tupleWords] = hash;
    return flows.findHashed(hash, reply, 0, protocol) === NO_FLOW;
  }
}

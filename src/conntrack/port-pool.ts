/**
 * The SNAT pool: the addresses that masqueraded flows come from, and the choice of a source for a new flow.
 *
 * Ports are drawn at random for every flow, as with iptables' `--random-fully` (kube-proxy's default), and a
 * drawn (address, port) is taken only if no flow has it towards the same endpoint: what nf_nat calls unique, since
 * only then does a reply tell its flow. The flow table itself is the record of what is in use.
 */
import type { Random } from '../shared/random.js';
import { half, portsWord } from '../wire/byte-order.js';
import { type FlowTable, NO_FLOW } from './flow-table.js';

/** Ports that SNAT draws from: the unprivileged ones (nf_nat_core.c keeps a source port of 1024 and up there). */
export const SNAT_PORT_FIRST = 1024;
const SNAT_PORT_COUNT = 65536 - SNAT_PORT_FIRST;

/** Draws before a pool counts as exhausted: with 9 of 10 places taken, all miss once in 10^6 flows. */
const DRAWS_MAX = 128;

export class PortPool {
  /** The source that `draw` found: a word and a half. */
  address = 0;
  port = 0;
  private readonly addresses: Int32Array;
  private readonly network: number;
  private readonly mask: number;

  /**
   * @param addresses usable addresses as words
   * @param network first address of the whole pool, used or not, as a word
   * @param mask its prefix as a word
   */
  constructor(addresses: Int32Array, network: number, mask: number) {
    this.addresses = addresses;
    this.network = network;
    this.mask = mask;
  }

  /** Whether an address (word) lies in the pool: a packet to it that has no flow belongs to nobody. */
  contains(address: number): boolean {
    return (address & this.mask) === this.network;
  }

  /**
   * Finds a source for a flow to an endpoint; `address` and `port` hold it when the answer is true.
   * @param endpoint address of the endpoint as a word @param endpointPort its port as a half
   * @returns false when the pool is exhausted for this endpoint
   */
  draw(flows: FlowTable, random: Random, endpoint: number, endpointPort: number, protocol: number): boolean {
    for (let draws = DRAWS_MAX; draws > 0; draws--) {
      const address = this.addresses[random.below(this.addresses.length)];
      const port = half(SNAT_PORT_FIRST + random.below(SNAT_PORT_COUNT));
      if (flows.find(endpoint, address, portsWord(endpointPort, port), protocol) !== NO_FLOW) continue;
      this.address = address;
      this.port = port;
      return true;
    }
    return false;
  }
}

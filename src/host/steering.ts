/**
 * Tells the kernel which packet goes to which worker's queue. Where it lets nobody load programs (without CAP_BPF, in a user
 * namespace), it has a way of its own: a queue that a flow was written to gets the flow's packets (drivers/net/tun.c,
 * tun_flow_update), so after the first packets, which are handed over, they come to their owner all the same.
 */
import {
  addToSet,
  closeDescriptor,
  createSet,
  errnoName,
  removeFromSet,
  steerQueues,
} from '../../native-bindings/index.js';
import type { PlannedPort } from '../control/compile/plan.js';
import { addressesOf } from '../control/model/service-port.js';
import { addressWords } from '../wire/address.js';
import { KEY_WORDS, steeringProgram } from './steering-program.js';

/** Service addresses that the kernel is told; packets to others are handed over. */
const ADDRESSES_MAX = 1 << 17;

/** The addresses whose packets belong to their source: those of Services, and of this node if it has NodePorts. */
export function steeredAddresses(ports: readonly PlannedPort[], nodeIPs: readonly string[]): Set<string> {
  const addresses = new Set<string>();
  for (const { servicePort } of ports) {
    for (const address of addressesOf(servicePort)) addresses.add(address);
    if (servicePort.nodePort > 0) for (const address of nodeIPs) addresses.add(address);
  }
  return addresses;
}

export class Steering {
  /** Why the kernel would not, or null. */
  readonly problem: string | null;
  private readonly set: number;
  private readonly known = new Set<string>();

  /** @param queue descriptor of any queue of the device @param workers how many it has */
  constructor(queue: number, workers: number) {
    this.set = workers === 1 ? -1 : createSet(KEY_WORDS * 4, ADDRESSES_MAX);
    const result = this.set < 0 ? this.set : steerQueues(queue, steeringProgram(this.set, workers));
    this.problem = workers === 1 || result >= 0 ? null : errnoName(result);
  }

  /** Tells the kernel of new addresses: before the workers get the table that has them. */
  add(addresses: ReadonlySet<string>): void {
    if (this.set < 0) return;
    for (const address of addresses) {
      if (this.known.has(address)) continue;
      addToSet(this.set, keyOf(address));
      this.known.add(address);
    }
  }

  /** Has the kernel forget all others. */
  removeOthers(addresses: ReadonlySet<string>): void {
    if (this.set < 0) return;
    for (const address of this.known) {
      if (addresses.has(address)) continue;
      removeFromSet(this.set, keyOf(address));
      this.known.delete(address);
    }
  }

  close(): void {
    if (this.set >= 0) closeDescriptor(this.set);
  }
}

function keyOf(address: string): Int32Array {
  const key = new Int32Array(KEY_WORDS);
  key.set(addressWords(address));
  return key;
}

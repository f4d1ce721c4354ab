/**
 * ICMP errors that are addressed to this host itself. NodePorts' replies come from the node's own address, so whoever cannot
 * pass one on tells the node, and no rule can bring that into the device without taking every other ICMP message along (see
 * docs/decisions/0009). So they are copied: the kernel has them first, as always, and a copy goes onto the device like any
 * other packet. A worker translates it if it is about a flow, and drops it if not (never passes it on: the copy that had been
 * delivered would be copied again).
 *
 * They are looked for in intervals, since nobody waits for them: who sent what was too big sends it again.
 */
import {
  closeDescriptor,
  copyIcmpErrors,
  errnoName,
  openIcmpErrors,
  openSender,
} from '../../native-bindings/index.js';

const LOOK_MS = 50;
/** Copied at once, of each family: a flood of errors is cut here, and by the socket's buffer. */
const MOST = 32;

export class IcmpCopies {
  private readonly device: string;
  private readonly descriptors: { version: 4 | 6; from: number }[] = [];
  private to = -1;
  private timer: NodeJS.Timeout | undefined;

  /** @param device name of the TUN device */
  constructor(device: string) {
    this.device = device;
  }

  /** @returns why nothing is copied, or null. A family that the host has not is left out. */
  start(): string | null {
    this.to = openSender();
    if (this.to < 0) return errnoName(this.to);
    for (const version of [4, 6] as const) {
      const from = openIcmpErrors(version);
      if (from >= 0) this.descriptors.push({ version, from });
    }
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.timer.unref();
    return null;
  }

  close(): void {
    clearInterval(this.timer);
    for (const { from } of this.descriptors) closeDescriptor(from);
    if (this.to >= 0) closeDescriptor(this.to);
  }

  /** A copy that cannot be sent is lost, like any packet: the device may be gone for a moment. */
  private look(): void {
    for (const { version, from } of this.descriptors)
      copyIcmpErrors(from, version, this.to, this.device, MOST);
  }
}

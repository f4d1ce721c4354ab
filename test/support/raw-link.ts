/**
 * A link of a router whose other end is the test: whole packets, as frames of test/support/packets.ts, go into the router
 * by `send`, and what the router sends out on the link is `received`. A TUN device without offloads, so that every packet
 * comes as it would go over a wire: checksums complete, no super-packets.
 *
 * What the kernel does with a packet that is sent here it does within the `send`: whatever it forwards to another link
 * can be received there when `send` has returned.
 */
import { closeDescriptor, errnoName, openQueue } from '../../native-bindings/index.js';
import { frameAt, Slab } from '../../src/dataplane/packet.js';
import type { Device } from '../../src/device/device.js';
import { tunDevice } from '../../src/device/tun.js';

const NOBODY_WAKES = -1;

export class RawLink {
  private readonly descriptor: number;
  private readonly slab = new Slab();
  private readonly device: Device;

  /** Makes the device in this process's namespace; it may be moved, and goes with `close`. */
  constructor(name: string) {
    this.descriptor = openQueue(name);
    if (this.descriptor < 0) throw new Error(`cannot make ${name}: ${errnoName(this.descriptor)}`);
    this.device = tunDevice(this.descriptor, NOBODY_WAKES, this.slab);
  }

  send(frame: Uint8Array): void {
    this.slab.bytes.set(frame, frameAt(0));
    this.slab.lengths[0] = frame.length;
    if (this.device.writeBatch(1) !== 1)
      throw new Error(`the kernel refused a frame: ${errnoName(this.slab.lengths[0]!)}`);
  }

  /** What has come since the last time, in order. */
  received(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (;;) {
      const count = this.device.readBatch();
      if (count < 0) throw new Error(`cannot read: ${errnoName(count)}`);
      if (count === 0) return frames;
      for (let slot = 0; slot < count; slot++)
        frames.push(this.slab.bytes.slice(frameAt(slot), frameAt(slot) + this.slab.lengths[slot]!));
    }
  }

  /** Blocks this thread until something has come, `timeoutMs` at most. */
  wait(timeoutMs: number): void {
    this.device.wait(timeoutMs);
  }

  close(): void {
    closeDescriptor(this.descriptor);
  }
}

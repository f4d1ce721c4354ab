/**
 * A device without a kernel: packets are put in and taken out by the program. For tests and for everything that
 * asks the real pipeline a question without a TUN.
 */
import { FRAME_AT, frameAt, SLOT_BYTES, SLOTS, type Slab } from '../dataplane/packet.js';
import type { Device } from './device.js';

export class MemoryDevice implements Device {
  /** Frames (virtio-net header and packet) that came out, in order. */
  readonly sent: Uint8Array[] = [];
  private readonly waiting: Uint8Array[] = [];
  private readonly slab: Slab;

  constructor(slab: Slab) {
    this.slab = slab;
  }

  /** Queues one frame. @throws RangeError when it is longer than a slot */
  put(frame: Uint8Array): void {
    if (frame.length > SLOT_BYTES - FRAME_AT)
      throw new RangeError(`a frame of ${frame.length} bytes fits no slot`);
    this.waiting.push(frame);
  }

  readBatch(): number {
    let slot = 0;
    for (; slot < SLOTS; slot++) {
      const frame = this.waiting.shift();
      if (frame === undefined) break;
      this.slab.bytes.set(frame, frameAt(slot));
      this.slab.lengths[slot] = frame.length;
    }
    return slot;
  }

  writeBatch(count: number): number {
    let written = 0;
    for (let slot = 0; slot < count; slot++) {
      const length = this.slab.lengths[slot];
      if (length <= 0) continue;
      this.sent.push(this.slab.bytes.slice(frameAt(slot), frameAt(slot) + length));
      written++;
    }
    return written;
  }

  wait(): number {
    return this.waiting.length > 0 ? 1 : 0;
  }
}

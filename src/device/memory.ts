/**
 * A device without a kernel: packets are put in and taken out by the program. For tests and for everything that
 * asks the real pipeline a question without a TUN.
 */
import { CHAIN, FRAME_AT, frameAt, SLOT_BYTES, SLOTS, type Slab } from '../dataplane/packet.js';
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
      this.sent.push(this.frameOf(slot, length));
      written++;
    }
    return written;
  }

  /** What is written for a slot: its frame, and the payload of the slots that are chained to it. */
  private frameOf(head: number, length: number): Uint8Array {
    const { bytes, chain } = this.slab;
    const parts = [bytes.slice(frameAt(head), frameAt(head) + length)];
    for (let slot = chain[head * CHAIN.SIZE] - 1; slot >= 0; slot = chain[slot * CHAIN.SIZE] - 1) {
      const from = frameAt(slot) + chain[slot * CHAIN.SIZE + CHAIN.FROM];
      parts.push(bytes.slice(from, from + chain[slot * CHAIN.SIZE + CHAIN.BYTES]));
    }
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  }

  wait(): number {
    return this.waiting.length > 0 ? 1 : 0;
  }
}

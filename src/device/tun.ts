/** One queue of a TUN device as a Device. The descriptor belongs to the caller. */
import { bindSlab, readBatch, waitReadable, writeBatch } from '../../native-bindings/index.js';
import { FRAME_AT, SLOT_BYTES, type Slab } from '../dataplane/packet.js';
import type { Device } from './device.js';

/**
 * @param descriptor a queue from `openQueue`
 * @param wake a descriptor from `openWake` that ends a wait
 * @param slab where its packets go
 */
export function tunDevice(descriptor: number, wake: number, slab: Slab): Device {
  const bound = bindSlab(descriptor, slab.buffer, slab.lengths, slab.chain, SLOT_BYTES, FRAME_AT);
  return {
    readBatch: () => readBatch(bound),
    writeBatch: (count) => writeBatch(bound, count),
    wait: (timeoutMs) => waitReadable(bound, wake, timeoutMs),
  };
}

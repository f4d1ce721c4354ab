/** Step 1: a batch of packets from the device into the slab. */
import type { Device } from '../device/device.js';
import { COUNTER } from '../table/counters.js';
import type { WorkerContext } from './context.js';

/** @returns how many slots hold a packet now, 0 when none waited, or a negative errno */
export function capture(cx: WorkerContext, device: Device): number {
  const count = device.readBatch();
  if (count <= 0) return count;
  const { lengths } = cx.slab;
  let bytes = 0;
  for (let slot = 0; slot < count; slot++) bytes += lengths[slot];
  cx.counters[COUNTER.BATCHES]++;
  cx.counters[COUNTER.RECEIVED] += count;
  cx.counters[COUNTER.RECEIVED_BYTES] += bytes;
  return count;
}

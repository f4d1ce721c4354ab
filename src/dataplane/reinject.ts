/** Step 6: the batch back to the device, and one outcome counted for every packet of it. */
import type { Device } from '../device/device.js';
import { COUNTER } from '../table/counters.js';
import type { WorkerContext } from './context.js';
import { RECORD, recordAt } from './packet.js';
import { DropReason } from './verdict.js';

/** @param count slots of the batch @returns 0, or a negative errno when nothing can be written at all */
export function reinject(cx: WorkerContext, device: Device, count: number): number {
  const written = device.writeBatch(count);
  const { lengths } = cx.slab;
  for (let slot = 0; slot < count; slot++) {
    const refused = lengths[slot] < 0;
    const counter = refused
      ? COUNTER.DROPPED + DropReason.WriteFailed
      : cx.records[recordAt(slot) + RECORD.OUTCOME];
    cx.counters[counter]++;
  }
  return written < 0 ? written : 0;
}

/** Step 6: the batch back to the device, and one outcome counted for every packet of it. */
import type { Device } from '../device/device.js';
import { COUNTER, ENDPOINT_ROW } from '../table/counters.js';
import { settleChains } from './coalesce.js';
import type { WorkerContext } from './context.js';
import { RECORD, recordAt } from './packet.js';
import { DropReason } from './verdict.js';

/** @param count slots of the batch @returns 0, or a negative errno when nothing can be written at all */
export function reinject(cx: WorkerContext, device: Device, count: number): number {
  const written = device.writeBatch(count);
  settleChains(cx);
  const { lengths } = cx.slab;
  for (let slot = 0; slot < count; slot++) {
    const counter = cx.records[recordAt(slot) + RECORD.OUTCOME];
    if (lengths[slot] >= 0) cx.counters[counter]++;
    // What no packet read stands behind has no outcome that could be changed.
    else if (counter !== COUNTER.INJECTED) cx.counters[COUNTER.DROPPED + DropReason.WriteFailed]++;
  }
  countByEndpoint(cx, count);
  return written < 0 ? written : 0;
}

/** All at once and not packet by packet: each row is memory of its own, and many are waited for at the same time. */
function countByEndpoint({ records, counters }: WorkerContext, count: number): void {
  for (let slot = 0; slot < count; slot++) {
    const record = recordAt(slot);
    const noted = records[record + RECORD.ROW];
    if (noted === 0) continue;
    records[record + RECORD.ROW] = 0;
    const row = Math.abs(noted);
    counters[row + ENDPOINT_ROW.PACKETS_ORIGINAL]++;
    counters[row + ENDPOINT_ROW.BYTES_ORIGINAL] += records[record + RECORD.LENGTH];
    if (noted < 0) counters[row + ENDPOINT_ROW.FLOWS_CREATED]++;
  }
}

/** Step 6: the batch back to the device, and one outcome counted for every packet of it. */
import type { Device } from '../device/device.js';
import { COUNTER, ENDPOINT_ROW } from '../table/counters.js';
import { settleChains } from './coalesce.js';
import type { WorkerContext } from './context.js';
import { RECORD, recordAt, slotOf } from './packet.js';
import { DropReason } from './verdict.js';

/** @param count slots of the batch @returns 0, or a negative errno when nothing can be written at all */
export function reinject(cx: WorkerContext, device: Device, count: number): number {
  const written = device.writeBatch(count);
  settleChains(cx);
  cx.tally(count);
  return written < 0 ? written : 0;
}

/**
 * @returns what counts slots 0 to `count` - 1 by their outcome and for their endpoint. All endpoints here and not with their
 *   packets: each row is memory of its own, and many are waited for at the same time.
 */
export function tallyOf(cx: WorkerContext): (count: number) => void {
  const { records, counters } = cx;
  const { lengths } = cx.slab;

  // tidy: made once a worker
  return function tally(count) {
    let forwarded = 0; // one counter, added to for almost every packet, would have each wait for the one before it
    for (let i = 0; i < count; i++) {
      const slot = slotOf(i);
      const record = recordAt(slot);
      const outcome = records[record + RECORD.OUTCOME];
      if (lengths[slot] < 0) {
        // What no packet read stands behind has no outcome that could be changed.
        if (outcome !== COUNTER.INJECTED) counters[COUNTER.DROPPED + DropReason.WriteFailed]++;
      } else if (outcome === COUNTER.FORWARDED) {
        forwarded++;
      } else {
        counters[outcome]++;
      }
      const noted = records[record + RECORD.ROW];
      if (noted === 0) continue;
      records[record + RECORD.ROW] = 0;
      const row = noted < 0 ? -noted : noted;
      counters[row + ENDPOINT_ROW.PACKETS_ORIGINAL]++;
      counters[row + ENDPOINT_ROW.BYTES_ORIGINAL] += records[record + RECORD.LENGTH];
      if (noted < 0) counters[row + ENDPOINT_ROW.FLOWS_CREATED]++;
    }
    counters[COUNTER.FORWARDED] += forwarded;
  };
}

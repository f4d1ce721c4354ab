/**
 * One turn of a worker: what is paid once a batch (clock, table generation, system calls, reaping) around what is paid
 * for each packet (`process`).
 */
import type { Device } from '../device/device.js';
import { COUNTER } from '../table/counters.js';
import { capture } from './capture.js';
import type { WorkerContext } from './context.js';
import { giveUpHeld, nextHeld } from './fragment.js';
import { forward } from './hits.js';
import { SLOTS } from './packet.js';
import { process } from './pipeline.js';
import { reinject } from './reinject.js';
import { retryDue } from './retry.js';

/** The whole flow table is looked over for expired flows once in this time, a slice every turn. */
const SWEEP_MS = 10_000;
/** Entries in one slice at most: about 20 us, so that no packet waits longer for the reaper. */
const SLICE_MAX = 4096;

/**
 * Takes one batch through the pipeline.
 * @param nowMs milliseconds on the monotonic clock
 * @returns how many packets there were, or a negative errno from the device
 */
export function turn(cx: WorkerContext, device: Device, nowMs: number): number {
  cx.nowMs = nowMs;
  cx.nowSec = Math.floor(nowMs / 1000);
  giveUpHeld(cx);
  const count = capture(cx, device);
  forward(cx, count);
  let used = count < 0 ? 0 : retryDue(cx, count);
  // What was held goes the packet's way as if it had come only now, from the free slots behind the batch.
  while (cx.fragments.ready && used < SLOTS && nextHeld(cx, used)) process(cx, used++);
  const failure = used > 0 ? reinject(cx, device, used) : 0;
  reapSlice(cx, nowMs);
  return failure < 0 ? failure : count;
}

function reapSlice(cx: WorkerContext, nowMs: number): void {
  const elapsedMs = nowMs - cx.reapedMs;
  if (elapsedMs < 1) return;
  cx.reapedMs = nowMs;
  for (let family = 0; family < cx.flows.length; family++) {
    const flows = cx.flows[family];
    const due = Math.ceil((elapsedMs * flows.capacity) / SWEEP_MS);
    if (flows.count > 0) cx.counters[COUNTER.FLOWS_REAPED] += flows.reap(cx.nowSec, Math.min(due, SLICE_MAX));
  }
}

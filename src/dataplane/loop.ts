/**
 * One turn of a worker: what is paid once a batch (clock, table generation, system calls, reaping) around what is paid
 * for each packet (`process`).
 */
import type { Device } from '../device/device.js';
import { COUNTER } from '../table/counters.js';
import { capture } from './capture.js';
import { coalesce } from './coalesce.js';
import type { WorkerContext } from './context.js';
import { giveUpHeld, nextHeld } from './fragment.js';
import { HOPS_MAX } from './hand-off.js';
import { SLOTS } from './packet.js';
import { process } from './pipeline.js';
import { reinject } from './reinject.js';
import { retryDue } from './retry.js';

/**
 * The whole flow table is looked over for expired flows once in this time, a slice every turn; faster while many of those
 * looked at have expired, up to PACE_MAX times (the idea is gVisor's: pkg/tcpip/stack/conntrack.go, reapUnused).
 */
const SWEEP_MS = 10_000;
const PACE_MAX = 16;
/** A slice with more than one expired entry in so many doubles the pace of the next, one with fewer halves it. */
const MANY = 4;
/** Entries in one slice at most, about 20 us, and flows forgotten in it, about 100 us: no packet waits longer for the reaper. */
const SLICE_MAX = 4096;
const REAPED_MAX = 256;
/** While there are no packets, so many times as much. */
const IDLE = 16;
/**
 * In a full table new flows may push out others that are not ASSURED (nf_conntrack's early_drop). The search goes on
 * where the last one ended, so that flows that stay are passed by once a round; a batch looks at so many entries at most.
 */
const EVICTION_MAX = SLICE_MAX;

/**
 * Takes what other workers handed over through the pipeline, and one batch from the device.
 * @param nowMs milliseconds on the monotonic clock
 * @returns how many packets there were, or a negative errno from the device
 */
export function turn(cx: WorkerContext, device: Device, nowMs: number): number {
  cx.nowMs = nowMs;
  cx.nowSec = Math.floor(nowMs / 1000);
  cx.evictionsLeft = EVICTION_MAX;
  giveUpHeld(cx);
  const taken = takeOver(cx, device);
  if (taken < 0) return taken;
  cx.hopsLeft.fill(HOPS_MAX); // whatever the batch before, of either kind, has left in it
  const count = capture(cx, device);
  cx.forward(count);
  coalesce(cx, count);
  let used = count < 0 ? 0 : retryDue(cx, count);
  // What was held goes the packet's way as if it had come only now, from the free slots behind the batch.
  while (cx.fragments.ready && used < SLOTS && nextHeld(cx, used)) process(cx, used++);
  const failure = used > 0 ? reinject(cx, device, used) : 0;
  cx.handOff.flush();
  reapSlice(cx, nowMs, taken + count > 0 ? 1 : IDLE);
  if (failure < 0) return failure;
  return count < 0 ? count : taken + count;
}

/** @returns how many packets other workers handed over, or a negative errno from the device */
function takeOver(cx: WorkerContext, device: Device): number {
  const count = cx.handOff.take(cx.slab, cx.hopsLeft);
  if (count === 0) return 0;
  cx.counters[COUNTER.TAKEN_OVER] += count;
  cx.forward(count);
  coalesce(cx, count);
  const failure = reinject(cx, device, count);
  return failure < 0 ? failure : count;
}

/**
 * Whether nothing came but streams that can be joined, and not much of them. If the worker looks away for a moment, more comes
 * together; nobody else is kept waiting who was there already.
 * @param count packets of the last batch, as `turn` answered
 */
export const isStream = ({ coalescer }: WorkerContext, count: number): boolean =>
  count < SLOTS / 2 && coalescer.joined > 0 && coalescer.alone === 0;

function reapSlice(cx: WorkerContext, nowMs: number, times: number): void {
  const elapsedMs = nowMs - cx.reapedMs;
  if (elapsedMs < 1) return;
  cx.reapedMs = nowMs;
  for (let family = 0; family < cx.flows.length; family++) {
    const flows = cx.flows[family];
    if (flows.count === 0) continue;
    const pace = cx.reapPace[family];
    const slice = Math.min(Math.ceil((elapsedMs * flows.sweepCount * pace) / SWEEP_MS), SLICE_MAX * times);
    const most = REAPED_MAX * times;
    const reaped = flows.reap(cx.nowSec, slice, most);
    cx.counters[COUNTER.FLOWS_REAPED] += reaped;
    const isMany = reaped === most || reaped * MANY > slice;
    cx.reapPace[family] = isMany ? Math.min(PACE_MAX, pace * 2) : Math.max(1, pace >> 1);
  }
}

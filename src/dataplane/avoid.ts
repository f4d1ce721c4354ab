/**
 * Which endpoints a choice passes over: those that the connection in hand has tried, and those in the penalty box because
 * a connection failed there a moment ago. Penalties are bounded by time, and by `choose`: when all endpoints are in the
 * box, none is.
 */
import type { WorkerContext } from './context.js';

const TICK_MS = 64;

/** Times of penalties: milliseconds do not fit a word, ticks of 64 ms do for four years. */
export const tickOf = (ms: number): number => Math.floor(ms / TICK_MS);

/** How long an endpoint that failed is avoided. */
export const PENALTY_TICKS = Math.ceil(10_000 / TICK_MS);

/** @param boxed the penalty box counts too */
export function isAvoided(cx: WorkerContext, endpointId: number, boxed: boolean): boolean {
  const { retry } = cx;
  for (let i = 0; i < retry.triedCount; i++) if (retry.tried[i] === endpointId) return true;
  return boxed && retry.penalties[endpointId] > tickOf(cx.nowMs);
}

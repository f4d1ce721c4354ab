/**
 * The clock that flows are aged with: milliseconds of CLOCK_MONOTONIC, which goes on over a restart of the process, so
 * that flows in the mapped file keep their age. Not affected by changes of the wall clock.
 */
const OFFSET_MS = Number(process.hrtime.bigint() / 1000n) / 1000 - performance.now();

/** @returns milliseconds since the machine was started, with a fraction */
export const monotonicMs = (): number => performance.now() + OFFSET_MS;

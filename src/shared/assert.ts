/** Assertions for set-up code and tests: they catch programmers, never packets. */

/**
 * @param message built by the caller only from constants, so that a passing assertion costs one branch
 * @throws Error when `condition` is false
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** True for 1, 2, 4, ...: sizes that are used as masks. */
export const isPowerOfTwo = (value: number): boolean => value > 0 && (value & (value - 1)) === 0;

/** The smallest power of two that is at least `value` (at least 1). */
export function powerOfTwoAtLeast(value: number): number {
  let size = 1;
  while (size < value) size *= 2;
  return size;
}

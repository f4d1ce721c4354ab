/** Runs fast-check properties with a seed that a failure prints and that FLOWPIN_TEST_SEED repeats. */
import fc from 'fast-check';

const isLong = Boolean(process.env['FLOWPIN_LONG']);
/** Runs per property; ten times as many with `scripts/test --long`. */
const RUNS = isLong ? 1000 : 100;
const given = process.env['FLOWPIN_TEST_SEED'];

/** @throws Error with the seed, the path and the shrunk counterexample when the property does not hold */
export function holds<T>(property: fc.IProperty<T>, runs = RUNS): void {
  fc.assert(property, { numRuns: runs, ...(given === undefined ? {} : { seed: Number(given) }) });
}

/** How long a fuzz goes on: FLOWPIN_FUZZ_SECONDS, else five seconds, or two minutes with `scripts/test --long`. */
export const FUZZ_SECONDS = Number(process.env['FLOWPIN_FUZZ_SECONDS'] ?? (isLong ? 120 : 5));
/** For `t.setTimeout`: time to make a counterexample smaller as well. */
export const FUZZ_TIMEOUT_MS = (FUZZ_SECONDS * 2 + 60) * 1000;

/** Runs a property for FUZZ_SECONDS. @throws Error like `holds` */
export function holdsForLong<T>(property: fc.IProperty<T>): void {
  fc.assert(property, {
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: FUZZ_SECONDS * 1000,
    markInterruptAsFailure: false,
    ...(given === undefined ? {} : { seed: Number(given) }),
  });
}

/** Runs fast-check properties with a seed that a failure prints and that FLOWPIN_TEST_SEED repeats. */
import fc from 'fast-check';

/** Runs per property; ten times as many with `scripts/test --long`. */
const RUNS = process.env['FLOWPIN_LONG'] ? 1000 : 100;
const given = process.env['FLOWPIN_TEST_SEED'];

/** @throws Error with the seed, the path and the shrunk counterexample when the property does not hold */
export function holds<T>(property: fc.IProperty<T>, runs = RUNS): void {
  fc.assert(property, { numRuns: runs, ...(given === undefined ? {} : { seed: Number(given) }) });
}

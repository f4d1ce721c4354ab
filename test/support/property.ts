/** Runs fast-check properties with a seed that a failure prints and that FLOWPIN_TEST_SEED repeats. */
import fc from 'fast-check';

/** Runs per property; ten times as many with `scripts/test --long`. */
const RUNS = process.env['FLOWPIN_LONG'] ? 1000 : 100;
const given = process.env['FLOWPIN_TEST_SEED'];

/** @throws Error with the seed, the path and the shrunk counterexample when the property does not hold */
/**
 * Runs a property for a time: FLOWPIN_FUZZ_SECONDS, or `seconds`, or twenty times as long with `scripts/test --long`.
 * @throws Error like `holds`
 */
export async function holdsFor<T>(
  property: fc.IAsyncProperty<T> | fc.IProperty<T>,
  seconds: number,
): Promise<void> {
  const long = process.env['FLOWPIN_LONG'] ? 20 : 1;
  const limit = Number(process.env['FLOWPIN_FUZZ_SECONDS'] ?? seconds * long) * 1000;
  await fc.assert(property, {
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: limit,
    markInterruptAsFailure: false,
    ...(given === undefined ? {} : { seed: Number(given) }),
  });
}

export function holds<T>(property: fc.IProperty<T>, runs = RUNS): void {
  fc.assert(property, { numRuns: runs, ...(given === undefined ? {} : { seed: Number(given) }) });
}

/** One fact of a data file, and how a fact is compared. */
import { isDeepStrictEqual } from 'node:util';

export interface Check {
  /** Unique enough to find it in the file. */
  readonly name: string;
  readonly expected: unknown;
  /** Runs the real code. */
  readonly actual: () => unknown;
  /** What to say as well when it fails. */
  readonly remarks?: readonly string[];
}

export type Outcome = { readonly name: string } & (
  | { readonly passed: true }
  | {
      readonly passed: false;
      readonly expected: string;
      readonly actual: string;
      readonly remarks?: readonly string[];
    }
);

/** A failure of the code under test is a failed check, not the end of the run. */
export function outcomeOf({ name, expected, actual, remarks = [] }: Check): Outcome {
  let found: unknown;
  try {
    found = actual();
  } catch (error) {
    return { name, passed: false, expected: show(expected), actual: `failed: ${messageOf(error)}`, remarks };
  }
  if (isDeepStrictEqual(found, expected)) return { name, passed: true };
  if (typeof found === 'string' && typeof expected === 'string') {
    return { name, passed: false, ...firstDifference(found, expected), remarks };
  }
  return { name, passed: false, expected: show(expected), actual: show(found), remarks };
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const show = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** Of long texts only the first line that differs is worth showing. */
function firstDifference(actual: string, expected: string): { actual: string; expected: string } {
  const found = actual.split('\n');
  const wanted = expected.split('\n');
  if (found.length === 1 && wanted.length === 1) return { actual, expected };
  const differs = found.findIndex((line, index) => line !== wanted[index]);
  const at = differs === -1 ? found.length : differs;
  const quoted = (lines: readonly string[]): string =>
    `line ${at + 1}: ${lines[at] ?? '(the text ends before)'}`;
  return { actual: quoted(found), expected: quoted(wanted) };
}

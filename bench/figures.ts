/** A figure is a median of rounds with its extremes; printed as a table line and written as JSON. */

export interface Figure {
  readonly id: string;
  readonly peer: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
}

/** What was not measured, and why. */
export interface Skipped {
  /** A figure, or the part of the benchmark. */
  readonly id: string;
  readonly peer: string;
  readonly reason: string;
}

/** What `--json` writes. */
export interface Results {
  readonly machine: { readonly [fact: string]: string | number };
  readonly versions: { readonly [program: string]: string };
  /** ISO 8601. */
  readonly date: string;
  readonly quick: boolean;
  readonly figures: readonly Figure[];
  readonly skipped: readonly Skipped[];
}

/** @param rounds what each round measured, at least one */
export function figureOf(id: string, unit: string, rounds: readonly number[], peer = 'flowpin'): Figure {
  const sorted = [...rounds].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { id, peer, unit, median, min: sorted[0], max: sorted[sorted.length - 1], rounds: sorted.length };
}

export function figureLine({ id, peer, unit, median, min, max, rounds }: Figure): string {
  const spread = `(${numberText(min)} to ${numberText(max)}, ${rounds} rounds)`;
  return `${id.padEnd(36)} ${peer.padEnd(10)} ${numberText(median).padStart(10)} ${unit.padEnd(13)} ${spread}`;
}

/** Four significant digits, never an exponent: 0.01234, 12.34, 1234, 1,234,000. */
export function numberText(value: number): string {
  const rounded = Number(value.toPrecision(4));
  return rounded.toLocaleString('en-US', { maximumSignificantDigits: 4 });
}

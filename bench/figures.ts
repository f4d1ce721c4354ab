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

/** @param rounds what each round measured, at least one */
export function figureOf(id: string, unit: string, rounds: readonly number[], peer = 'flowpin'): Figure {
  const sorted = [...rounds].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { id, peer, unit, median, min: sorted[0], max: sorted[sorted.length - 1], rounds: sorted.length };
}

export function figureLine({ id, peer, unit, median, min, max, rounds }: Figure): string {
  const number = (value: number) => value.toPrecision(4);
  return `${id.padEnd(24)} ${peer.padEnd(10)} ${number(median).padStart(10)} ${unit.padEnd(6)} (${number(min)} to ${number(max)}, ${rounds} rounds)`;
}

/** Numbers as reports say them. */

export const grouped = (n: number): string => n.toLocaleString('en-US');

/** "12 %", with a digit behind the point where it matters. */
export const percent = (share: number): string =>
  `${(100 * share).toFixed(share !== 0 && (share < 0.0995 || share > 0.995) && share !== 1 ? 1 : 0)} %`;

/** "250 ms", "9.8 s". */
export const seconds = (ms: number): string =>
  ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;

/** A probability as people say it. */
export function outOf(p: number): string {
  if (p >= 0.01) return `${Math.round(100 * p)} of 100`;
  return p >= 0.0001 ? `${Math.round(10_000 * p)} of 10,000` : 'fewer than 1 of 10,000';
}

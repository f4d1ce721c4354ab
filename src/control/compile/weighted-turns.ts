/** The order in which weighted round robin goes through its endpoints, written out once when the table is compiled. */

/** A longer round brings no better proportions, and every turn takes a record of the table. */
const TURNS_MAX = 4096;

/**
 * Smooth weighted round robin: every turn each endpoint gains its weight, the highest is taken and gives up the sum. An
 * endpoint of weight 3 among three of weight 1 is taken every other turn and not three times in a row.
 * @param weights whole numbers from 1
 * @returns one index for each turn of a round; a weight comes up as often as it says, divided by what all share
 */
export function weightedTurns(weights: readonly number[]): number[] {
  const shared = weights.reduce(greatestCommonDivisor, 0);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const turns = Math.min(sum / Math.max(1, shared), TURNS_MAX);
  const credit = weights.map(() => 0);
  return Array.from({ length: turns }, () => {
    let best = 0;
    for (const [index, weight] of weights.entries()) {
      credit[index] = (credit[index] as number) + weight;
      if ((credit[index] as number) > (credit[best] as number)) best = index;
    }
    credit[best] = (credit[best] as number) - sum;
    return best;
  });
}

const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b);

// The chi-square test: how surprising are these counts, when each of n outcomes should be equally likely?

/** Pearson's statistic of observed counts against equal expectations: the sum of (observed - expected)² / expected. */
export function chiSquare(observed: readonly number[]): number {
  const total = observed.reduce((sum, count) => sum + count, 0);
  const expected = total / observed.length;
  return expected === 0 ? 0 : observed.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

/**
 * Probability that a chi-square variable with `degrees` degrees of freedom (a whole number from 1) is at least `x`:
 * the p-value of the test. Relative error below 1e-12 for degrees up to 200.
 *
 * It is Q(a, z) with a = degrees/2 and z = x/2, the regularised upper incomplete gamma function (NIST Digital Library
 * of Mathematical Functions, https://dlmf.nist.gov/8.2.E4): by the series for its complement where that converges
 * quickly (z < a + 1), else by the continued fraction.
 */
export function chiSquareSurvival(x: number, degrees: number): number {
  if (!Number.isInteger(degrees) || degrees < 1) throw new RangeError(`degrees of freedom: ${degrees}`);
  if (Number.isNaN(x)) return Number.NaN;
  if (x <= 0) return 1;
  if (x === Number.POSITIVE_INFINITY) return 0;
  const a = degrees / 2;
  const z = x / 2;
  // z^a e^-z / Γ(a), through logarithms so that neither factor overflows.
  const scale = Math.exp(a * Math.log(z) - z - logGammaOfHalves(degrees));
  return z < a + 1 ? 1 - scale * lowerSeries(a, z) : scale * upperFraction(a, z);
}

/** Both expansions gain several bits a term near z = a; a thousand terms are far more than they need. */
const TERMS_MAX = 1000;
const PRECISION = Number.EPSILON;

/** Sum of z^n / (a (a+1) ... (a+n)): DLMF 8.7.1 divided by z^a e^-z. */
function lowerSeries(a: number, z: number): number {
  let term = 1 / a;
  let sum = term;
  for (let n = 1; n < TERMS_MAX && term > sum * PRECISION; n++) {
    term *= z / (a + n);
    sum += term;
  }
  return sum;
}

/** The continued fraction of DLMF 8.9.2 in its even form, divided by z^a e^-z, by the modified Lentz method. */
function upperFraction(a: number, z: number): number {
  let b = z + 1 - a;
  let c = Number.MAX_VALUE;
  let d = 1 / b;
  let value = d;
  for (let n = 1; n < TERMS_MAX; n++) {
    const numerator = -n * (n - a);
    b += 2;
    d = 1 / (numerator * d + b);
    c = b + numerator / c;
    const factor = c * d;
    value *= factor;
    if (Math.abs(factor - 1) <= PRECISION) break;
  }
  return value;
}

/** log Γ(degrees / 2), from Γ(1/2) = √π, Γ(1) = 1 and Γ(a + 1) = a Γ(a): exact for the halves needed here. */
function logGammaOfHalves(degrees: number): number {
  const odd = degrees % 2 === 1;
  let sum = odd ? Math.log(Math.PI) / 2 : 0;
  for (let a = odd ? 0.5 : 1; a < degrees / 2; a++) sum += Math.log(a);
  return sum;
}

/**
 * Probability that, of `total` equally likely choices among `n`, some one is chosen `most` times or more. Exact: one outcome
 * after the other is given its share of what the others have left.
 */
export function fairMaximumChance(total: number, n: number, most: number): number {
  const logFactorial = logFactorials(total);
  // below[t]: probability that t choices among the first i outcomes give none of them `most`.
  let below = Array.from({ length: total + 1 }, (_, t): number => (t < most ? 1 : 0));
  for (let i = 2; i <= n; i++) {
    const [logHere, logElsewhere] = [Math.log(1 / i), Math.log1p(-1 / i)];
    below = below.map((_, t) => {
      let sum = 0;
      for (let here = 0; here < most && here <= t; here++) {
        const log =
          logFactorial[t] -
          logFactorial[here] -
          logFactorial[t - here] +
          here * logHere +
          (t - here) * logElsewhere;
        sum += Math.exp(log) * below[t - here];
      }
      return sum;
    });
  }
  return Math.max(0, 1 - below[total]);
}

/**
 * Fisher's exact test, two-sided: how probable is a table of two rows and two columns with these margins that is no likelier
 * than this one, when the rows do not differ.
 */
export function fisherExact(a: number, b: number, c: number, d: number): number {
  const logFactorial = logFactorials(a + b + c + d);
  const [row, column, all] = [a + b, a + c, a + b + c + d];
  const logChoose = (n: number, k: number): number => logFactorial[n] - logFactorial[k] - logFactorial[n - k];
  const probability = (x: number): number =>
    Math.exp(logChoose(row, x) + logChoose(all - row, column - x) - logChoose(all, column));
  const here = probability(a);
  let sum = 0;
  for (let x = Math.max(0, column - (all - row)); x <= Math.min(row, column); x++) {
    const other = probability(x);
    if (other <= here * (1 + 1e-9)) sum += other; // equals that rounding has set apart count as equal
  }
  return Math.min(1, sum);
}

/** log n! for n from 0 to `most`. */
function logFactorials(most: number): number[] {
  const logs = [0];
  for (let n = 1; n <= most; n++) logs.push(logs[n - 1] + Math.log(n));
  return logs;
}

import fc from 'fast-check';
import { type Test, t } from 'tap';
import { chiSquare, chiSquareSurvival, fairMaximumChance, fisherExact } from '../../src/lab/statistics.js';

/** Whether two numbers agree to `digits` significant digits. */
const agree = (a: number, b: number, digits: number): boolean =>
  Math.abs(a - b) <= Math.abs(b) * 10 ** -digits;

const X = fc.double({ min: 0.001, max: 600, noNaN: true });

function holds<T>(t: Test, property: fc.IProperty<T>): void {
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }));
}

t.test('the statistic of counts against equal expectations', async (t) => {
  t.equal(chiSquare([100, 100, 100]), 0);
  t.equal(chiSquare([110, 90, 100]), 2);
  t.equal(chiSquare([300, 0, 0]), 600);
  t.equal(chiSquare([0, 0]), 0, 'nothing counted, nothing surprising');
});

t.test('critical values of the printed tables', async (t) => {
  // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4, upper-tail critical values.
  const rows: readonly (readonly [degrees: number, p: number, x: number])[] = [
    [1, 0.1, 2.706],
    [1, 0.05, 3.841],
    [1, 0.001, 10.828],
    [2, 0.05, 5.991],
    [2, 0.001, 13.816],
    [3, 0.05, 7.815],
    [10, 0.9, 4.865],
    [10, 0.05, 18.307],
    [10, 0.001, 29.588],
    [30, 0.975, 16.791],
    [100, 0.05, 124.342],
    [100, 0.001, 149.449],
  ];
  for (const [degrees, p, x] of rows) {
    // The table has three decimals: the p-value lies between those of its neighbours.
    t.ok(chiSquareSurvival(x + 0.0006, degrees) < p, `degrees ${degrees}, just above ${x}`);
    t.ok(chiSquareSurvival(x - 0.0006, degrees) > p, `degrees ${degrees}, just below ${x}`);
  }
});

t.test('even degrees of freedom: the closed form', async (t) => {
  // Q(n, z) = e^-z (1 + z + z²/2! + ... + z^(n-1)/(n-1)!), https://dlmf.nist.gov/8.4.E10.
  const closed = (x: number, degrees: number): number => {
    let term = 1;
    let sum = 1;
    for (let i = 1; i < degrees / 2; i++) {
      term *= x / 2 / i;
      sum += term;
    }
    return Math.exp(-x / 2) * sum;
  };
  const even = fc.integer({ min: 1, max: 100 }).map((n) => 2 * n);
  holds(
    t,
    fc.property(even, X, (df, x) => agree(chiSquareSurvival(x, df), closed(x, df), 12)),
  );
});

t.test('odd degrees of freedom: the tails of the normal distribution, and two degrees more', async (t) => {
  // With one degree it is the chance of more than sqrt(x) standard deviations, on either side.
  const tails = {
    1: 0.31731050786291415,
    4: 0.04550026389635842,
    9: 0.0026997960632601866,
    25: 5.733031437583866e-7,
  };
  for (const [x, p] of Object.entries(tails))
    t.ok(agree(chiSquareSurvival(Number(x), 1), p, 12), `${x}, 1 degree`);
  // Q(a + 1, z) = Q(a, z) + z^a e^-z / Γ(a + 1), https://dlmf.nist.gov/8.8.E6.
  const odd = fc.integer({ min: 0, max: 99 }).map((n) => 2 * n + 1);
  const step = (x: number, df: number): number => {
    let term = Math.sqrt((2 * x) / Math.PI) * Math.exp(-x / 2);
    for (let a = 1.5; a <= df / 2; a++) term *= x / 2 / a;
    return term;
  };
  holds(
    t,
    fc.property(odd, X, (df, x) => {
      return agree(chiSquareSurvival(x, df + 2), chiSquareSurvival(x, df) + step(x, df), 11);
    }),
  );
});

t.test('the ends, and what is no number of degrees', async (t) => {
  t.equal(chiSquareSurvival(0, 2), 1);
  t.equal(chiSquareSurvival(-1, 2), 1);
  t.equal(chiSquareSurvival(Number.POSITIVE_INFINITY, 2), 0);
  t.equal(chiSquareSurvival(5000, 2), 0, 'underflows to zero, not to NaN');
  t.ok(Number.isNaN(chiSquareSurvival(Number.NaN, 2)));
  for (const degrees of [0, -1, 1.5, Number.NaN]) t.throws(() => chiSquareSurvival(1, degrees), RangeError);
});

t.test('the chance that somebody gets many of a few, against counting every case', async (t) => {
  for (const [total, n] of [
    [1, 3],
    [4, 2],
    [5, 3],
    [6, 4],
  ] as const) {
    for (let most = 1; most <= total; most++) {
      let hits = 0;
      for (let code = 0; code < n ** total; code++) {
        const counts = new Array<number>(n).fill(0);
        for (let i = 0, rest = code; i < total; i++, rest = Math.floor(rest / n)) counts[rest % n]!++;
        if (Math.max(...counts) >= most) hits++;
      }
      const chance = fairMaximumChance(total, n, most);
      t.ok(Math.abs(chance - hits / n ** total) < 1e-12, `${most} of ${total} among ${n}: ${chance}`);
    }
  }
});

t.test("Fisher's exact test", async (t) => {
  // Fisher, The Design of Experiments (1935): the lady tasting tea, three of four cups right on either side.
  t.ok(Math.abs(fisherExact(3, 1, 1, 3) - 34 / 70) < 1e-12);
  t.ok(Math.abs(fisherExact(4, 0, 0, 4) - 2 / 70) < 1e-12);
  t.equal(fisherExact(0, 300, 0, 300), 1, 'nothing went wrong in either');
  t.ok(Math.abs(fisherExact(5, 295, 5, 295) - 1) < 1e-9);
  t.ok(fisherExact(0, 300, 30, 270) < 1e-6);
  t.ok(Math.abs(fisherExact(2, 10, 7, 3) - fisherExact(7, 3, 2, 10)) < 1e-12, 'the rows may be exchanged');
});

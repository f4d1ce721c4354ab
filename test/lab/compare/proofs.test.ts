import { t } from 'tap';
import { biasOf, proveCascade } from '../../../src/lab/compare/cascade-proof.js';
import { closedForms } from '../../../src/lab/compare/closed-forms.js';
import { cascadeThreshold } from '../../../src/table/layout.js';
import { SEED } from './support.js';

/** One in a million runs fails by chance; a wrong formula always does. */
const P_MIN = 1e-6;

t.test('the pipeline does what the formulas say', async (t) => {
  const forms = closedForms(SEED, 2000);
  for (const { what, measured, expected, bound, p } of forms) {
    if (bound !== null) t.ok(measured <= bound, `${what}: ${measured} at most ${bound}, seed ${SEED}`);
    else if (p !== null) t.ok(p > P_MIN, `${what}: ${measured} of ${expected}, p = ${p}, seed ${SEED}`);
    else t.ok(Math.abs(measured - (expected ?? 0)) < 0.01, `${what}, seed ${SEED}`);
  }
  t.equal(forms.filter(({ bound }) => bound !== null).length, 4);
});

t.test('the cascade is uniform for every number of endpoints from 1 to 250', async (t) => {
  const { steps, worstBias, worstBiasOfFiveDigits, written, listed, smallestP } = proveCascade(SEED, 50);
  t.equal(steps.length, 250);
  t.equal(steps[0]?.bias, 0);
  t.equal(steps[1]?.bias, 0, 'a half is exact');
  t.ok(worstBias < 1e-7 && worstBias > 1e-9, `${worstBias}`);
  t.ok(worstBiasOfFiveDigits > 1e-3 && worstBiasOfFiveDigits < 2e-3, `${worstBiasOfFiveDigits}`);
  t.equal(written, '0.3333333333');
  t.equal(listed, '0.33333333349');
  t.ok(smallestP > P_MIN, `${smallestP}, seed ${SEED}`);
});

t.test('the exact bias agrees with floating point where that is good enough', async (t) => {
  for (const n of [3, 7, 10, 25]) {
    // Naive twin: the same products as doubles.
    let reached = 1;
    let worst = 0;
    for (let left = n; left >= 1; left--) {
      const chance = left === 1 ? 1 : Math.round(2 ** 31 * 1e-3 * Math.round(1000 / left)) / 2 ** 31;
      worst = Math.max(worst, Math.abs(reached * chance * n - 1));
      reached *= 1 - chance;
    }
    const exact = biasOf(n, (left) => Math.round(2 ** 31 * 1e-3 * Math.round(1000 / left)));
    t.ok(Math.abs(exact - worst) < 1e-12, `n = ${n}: ${exact}, ${worst}`);
  }
  t.equal(biasOf(3, cascadeThreshold) > 0, true, 'a third is not');
});

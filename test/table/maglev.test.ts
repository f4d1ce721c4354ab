import t from 'tap';
import { MAGLEV_SIZE } from '../../src/table/layout.js';
import { maglevTable } from '../../src/table/maglev.js';

const names = (count: number) => Array.from({ length: count }, (_, i) => (i + 1) * 2654435761);
const ones = (count: number) => Array<number>(count).fill(1);

function entries(table: Uint32Array, count: number): number[] {
  const counts = Array<number>(count).fill(0);
  for (const index of table) counts[index]++;
  return counts;
}

t.test('every entry has a backend, and shares differ by one at most', async (t) => {
  for (const count of [1, 2, 3, 10, 100, 650]) {
    const shares = entries(maglevTable(names(count), ones(count)), count);
    t.equal(
      shares.reduce((sum, share) => sum + share, 0),
      MAGLEV_SIZE,
    );
    t.ok(Math.max(...shares) - Math.min(...shares) <= 1, `${count} backends`);
  }
});

t.test('shares follow weights', async (t) => {
  const shares = entries(maglevTable(names(3), [1, 2, 5]), 3);
  for (const [i, weight] of [1, 2, 5].entries()) t.ok(Math.abs(shares[i] / MAGLEV_SIZE - weight / 8) < 0.001);
});

t.test('the order of the backends does not decide who gets which entry', async (t) => {
  const list = names(10);
  const forward = maglevTable(list, ones(10));
  const backward = maglevTable(list.toReversed(), ones(10));
  let same = 0;
  for (let i = 0; i < MAGLEV_SIZE; i++) if (list[forward[i]] === list.toReversed()[backward[i]]) same++;
  t.ok(same / MAGLEV_SIZE > 0.9, `${same} entries`);
});

t.test('when one backend goes, few entries of the others change hands', async (t) => {
  for (const count of [10, 100, 500]) {
    const list = names(count);
    const before = maglevTable(list, ones(count));
    const rest = list.slice(1);
    const after = maglevTable(rest, ones(count - 1));
    let kept = 0;
    let moved = 0;
    for (let i = 0; i < MAGLEV_SIZE; i++) {
      if (before[i] === 0) continue;
      kept++;
      if (list[before[i]] !== rest[after[i]]) moved++;
    }
    t.ok(moved / kept < 0.05, `${count} backends: ${((100 * moved) / kept).toFixed(2)} % moved`);
    t.comment(`${count} backends: ${((100 * moved) / kept).toFixed(2)} % of the surviving entries moved`);
  }
});

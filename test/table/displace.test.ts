/** Every key has a place of its own, and a lookup finds it where `slotOf` says, or walks a few steps to it. */
import fc from 'fast-check';
import t from 'tap';
import { powerOfTwoAtLeast } from '../../src/shared/assert.js';
import { bucketOf, displace, slotOf } from '../../src/table/displace.js';
import { holds } from '../support/property.js';

/** Steps from where a lookup begins to where the key is, of each key. */
function stepsOf(hashes: Int32Array, slotCount: number, bucketCount: number): number[] {
  const { displacements, slots } = displace(hashes, slotCount, bucketCount);
  return Array.from(hashes, (hash, key) => {
    const first = slotOf(hash, displacements[bucketOf(hash, bucketCount - 1)]!, slotCount - 1);
    return (slots[key]! - first) & (slotCount - 1);
  });
}

const slotsFor = (keys: number): number => powerOfTwoAtLeast(Math.max(4, Math.ceil(keys * 1.25)));

t.test('any hashes, the same ones and those that no displacement parts among them', async () => {
  const hash = fc.oneof(
    fc.integer(),
    fc.nat(7),
    fc.nat(7).map((n) => n << 14),
  );
  holds(
    fc.property(fc.array(hash, { maxLength: 200 }), (list) => {
      const hashes = Int32Array.from(list);
      const slotCount = slotsFor(hashes.length);
      const { slots, probesMax } = displace(hashes, slotCount, slotCount / 4);
      const steps = stepsOf(hashes, slotCount, slotCount / 4);
      return new Set(slots).size === hashes.length && steps.every((step) => step < probesMax);
    }),
  );
});

t.test(
  'of 100,000 keys all but a few are found at once, in a table that is three quarters full',
  async (t) => {
    let state = 1;
    const hashes = Int32Array.from({ length: 100_000 }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
      return Math.imul(state ^ (state >>> 15), 0x85ebca6b);
    });
    const slotCount = slotsFor(hashes.length);
    t.equal(slotCount, 131_072);
    const walked = stepsOf(hashes, slotCount, slotCount / 4).filter((steps) => steps > 0).length;
    t.ok(walked < 10, `${walked} are walked to`);
  },
);

t.test('the same hashes get the same places', async (t) => {
  const hashes = Int32Array.from({ length: 500 }, (_, i) => Math.imul(i, 0x9e3779b1));
  t.strictSame(displace(hashes, 1024, 256), displace(hashes, 1024, 256));
});

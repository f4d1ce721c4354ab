import fc from 'fast-check';
import t from 'tap';
import { half } from '../../src/wire/byte-order.js';
import {
  fold,
  inverseDelta,
  sumBytes,
  updateChecksum,
  updatePartialChecksum,
  wordDelta,
} from '../../src/wire/checksum.js';
import { checksum as slowChecksum } from '../support/packets.js';
import { holds } from '../support/property.js';

t.test('the checksum of every length from 0 to 2,000 and of the longest equals the slow twin', async (t) => {
  const bytes = Uint8Array.from({ length: 65_535 }, (_, i) => (i * 167 + (i >> 8) * 31) & 0xff);
  for (let length = 0; length <= 2000; length++) {
    if (half(~sumBytes(bytes, 0, length) & 0xffff) !== slowChecksum(bytes.subarray(0, length)))
      t.fail(`length ${length}`);
  }
  t.equal(half(~sumBytes(bytes, 0, 65_535) & 0xffff), slowChecksum(bytes));
  const ones = new Uint8Array(65_535).fill(0xff);
  t.equal(half(~sumBytes(ones, 0, 65_535) & 0xffff), slowChecksum(ones), 'the largest sum there can be');
});

t.test('a sum may be continued', async (t) => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => i * 3);
  t.equal(sumBytes(bytes, 40, 60, sumBytes(bytes, 0, 40)), sumBytes(bytes, 0, 100));
});

t.test('the example of RFC 1071 section 3', async (t) => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  t.equal(half(sumBytes(bytes, 0, 8)), 0xddf2);
});

t.test('the example of RFC 1624 section 4: 0xDD2F after 0x5555 became 0x3285 is 0x0000', async (t) => {
  const delta = fold(wordDelta(half(0x5555), half(0x3285)));
  t.equal(half(updateChecksum(half(0xdd2f), delta)), 0x0000);
});

const word = fc.integer({ min: -0x80000000, max: 0x7fffffff });

t.test('an updated checksum equals the one computed anew, for all words', async () => {
  holds(
    fc.property(fc.array(word, { minLength: 2, maxLength: 20 }), word, fc.nat(), (words, replacement, at) => {
      const before = Int32Array.from(words);
      if (words.every((value) => value === 0)) before[0] = 1; // an all-zero header does not occur (RFC 1624 section 3)
      const after = before.slice();
      after[at % words.length] = replacement;
      if (after.every((value) => value === 0)) return true;
      const full = (of: Int32Array) => ~sumBytes(new Uint8Array(of.buffer), 0, of.byteLength) & 0xffff;
      const delta = fold(wordDelta(before[at % words.length], replacement));
      return updateChecksum(full(before), delta) === full(after);
    }),
    2000,
  );
});

t.test('a delta and its inverse take each other back, for every checksum that occurs', async (t) => {
  const deltas = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x1234];
  for (const delta of deltas) {
    for (let check = 0; check < 0xffff; check++) {
      const back = updateChecksum(updateChecksum(check, delta), inverseDelta(delta));
      if (back !== check) t.fail(`checksum ${check} came back as ${back} with delta ${delta}`);
      const partial = updatePartialChecksum(updatePartialChecksum(check, delta), inverseDelta(delta));
      if (partial % 0xffff !== check % 0xffff)
        t.fail(`partial ${check} came back as ${partial} with delta ${delta}`);
    }
  }
});

t.test('the delta of a word that does not change changes nothing', async (t) => {
  for (const value of [0, 1, -1, 0x12345678, -0x80000000]) {
    t.equal(updateChecksum(0xabcd, fold(wordDelta(value, value))), 0xabcd);
  }
});

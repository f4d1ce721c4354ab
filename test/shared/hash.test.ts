/** The hash of tuples, held against random numbers: tuples as they come must lie in a table as evenly as those would. */
import t from 'tap';
import { finish, mix } from '../../src/shared/hash.js';
import { portsWord, word } from '../../src/wire/byte-order.js';

const TUPLES = 1 << 17;
/** Half full, as the index of the flow table. */
const SLOTS = TUPLES * 2;
const SEEDS = [1, 0x12345678, -77];

/** Steps of linear probing that finding a random key takes in a half-full table (Knuth, TAOCP 6.4), and a margin. */
const STEPS_MAX = 1.5 * 1.05;
/** Of 131,072 random numbers 2 are the same as another. */
const SAME_MAX = 32;

const address = (text: string, plus: number): number =>
  word(text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) + plus) | 0;
const v4 = (src: number, dst: number, sport: number, dport: number): number[] => [
  src,
  dst,
  portsWord(sport, dport),
];

const client = (plus: number): number => address('10.0.0.0', plus);
const service = (plus: number): number => address('10.96.0.0', plus);
const pod = (plus: number): number => address('10.244.0.0', plus);

const CASES: { readonly [name: string]: (i: number) => number[] } = {
  'every port of two clients': (i) => v4(client(i >> 16), service(1), i & 0xffff, 80),
  'many clients from one port': (i) => v4(client(i), service(1), 5353, 80),
  'some clients, some Services, some ports': (i) =>
    v4(client(i >> 8), service(i % 100), 32_768 + (i & 0xff), 80),
  'replies of some pods to masqueraded ports': (i) =>
    v4(pod(i % 400), address('198.18.0.2', i >> 15), 8080, i & 0x7fff),
  'addresses that differ in the high bits': (i) => v4(i << 15, service(1), 1, 80),
  'IPv6 clients of one network': (i) => [
    0x00fd,
    0,
    0,
    word(i),
    0x9600_00fd | 0,
    0,
    0,
    word(1),
    portsWord(5353, 80),
  ],
  'IPv6 clients of many networks': (i) => [0x00fd, word(i), 0, word(1), 0x9600_00fd | 0, 0, 0, word(1), 80],
};

for (const [name, tupleOf] of Object.entries(CASES)) {
  t.test(name, async (t) => {
    for (const seed of SEEDS) {
      const taken = new Uint8Array(SLOTS);
      const hashes = new Set<number>();
      let steps = 0;
      for (let i = 0; i < TUPLES; i++) {
        const hash = finish(tupleOf(i).reduce(mix, seed));
        hashes.add(hash);
        let slot = hash & (SLOTS - 1);
        for (steps++; taken[slot] === 1; steps++) slot = (slot + 1) & (SLOTS - 1);
        taken[slot] = 1;
      }
      t.ok(steps / TUPLES <= STEPS_MAX, `${(steps / TUPLES).toFixed(3)} steps with seed ${seed}`);
      t.ok(
        TUPLES - hashes.size <= SAME_MAX,
        `${TUPLES - hashes.size} are the same as another with seed ${seed}`,
      );
    }
  });
}

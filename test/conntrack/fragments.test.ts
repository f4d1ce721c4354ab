import fc from 'fast-check';
import t from 'tap';
import {
  Added,
  DATAGRAM,
  FATE,
  FragmentTable,
  HELD_BYTES_MAX,
  HELD_MAX,
  HELD_PER_DATAGRAM_MAX,
  KEY,
  KNOWN_MS,
  NO_PLACE,
  PLACES,
  type Place,
  RANGES_MAX,
  WAIT_MS,
} from '../../src/conntrack/fragments.js';
import { holds } from '../support/property.js';

const WAYS = 8;

function keyed(table: FragmentTable, id: number): FragmentTable {
  table.key.fill(0);
  table.key[KEY.ID] = id;
  return table;
}

function add(table: FragmentTable, place: Place, start: number, end: number, more = true): Added {
  table.start = start;
  table.end = end;
  table.more = more;
  return table.add(place);
}

t.test('every word of a key tells datagrams apart', async (t) => {
  const table = new FragmentTable(7);
  const place = table.begin(0);
  t.equal(table.find(0), place);
  for (let word = 0; word < KEY.WORDS; word++) {
    table.key[word] ^= 1 << 31;
    t.equal(table.find(0), NO_PLACE, `word ${word}`);
    table.key[word] ^= 1 << 31;
  }
  t.equal(table.find(WAIT_MS - 1), place);
  t.equal(table.find(WAIT_MS), NO_PLACE);
});

/** A datagram as the twin sees it: every unit of 8 bytes by itself. */
class Twin {
  readonly seen = new Set<number>();
  total = 0;

  add(start: number, end: number, more: boolean): Added {
    const units = Array.from({ length: Math.ceil((end - start) / 8) }, (_, i) => start / 8 + i);
    const known = units.filter((unit) => this.seen.has(unit)).length;
    // A shorter last fragment at the place of a longer one lies within it too.
    if (known === units.length) return end > this.total && this.total > 0 ? Added.Overlap : Added.Duplicate;
    if (known > 0) return Added.Overlap;
    const last = Math.max(-1, ...this.seen);
    if (!more && (this.total > 0 || last * 8 >= start)) return Added.Overlap;
    if (more && this.total > 0 && end >= this.total) return Added.Overlap;
    if (this.ranges(units) > RANGES_MAX) return Added.NoRoom;
    for (const unit of units) this.seen.add(unit);
    if (!more) this.total = end;
    return this.total > 0 && this.seen.size === Math.ceil(this.total / 8) ? Added.Complete : Added.New;
  }

  private ranges(units: number[]): number {
    const all = new Set([...this.seen, ...units]);
    return [...all].filter((unit) => !all.has(unit - 1)).length;
  }
}

t.test('ranges: what a set of all units says', async () => {
  const fragment = fc.record({
    start: fc.nat(100),
    units: fc.integer({ min: 1, max: 12 }),
    last: fc.integer({ min: 0, max: 20 }),
  });
  holds(
    fc.property(fc.array(fragment, { maxLength: 120 }), (fragments) => {
      const table = keyed(new FragmentTable(1), 1);
      const place = table.begin(0);
      const twin = new Twin();
      for (const { start, units, last } of fragments) {
        const more = last !== 0;
        const end = (start + units) * 8;
        const got = add(table, place, start * 8, end, more);
        const expected = twin.add(start * 8, end, more);
        if (got !== expected) throw new Error(`[${start * 8}, ${end}) ${more}: ${got}, not ${expected}`);
        if (table.words[place + DATAGRAM.RANGE_COUNT] > RANGES_MAX) throw new Error('too many ranges');
      }
    }),
  );

  holds(
    fc.property(fc.shuffledSubarray(range(60), { minLength: 60, maxLength: 60 }), (order) => {
      const table = keyed(new FragmentTable(1), 1);
      const place = table.begin(0);
      const results = order.map((i) =>
        add(table, place, i * 1088, (i + 1) * 1088 - (i === 59 ? 3 : 0), i < 59),
      );
      if (results.some((result, i) => result !== (i === 59 ? Added.Complete : Added.New))) {
        throw new Error(`${results}`);
      }
    }),
  );
});

type Action =
  | { kind: 'begin' | 'settle' | 'remove' | 'hold'; id: number }
  | { kind: 'release' }
  | { kind: 'pass'; ms: number };

interface Known {
  expires: number;
  settled: boolean;
  held: number;
  place: Place;
}

t.test('places and held frames: what a Map and a list say', async () => {
  const id = fc.nat(12);
  const action: fc.Arbitrary<Action> = fc.oneof(
    fc.record({ kind: fc.constant('begin' as const), id }),
    fc.record({ kind: fc.constant('settle' as const), id }),
    fc.record({ kind: fc.constant('remove' as const), id }),
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('hold' as const), id }) },
    fc.record({ kind: fc.constant('release' as const) }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(900) }),
  );
  holds(
    fc.property(fc.array(action, { minLength: 100, maxLength: 1200, size: 'max' }), (actions) => {
      const table = new FragmentTable(3);
      const known = new Map<number, Known>();
      let waiting: { of: Known; id: number; due: number; number: number }[] = [];
      let nowMs = 0;
      let number = 0;
      const frame = new Uint8Array(16);
      const leave = (gone: typeof waiting) => {
        for (const { of } of gone) of.held--;
        waiting = waiting.filter((one) => !gone.includes(one));
      };
      const begin = (id: number): Known => {
        const place = table.begin(nowMs);
        // The twin does not know sets; what it is told went must have been the first to go of eight.
        const pushed = [...known].find(([, one]) => one.place === place);
        if (pushed !== undefined) {
          const set = Math.floor(place / DATAGRAM.SIZE / WAYS);
          const rivals = [...known.values()].filter(
            (one) => Math.floor(one.place / DATAGRAM.SIZE / WAYS) === set,
          );
          if (
            pushed[1].expires > nowMs &&
            (rivals.length < WAYS || rivals.some((one) => one.expires < pushed[1].expires))
          )
            throw new Error('pushed out before its turn');
          known.delete(pushed[0]);
        }
        const fresh = { expires: nowMs + WAIT_MS, settled: false, held: 0, place };
        known.set(id, fresh);
        return fresh;
      };
      const find = (id: number): Known | undefined => {
        const found = keyed(table, id).find(nowMs);
        const one = known.get(id);
        const expected = one !== undefined && one.expires > nowMs ? one.place : NO_PLACE;
        if (found !== expected) throw new Error(`${id} found at ${found}, not ${expected}`);
        return expected === NO_PLACE ? undefined : one;
      };
      for (const step of actions) {
        if (step.kind === 'pass') {
          nowMs += step.ms;
          const due = waiting.filter((one) => one.due <= nowMs);
          if (table.expire(nowMs) !== due.length) throw new Error('another number expired');
          leave(due);
        } else if (step.kind === 'release') {
          const next = waiting.find(({ of, id }) => of.settled && known.get(id) === of);
          const length = table.release(frame, 0);
          if (length !== (next === undefined ? 0 : 10 + (next.number % 6)))
            throw new Error(`released ${length}`);
          if (next === undefined) continue;
          if ((frame[0] | (frame[1] << 8)) !== next.number) throw new Error('another frame was released');
          leave([next]);
        } else {
          const one = find(step.id);
          if (step.kind === 'begin' && one === undefined) begin(step.id);
          if (step.kind === 'settle' && one !== undefined) {
            table.settle(one.place, FATE.FLOW, nowMs);
            one.settled = true;
            one.expires = nowMs + KNOWN_MS;
          }
          if (step.kind === 'remove' && one !== undefined) {
            table.remove(one.place);
            known.delete(step.id);
          }
          if (step.kind === 'hold') {
            const of = one ?? begin(step.id);
            if (of.settled) continue;
            number++;
            frame[0] = number & 255;
            frame[1] = number >> 8;
            const lost = table.hold(of.place, frame, 0, 10 + (number % 6));
            if (of.held === HELD_PER_DATAGRAM_MAX) {
              if (lost !== -1) throw new Error('no bound for one datagram');
              continue;
            }
            // A place in the circle is the oldest's whether it is free or not, so the loss is the table's to tell.
            if (lost === 1) leave([waiting[0]]);
            else if (lost !== 0) throw new Error(`lost ${lost}`);
            of.held++;
            waiting.push({ of, id: step.id, due: of.expires, number });
          }
        }
        if (table.heldCount !== waiting.length)
          throw new Error(`${table.heldCount} held, not ${waiting.length}`);
        if (waiting.length > HELD_MAX) throw new Error('more held than there is room');
      }
    }),
  );
});

t.test('a full set gives up what would have gone first', async (t) => {
  const table = new FragmentTable(5);
  const sets = new Map<number, number[]>();
  for (let id = 0; ; id++) {
    const place = keyed(table, id).begin(0);
    table.remove(place);
    const set = Math.floor(place / DATAGRAM.SIZE / WAYS);
    const ids = [...(sets.get(set) ?? []), id];
    sets.set(set, ids);
    if (ids.length < WAYS + 2) continue;
    for (const [i, member] of ids.slice(0, WAYS).entries()) {
      const place = keyed(table, member).begin(i);
      if (i === 0) table.settle(place, FATE.FLOW, i);
    }
    keyed(table, ids[WAYS]).begin(20);
    t.not(keyed(table, ids[0]).find(20), NO_PLACE, 'the oldest has its first fragment and stays');
    t.equal(keyed(table, ids[1]).find(20), NO_PLACE, 'the oldest that waits goes');
    for (const member of ids.slice(2, WAYS + 1)) t.not(keyed(table, member).find(20), NO_PLACE);
    break;
  }
});

t.test('frames are held whole, in a circle', async (t) => {
  const table = keyed(new FragmentTable(1), 1);
  const bytes = Uint8Array.from({ length: HELD_BYTES_MAX + 1 }, (_, i) => i * 3);
  const out = new Uint8Array(HELD_BYTES_MAX);
  const place = table.begin(0);
  t.equal(table.hold(place, bytes, 0, HELD_BYTES_MAX + 1), -1);
  t.equal(table.hold(place, bytes, 1, HELD_BYTES_MAX), 0);
  t.equal(table.release(out, 0), 0, 'the first fragment has not come');
  table.settle(place, FATE.PASSED, 0);
  t.equal(table.ready, true);
  t.equal(table.release(out, 0), HELD_BYTES_MAX);
  t.strictSame(Buffer.from(out), Buffer.from(bytes.subarray(1)));
  t.equal(table.release(out, 0), 0);
  t.equal(table.ready, false);

  for (let i = 0; i < HELD_MAX + 9; i++) {
    const of = keyed(table, 100 + i).begin(0);
    t.equal(table.hold(of, Uint8Array.of(i), 0, 1), i < HELD_MAX ? 0 : 1);
    t.ok(table.heldCount <= HELD_MAX);
  }
  t.equal(table.expire(WAIT_MS - 1), 0);
  t.equal(table.expire(WAIT_MS), HELD_MAX);
  t.equal(table.heldCount, 0);
});

t.test('the memory of the table is what it says', async (t) => {
  const arrays = Object.values(new FragmentTable(1) as object).filter((value) => ArrayBuffer.isView(value));
  const bytes = arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  t.ok(bytes < 0.75 * 2 ** 20, `${bytes} bytes`);
  t.equal(PLACES, 2048);
});

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

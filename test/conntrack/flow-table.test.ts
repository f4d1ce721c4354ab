import fc from 'fast-check';
import t from 'tap';
import { ENTRY, ENTRY_WORDS, STATUS } from '../../src/conntrack/entry.js';
import {
  entryBytes,
  FLOW_FILE,
  FlowFileError,
  FlowTable,
  flowFileBytes,
  NO_FLOW,
} from '../../src/conntrack/flow-table.js';
import { FAMILIES, FAMILY, TUPLE_WORDS } from '../../src/wire/family.js';
import { holds } from '../support/property.js';

const UDP = 17;
const SEED = 7;
const WORDS = ENTRY_WORDS[FAMILY.V4];

interface Tuple {
  src: number;
  dst: number;
  ports: number;
}

const reverseOf = (flow: Tuple): Tuple => ({ src: flow.dst, dst: -flow.src - 1, ports: ~flow.ports });
const active = (): Int32Array => new Int32Array(new SharedArrayBuffer(64));
const open = (file: ArrayBuffer, capacity: number, seed = SEED, family: number = FAMILY.V4): FlowTable =>
  new FlowTable(file, { family, capacity, seed, active: active() });
const fresh = (capacity: number, family: number = FAMILY.V4): FlowTable =>
  open(new ArrayBuffer(flowFileBytes(family, capacity)), capacity, SEED, family);

/** A tuple in words: its numbers, spread over the words of an address so that each word tells tuples apart. */
function tupleWords(table: FlowTable, { src, dst, ports }: Tuple): Int32Array {
  const address = (value: number) =>
    Array.from({ length: table.addressWords }, (_, i) => (i % 2 === 0 ? value : ~value));
  return Int32Array.from([...address(src), ...address(dst), ports]);
}

function create(table: FlowTable, original: Tuple, expires = 1000, reply = reverseOf(original)): number {
  const at = table.allocate();
  if (at < 0) return NO_FLOW;
  table.entries[at + ENTRY.EXPIRES] = expires;
  table.entries[at + ENTRY.ENDPOINT] = 5;
  for (const [direction, tuple] of [original, reply].entries()) {
    table.entries.set(tupleWords(table, tuple), table.tupleOf(at, direction));
  }
  const hashOf = (direction: number): number => table.hash(table.entries, table.tupleOf(at, direction), UDP);
  return table.confirm(at, UDP, hashOf(0), hashOf(1));
}

const find = (table: FlowTable, tuple: Tuple, protocol = UDP) =>
  table.find(tupleWords(table, tuple), 0, protocol);

for (const family of [FAMILY.V4, FAMILY.V6]) {
  t.test(`family ${family}: a flow is found by both of its tuples, and by nothing else`, async (t) => {
    const table = fresh(16, family);
    const flow = { src: 1, dst: 2, ports: 3 };
    const made = create(table, flow);
    t.equal(find(table, flow), made);
    t.equal(find(table, reverseOf(flow)), made + 1);
    t.equal(find(table, flow, 6), NO_FLOW, 'another protocol');
    for (let word = 0; word < TUPLE_WORDS[family]; word++) {
      const words = tupleWords(table, flow);
      words[word] ^= 1;
      t.equal(table.find(words, 0, UDP), NO_FLOW, `another word ${word}`);
    }
    t.equal(find(table, { src: 1, dst: 2, ports: 4 }), NO_FLOW);
    t.equal(table.count, 1);
    table.remove(made + 1);
    t.equal(find(table, flow), NO_FLOW);
    t.equal(find(table, reverseOf(flow)), NO_FLOW);
    t.equal(table.count, 0);
  });
}

t.test('an entry is one cache line, for IPv6 two', async (t) => {
  t.equal(entryBytes(FAMILY.V4), 64);
  t.equal(entryBytes(FAMILY.V6), 128);
  for (const family of [FAMILY.V4, FAMILY.V6]) {
    t.ok(ENTRY.ORIGINAL + 2 * TUPLE_WORDS[family] <= ENTRY_WORDS[family], 'both tuples fit');
  }
});

t.test('every word of a tuple counts for its hash, and none behind it', async (t) => {
  for (const family of FAMILIES) {
    const table = fresh(8, family);
    const words = Int32Array.from({ length: table.tupleWords + 4 }, (_, i) => Math.imul(i + 1, 0x01020304));
    const hash = table.hash(words, 2, UDP);
    for (let i = 0; i < words.length; i++) {
      const other = words.slice();
      other[i] ^= 1;
      const isOfTuple = i >= 2 && i < 2 + table.tupleWords;
      t.equal(table.hash(other, 2, UDP) !== hash, isOfTuple, `family ${family}, word ${i - 2}`);
    }
    t.not(table.hash(words, 2, UDP + 1), hash, 'and the protocol');
  }
});

t.test('flows of an endpoint are counted up and down, also by the next process', async (t) => {
  const file = new ArrayBuffer(flowFileBytes(FAMILY.V4, 8));
  const counts = active();
  const table = new FlowTable(file, { family: FAMILY.V4, capacity: 8, seed: SEED, active: counts });
  create(table, { src: 1, dst: 2, ports: 3 });
  const second = create(table, { src: 2, dst: 2, ports: 3 });
  t.equal(counts[5], 2);
  table.remove(second);
  t.equal(counts[5], 1);
  const next = active();
  new FlowTable(file, { family: FAMILY.V4, capacity: 8, seed: SEED, active: next });
  t.equal(next[5], 1);
});

// A model: the flow table is a Map. Commands act on both, and after each the two must say the same.
const tuple = fc.record({
  src: fc.integer({ min: 0, max: 5 }),
  dst: fc.integer({ min: 0, max: 3 }),
  ports: fc.constant(9),
});
const command = fc.oneof(
  { weight: 4, arbitrary: tuple.map((flow) => ({ kind: 'create' as const, flow })) },
  { weight: 3, arbitrary: tuple.map((flow) => ({ kind: 'remove' as const, flow })) },
  { weight: 1, arbitrary: fc.nat(30).map((seconds) => ({ kind: 'reap' as const, seconds })) },
  { weight: 1, arbitrary: fc.constant({ kind: 'reattach' as const }) },
);
t.test(
  'after any sequence of creates, removes, reaping and re-attaching it holds what a Map holds',
  async () => {
    holds(
      fc.property(fc.array(command, { maxLength: 120 }), (commands) => {
        const capacity = 8;
        const file = new ArrayBuffer(flowFileBytes(FAMILY.V4, capacity));
        let table = open(file, capacity);
        const model = new Map<string, { flow: Tuple; expires: number }>();
        let now = 0;
        for (const c of commands) {
          if (c.kind === 'create' && !model.has(JSON.stringify(c.flow))) {
            const made = create(table, c.flow, now + 20);
            if ((made === NO_FLOW) !== (model.size === capacity)) return false;
            if (made !== NO_FLOW) model.set(JSON.stringify(c.flow), { flow: c.flow, expires: now + 20 });
          } else if (c.kind === 'remove' && model.delete(JSON.stringify(c.flow))) {
            table.remove(find(table, c.flow));
          } else if (c.kind === 'reap') {
            now += c.seconds;
            table.reap(now, capacity, capacity);
            for (const [key, { expires }] of model) if (expires <= now) model.delete(key);
          } else if (c.kind === 'reattach') {
            table = open(file, capacity, SEED + now + 1);
          }
          if (table.count !== model.size) return false;
          for (let src = 0; src <= 5; src++) {
            for (let dst = 0; dst <= 3; dst++) {
              const flow = { src, dst, ports: 9 };
              const known = model.has(JSON.stringify(flow));
              const found = find(table, flow);
              if ((found !== NO_FLOW) !== known || (known && find(table, reverseOf(flow)) !== found + 1))
                return false;
            }
          }
        }
        return true;
      }),
    );
  },
);

t.test('a table filled, emptied and filled again at random loses nothing', async (t) => {
  const capacity = 4096;
  const table = fresh(capacity);
  const flows = Array.from({ length: capacity }, (_, i) => ({
    src: i * 2654435761,
    dst: i,
    ports: i ^ 0x5555,
  }));
  for (let round = 0; round < 3; round++) {
    for (const flow of flows)
      if (create(table, { ...flow, src: flow.src | 0 }) === NO_FLOW) t.fail('no room');
    t.equal(create(table, { src: 1, dst: -1, ports: 1 }), NO_FLOW, 'full');
    for (const flow of flows) table.remove(find(table, { ...flow, src: flow.src | 0 }));
    t.equal(table.count, 0);
  }
});

t.test('reaping forgets what has expired, in slices, and comes round to everything', async (t) => {
  const table = fresh(16);
  for (let i = 0; i < 16; i++) create(table, { src: i, dst: 100, ports: 1 }, i < 8 ? 10 : 20);
  let reaped = 0;
  for (let slice = 0; slice < 8; slice++) reaped += table.reap(10, 2, 2);
  t.equal(reaped, 8, 'EXPIRES is the first second without the flow');
  t.equal(table.count, 8);
  t.equal(table.reap(19, 16, 16), 0);
  t.equal(table.reap(20, 16, 3), 3, 'no more than it may at a time');
  t.equal(table.reap(20, 16, 16), 5);
});

t.test(
  'evicting forgets the next flow that is not assured, or has expired, and goes on behind it',
  async (t) => {
    const table = fresh(16);
    const made = Array.from({ length: 6 }, (_, i) =>
      create(table, { src: i, dst: 100, ports: 1 }, i === 4 ? 10 : 20),
    );
    const isThere = (i: number): boolean => find(table, { src: i, dst: 100, ports: 1 }) !== NO_FLOW;
    for (const i of [0, 2, 4]) table.entries[table.entryOf(made[i])] |= STATUS.ASSURED;
    t.equal(table.evict(10, 1), 1, 'one look');
    t.equal(table.count, 6, 'at an assured one');
    t.equal(table.evict(10, 16), 1);
    t.notOk(isThere(1));
    t.equal(table.evict(10, 16), 2);
    t.notOk(isThere(3));
    t.equal(table.evict(10, 16), 1);
    t.notOk(isThere(4), 'expired');
    t.equal(table.evict(10, 16), 1);
    t.notOk(isThere(5));
    t.equal(table.evict(10, 16), 6, 'only assured ones are left: once round, over the entries in use');
    t.ok(isThere(0) && isThere(2));
  },
);

t.test('entries that never held a flow are not looked at, nor by the next process', async (t) => {
  const file = new ArrayBuffer(flowFileBytes(FAMILY.V4, 16));
  const table = open(file, 16);
  t.equal(table.sweepCount, 0);
  const first = create(table, { src: 1, dst: 2, ports: 3 });
  create(table, { src: 2, dst: 2, ports: 3 });
  table.remove(first);
  create(table, { src: 3, dst: 2, ports: 3 });
  t.equal(table.sweepCount, 2, 'the entry that was given back is used first');
  const next = open(file, 16);
  t.equal(next.sweepCount, 2);
  t.equal(next.count, 2);
  new Int32Array(file)[FLOW_FILE.USED] = -1;
  t.equal(open(file, 16).count, 2, 'a number that cannot be: all entries are looked at');
});

t.test(
  'an entry that was not confirmed, or was being removed, is not a flow for the next process',
  async (t) => {
    const file = new ArrayBuffer(flowFileBytes(FAMILY.V4, 8));
    const table = open(file, 8);
    create(table, { src: 1, dst: 2, ports: 3 });
    const at = table.allocate();
    table.entries.fill(7, at + 1, at + WORDS); // everything but STATUS is written, then the process is killed
    const next = open(file, 8);
    t.equal(next.count, 1);
    t.not(find(next, { src: 1, dst: 2, ports: 3 }), NO_FLOW);
  },
);

t.test('of two records with one tuple only one is taken over', async (t) => {
  const file = new ArrayBuffer(flowFileBytes(FAMILY.V4, 8));
  const table = open(file, 8);
  create(table, { src: 1, dst: 2, ports: 3 });
  const words = table.entries;
  words.copyWithin(5 * WORDS, 0, WORDS);
  new Int32Array(file)[FLOW_FILE.USED] = 6;
  t.ok((words[5 * WORDS] & STATUS.LIVE) !== 0);
  const next = open(file, 8);
  t.equal(next.count, 1);
  next.remove(find(next, { src: 1, dst: 2, ports: 3 }));
  t.equal(next.count, 0);
});

t.test('a file of something else is refused with its reason', async (t) => {
  const file = (change: (header: Int32Array) => void) => {
    const bytes = new ArrayBuffer(flowFileBytes(FAMILY.V4, 8));
    open(bytes, 8);
    change(new Int32Array(bytes));
    return bytes;
  };
  const opening = (bytes: ArrayBuffer) => () => open(bytes, 8);
  t.throws(opening(file((header) => (header[FLOW_FILE.MAGIC] = 1))), new FlowFileError('not a flow table'));
  t.throws(opening(file((header) => (header[FLOW_FILE.VERSION] = 9))), /layout \(version 9\)/);
  t.throws(opening(file((header) => (header[FLOW_FILE.CAPACITY] = 16))), /for 16 flows, not 8/);
  t.throws(() => open(new ArrayBuffer(100), 8), /fits the capacity/);
  t.throws(() => fresh(12), /power of two/);
});

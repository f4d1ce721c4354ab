import fc from 'fast-check';
import t from 'tap';
import { ENTRY, ENTRY_BYTES, STATUS, TUPLE, tupleAt } from '../../src/conntrack/entry.js';
import {
  FLOW_FILE,
  FlowFileError,
  FlowTable,
  flowFileBytes,
  NO_FLOW,
} from '../../src/conntrack/flow-table.js';
import { holds } from '../support/property.js';

const UDP = 17;
const SEED = 7;

interface Tuple {
  src: number;
  dst: number;
  ports: number;
}

const reverseOf = (flow: Tuple): Tuple => ({ src: flow.dst, dst: -flow.src - 1, ports: ~flow.ports });
const fresh = (capacity: number): FlowTable =>
  new FlowTable(new ArrayBuffer(flowFileBytes(capacity)), capacity, SEED);

function create(table: FlowTable, original: Tuple, expires = 1000, reply = reverseOf(original)): number {
  const at = table.allocate();
  if (at < 0) return NO_FLOW;
  table.entries[at + ENTRY.EXPIRES] = expires;
  for (const [direction, { src, dst, ports }] of [original, reply].entries()) {
    const tuple = tupleAt(at, direction);
    table.entries[tuple + TUPLE.SRC] = src;
    table.entries[tuple + TUPLE.DST] = dst;
    table.entries[tuple + TUPLE.PORTS] = ports;
  }
  return table.confirm(at, UDP);
}

const find = (table: FlowTable, { src, dst, ports }: Tuple) => table.find(src, dst, ports, UDP);

t.test('a flow is found by both of its tuples, and by nothing else', async (t) => {
  const table = fresh(16);
  const flow = { src: 1, dst: 2, ports: 3 };
  const made = create(table, flow);
  t.equal(find(table, flow), made);
  t.equal(find(table, reverseOf(flow)), made + 1);
  t.equal(table.find(1, 2, 3, 6), NO_FLOW, 'another protocol');
  t.equal(find(table, { src: 1, dst: 2, ports: 4 }), NO_FLOW);
  t.equal(table.count, 1);
  table.remove(made + 1);
  t.equal(find(table, flow), NO_FLOW);
  t.equal(find(table, reverseOf(flow)), NO_FLOW);
  t.equal(table.count, 0);
});

t.test('an entry is one cache line', async (t) => t.equal(ENTRY_BYTES, 64));

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
        const file = new ArrayBuffer(flowFileBytes(capacity));
        let table = new FlowTable(file, capacity, SEED);
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
            table.reap(now, capacity);
            for (const [key, { expires }] of model) if (expires <= now) model.delete(key);
          } else if (c.kind === 'reattach') {
            table = new FlowTable(file, capacity, SEED + now + 1);
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
  for (let slice = 0; slice < 8; slice++) reaped += table.reap(10, 2);
  t.equal(reaped, 8, 'EXPIRES is the first second without the flow');
  t.equal(table.count, 8);
  t.equal(table.reap(19, 16), 0);
  t.equal(table.reap(20, 16), 8);
});

t.test(
  'an entry that was not confirmed, or was being removed, is not a flow for the next process',
  async (t) => {
    const file = new ArrayBuffer(flowFileBytes(8));
    const table = new FlowTable(file, 8, SEED);
    create(table, { src: 1, dst: 2, ports: 3 });
    const at = table.allocate();
    table.entries.fill(77, at + 1, at + ENTRY.WORDS); // everything but STATUS is written, then the process is killed
    const next = new FlowTable(file, 8, SEED);
    t.equal(next.count, 1);
    t.not(find(next, { src: 1, dst: 2, ports: 3 }), NO_FLOW);
  },
);

t.test('of two records with one tuple only one is taken over', async (t) => {
  const file = new ArrayBuffer(flowFileBytes(8));
  const table = new FlowTable(file, 8, SEED);
  create(table, { src: 1, dst: 2, ports: 3 });
  const words = table.entries;
  words.copyWithin(5 * ENTRY.WORDS, 0, ENTRY.WORDS);
  t.ok((words[5 * ENTRY.WORDS] & STATUS.LIVE) !== 0);
  const next = new FlowTable(file, 8, SEED);
  t.equal(next.count, 1);
  next.remove(find(next, { src: 1, dst: 2, ports: 3 }));
  t.equal(next.count, 0);
});

t.test('a file of something else is refused with its reason', async (t) => {
  const file = (change: (header: Int32Array) => void) => {
    const bytes = new ArrayBuffer(flowFileBytes(8));
    new FlowTable(bytes, 8, SEED);
    change(new Int32Array(bytes));
    return bytes;
  };
  const open = (bytes: ArrayBuffer) => () => new FlowTable(bytes, 8, SEED);
  t.throws(open(file((header) => (header[FLOW_FILE.MAGIC] = 1))), new FlowFileError('not a flow table'));
  t.throws(open(file((header) => (header[FLOW_FILE.VERSION] = 9))), /layout \(version 9\)/);
  t.throws(open(file((header) => (header[FLOW_FILE.CAPACITY] = 16))), /for 16 flows, not 8/);
  t.throws(() => new FlowTable(new ArrayBuffer(100), 8, SEED), /fits the capacity/);
  t.throws(() => fresh(12), /power of two/);
});

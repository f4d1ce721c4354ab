/** Flows by endpoint: counted by each worker, asked for over all of them. */
import t from 'tap';
import { ActiveFlows } from '../../src/conntrack/active-flows.js';
import { ENTRY, STATUS } from '../../src/conntrack/entry.js';
import { FlowTable, flowFileBytes } from '../../src/conntrack/flow-table.js';
import { FAMILY } from '../../src/wire/family.js';

const ENDPOINTS = 8;
const WORKERS = 3;
const words = (): Int32Array => new Int32Array(new SharedArrayBuffer(WORKERS * ENDPOINTS * 4));

t.test('what every worker counts is one sum', async (t) => {
  const shared = words();
  const workers = Array.from(
    { length: WORKERS },
    (_, worker) => new ActiveFlows(shared, { worker, workers: WORKERS }),
  );
  workers.forEach((active, worker) => {
    active.own[5] = 10 ** worker;
    active.own[0] = 1;
    active.own[ENDPOINTS - 1] = 2;
  });
  for (const active of workers)
    t.strictSame(
      [0, 4, 5, 7].map((endpoint) => active.of(endpoint)),
      [3, 0, 111, 6],
    );
});

t.test(
  'a worker that starts again, with the flows of the one before it, counts each of them once',
  async (t) => {
    const shared = words();
    const share = { worker: 1, workers: WORKERS };
    const file = new ArrayBuffer(flowFileBytes(FAMILY.V4, 8));
    const start = (): FlowTable => {
      const active = new ActiveFlows(shared, share).own;
      return new FlowTable(file, { family: FAMILY.V4, capacity: 8, seed: 1, active });
    };
    const other = new ActiveFlows(shared, { worker: 2, workers: WORKERS });
    other.own[5] = 7;
    const flows = start();
    const at = flows.allocate();
    flows.entries[at + ENTRY.ENDPOINT] = 5;
    const tuple = flows.tupleOf(at, 0);
    flows.entries[tuple] = 1;
    flows.confirm(
      at,
      STATUS.LIVE | 17,
      flows.hash(flows.entries, tuple, 17),
      flows.hash(flows.entries, tuple + 3, 17),
    );
    t.equal(other.of(5), 8);
    start(); // killed in between: nothing was taken back
    t.equal(other.of(5), 8);
  },
);

t.test('words that are no row for each worker are refused', async (t) => {
  t.throws(
    () => new ActiveFlows(new Int32Array(7), { worker: 0, workers: WORKERS }),
    /every worker has a row/,
  );
});

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { FLOW_FILE, flowFileBytes } from '../../src/conntrack/flow-table.js';
import { DropReason } from '../../src/dataplane/verdict.js';
import { FlowTableWatch, fullTableText } from '../../src/observe/flow-table-watch.js';
import { topTalkers } from '../../src/observe/top-talkers.js';
import { COUNTER, TOTALS } from '../../src/table/counters.js';
import { ipv4Word } from '../../src/wire/address.js';
import { FAMILY } from '../../src/wire/family.js';
import { TestDataplane } from '../support/dataplane.js';
import { holds } from '../support/property.js';

const VIP = '10.96.0.10:53';
const VIP6 = '[fd00:96::10]:53';
const SERVICES = { [`${VIP}/udp`]: ['10.244.0.9:53'], [`${VIP6}/udp`]: ['[fd00:244::9]:53'] };

/** A table in which the clients have so many flows, each one's first one answered. */
function filled(clients: Record<string, number>, vip = VIP, flowFile?: ArrayBuffer): TestDataplane {
  const plane = new TestDataplane(SERVICES, {
    flowCapacity: 1024,
    ...(flowFile && { flowFiles: [flowFile] }),
  });
  for (const [client, flows] of Object.entries(clients)) {
    for (let port = 1; port <= flows; port++) {
      const there = plane.forward({ from: `${client}:${port}`, to: vip, protocol: 'udp' });
      if (port === 1) plane.forward({ from: there.to, to: there.from, protocol: 'udp' });
    }
  }
  return plane;
}

t.test('the sources with the most flows, of both families', async (t) => {
  const plane = filled({ '10.0.0.1': 3, '10.0.0.2': 30, '10.0.0.3': 7 });
  const { entries, sweepCount } = plane.cx.flows[FAMILY.V4];
  t.strictSame(topTalkers(entries, FAMILY.V4, sweepCount, 2), {
    flows: 40,
    unreplied: 37,
    sources: 3,
    top: [
      { source: [ipv4Word('10.0.0.2')], flows: 30, unreplied: 29 },
      { source: [ipv4Word('10.0.0.3')], flows: 7, unreplied: 6 },
    ],
    step: 1,
  });
  const six = filled({ '[fd00::1]': 2, '[fd00::2]': 5 }, VIP6).cx.flows[FAMILY.V6];
  const found = topTalkers(six.entries, FAMILY.V6, six.sweepCount, 5);
  t.match(found, { flows: 7, sources: 2, top: [{ flows: 5 }, { flows: 2 }] });
  t.match(
    fullTableText(FAMILY.V6, 8, found, { evicted: 3, dropped: 4 }),
    /^the IPv6 flow table is full \(7 of 8 flows, 5 unanswered, 2 sources\): 3 that were not established made room and 4 packets were dropped; most flows: fd00::2 5 \(4 unanswered\), fd00::1 2 \(1 unanswered\); --max-flows makes room for more$/,
  );
});

t.test('what it counts is what a plain count says, whoever talks', async () => {
  const clients = fc.dictionary(
    fc.nat(30).map((last) => `10.0.0.${last}`),
    fc.integer({ min: 1, max: 9 }),
    { maxKeys: 12 },
  );
  holds(
    fc.property(clients, (given) => {
      const { entries, sweepCount } = filled(given).cx.flows[FAMILY.V4];
      const { flows, sources, top } = topTalkers(entries, FAMILY.V4, sweepCount, 1000);
      const counts = Object.values(given);
      const expected = [...counts].sort((a, b) => b - a);
      return (
        sources === counts.length &&
        flows === counts.reduce((sum, count) => sum + count, 0) &&
        JSON.stringify(top.map((talker) => talker.flows)) === JSON.stringify(expected)
      );
    }),
    30,
  );
});

t.test('a large table is sampled', async (t) => {
  const { entries, sweepCount } = filled({ '10.0.0.1': 300, '10.0.0.2': 600 }).cx.flows[FAMILY.V4];
  const found = topTalkers(entries, FAMILY.V4, sweepCount, 2, 90);
  t.equal(found.step, 10);
  t.strictSame(
    found.top.map(({ flows }) => flows),
    [600, 300],
  );
});

t.test('the watch speaks when the counters have moved, once a minute, and of the fuller table', async (t) => {
  const dir = t.testdir();
  const file = new ArrayBuffer(flowFileBytes(FAMILY.V4, 1024));
  filled({ '10.0.0.1': 1000, '10.0.0.2': 24 }, VIP, file);
  const flows = [join(dir, 'flows4'), join(dir, 'flows6')];
  writeFileSync(flows[0], new Uint8Array(file));
  const counters = new Float64Array(TOTALS);
  const countersPath = join(dir, 'counters');
  const said: string[] = [];
  let nowMs = 0;
  const watch = new FlowTableWatch({
    workers: [{ countersPath, flowsPaths: flows }],
    capacity: 1024,
    warn: (message) => said.push(message),
    nowMs: () => nowMs,
  });
  const check = (evicted: number, dropped: number, afterMs: number) => {
    counters[COUNTER.FLOWS_EVICTED] = evicted;
    counters[COUNTER.DROPPED + DropReason.FlowTableFull] = dropped;
    writeFileSync(countersPath, counters);
    nowMs += afterMs;
    watch.check();
    return said.splice(0);
  };
  t.strictSame(check(0, 0, 5000), []);
  const [first] = check(5, 2, 5000);
  t.match(
    first,
    /IPv4 flow table is full \(1,024 of 1,024 flows.*5 that were not established made room and 2 packets/,
  );
  t.match(first, /most flows: 10\.0\.0\.1 1,000 \(999 unanswered\), 10\.0\.0\.2 24/);
  t.strictSame(check(6, 2, 5000), [], 'told a moment ago');
  t.strictSame(check(6, 2, 5000), []);
  t.match(
    check(6, 2, 60_000),
    [/: 1 that were not established made room and 0 packets/],
    'and what was not told',
  );
  t.strictSame(check(6, 2, 60_000), [], 'nothing new');
  t.strictSame(check(0, 0, 60_000), [], 'a worker that begins anew counts anew');
  t.notOk(existsSync(flows[1]), 'a file that is not there is not made');
  new Int32Array(file)[FLOW_FILE.MAGIC] = 1;
  writeFileSync(flows[0], new Uint8Array(file));
  t.strictSame(check(9, 9, 60_000), [], 'no word about a file that is not a flow table');
  watch.close();
});

import fc from 'fast-check';
import t from 'tap';
import { TableBuilder } from '../../src/table/builder.js';
import {
  ADDRESS_FLAG,
  ALGORITHM,
  cascadeThreshold,
  ENDPOINT,
  ENDPOINT_STATE,
  FRONTEND,
  FRONTEND_KIND,
  frontendKey,
  HEADER,
  nodePortKey,
  PORT,
  wholeAddressKey,
} from '../../src/table/layout.js';
import { NO_FRONTEND, ServiceTable, TableFormatError } from '../../src/table/service-table.js';
import { holds } from '../support/property.js';

const TCP = 6;
const UNUSED = { ranges: [], affinitySec: 0, row: 0, maglev: false, algorithm: ALGORITHM.CASCADE, flags: 0 };
const NO_STATES = new Int32Array(0);

const addressOf = (family: number, value: number): number[] =>
  family === 0 ? [value] : [value, 0, ~value, 7];
const endpoint = fc.record({
  value: fc.integer(),
  port: fc.integer({ min: 1, max: 0xffff }),
  id: fc.nat(1000),
  weight: fc.nat(9),
});
// Few distinct addresses and ports, so that frontends share them and neighbours collide.
const frontend = fc.record({
  family: fc.constantFrom(0, 1),
  value: fc.integer({ min: -20, max: 20 }),
  port: fc.integer({ min: 1, max: 20 }),
  protocol: fc.constantFrom(TCP, 17, 132),
  kind: fc.constantFrom(...Object.values(FRONTEND_KIND)),
  cluster: fc.array(endpoint, { maxLength: 6 }),
  local: fc.array(endpoint, { maxLength: 3 }),
});
const identityOf = (f: { family: number; value: number; port: number; protocol: number }) =>
  `${f.family} ${f.value} ${f.port} ${f.protocol}`;
const frontends = fc.uniqueArray(frontend, { selector: identityOf, maxLength: 300 });

t.test('a lookup answers what a plain Map answers, on random services of both families', async () => {
  holds(
    fc.property(frontends, (list) => {
      const builder = new TableBuilder(0);
      const plain = new Map<string, (typeof list)[number]>();
      for (const f of list) {
        const set = (endpoints: typeof f.cluster) =>
          endpoints.map(({ value, ...rest }) => ({ address: addressOf(f.family, value), ...rest }));
        const port = builder.addPort({
          ...UNUSED,
          family: f.family,
          protocol: f.protocol,
          cluster: set(f.cluster),
          local: set(f.local),
        });
        builder.addFrontend(f.kind, f.family, addressOf(f.family, f.value), f.port, f.protocol, port);
        plain.set(identityOf(f), f);
      }
      const table = ServiceTable.from(builder.finish(NO_STATES));
      const read = (set: number, count: number) =>
        Array.from({ length: table.words[set + 1] }, (_, i) => {
          const at = table.endpointAt(set, i);
          return [
            ...table.words.subarray(at, at + count),
            table.words[at + ENDPOINT.PORT],
            table.words[at + ENDPOINT.ID],
            table.words[at + ENDPOINT.WEIGHT],
          ];
        });
      for (const family of [0, 1]) {
        for (let value = -21; value <= 21; value++) {
          const address = Int32Array.from([99, ...addressOf(family, value)]);
          const count = address.length - 1;
          for (let port = 1; port <= 21; port++) {
            const found = table.find(address, 1, count, frontendKey(family, port, TCP));
            const expected = plain.get(identityOf({ family, value, port, protocol: TCP }));
            if ((found === NO_FRONTEND) !== (expected === undefined)) return false;
            if (expected === undefined) continue;
            if (table.words[found + FRONTEND.KIND] !== expected.kind) return false;
            const record = table.words[found + FRONTEND.PORT];
            const plainSet = (endpoints: typeof expected.cluster) =>
              endpoints.map((e) => [...addressOf(family, e.value), e.port, e.id, e.weight]);
            const same = (set: number, endpoints: typeof expected.cluster) =>
              JSON.stringify(read(set, count)) === JSON.stringify(plainSet(endpoints));
            if (!same(record + PORT.CLUSTER, expected.cluster) || !same(record + PORT.LOCAL, expected.local))
              return false;
          }
        }
      }
      return true;
    }),
  );
});

t.test('an address is known as a whole, its flags add up, and a NodePort has no address', async (t) => {
  const builder = new TableBuilder(0);
  builder.addAddress(0, [1], ADDRESS_FLAG.LOCAL);
  builder.addAddress(0, [1], ADDRESS_FLAG.NODE_PORTS);
  const port = builder.addPort({ ...UNUSED, family: 0, protocol: TCP, cluster: [], local: [] });
  builder.addFrontend(FRONTEND_KIND.NODE_PORT, 0, [], 3000, TCP, port);
  const table = ServiceTable.from(builder.finish(NO_STATES));
  const whole = table.find(Int32Array.of(1), 0, 1, wholeAddressKey(0));
  t.equal(table.words[whole + FRONTEND.KIND], ADDRESS_FLAG.LOCAL | ADDRESS_FLAG.NODE_PORTS);
  t.equal(table.find(Int32Array.of(1), 0, 1, frontendKey(0, 3000, TCP)), NO_FRONTEND);
  t.not(table.find(Int32Array.of(1), 0, 0, nodePortKey(0, 3000, TCP)), NO_FRONTEND);
  t.equal(table.find(Int32Array.of(1), 0, 0, nodePortKey(1, 3000, TCP)), NO_FRONTEND, 'the other family');
});

t.test('a prefix holds the addresses whose masked words are its own', async (t) => {
  const builder = new TableBuilder(0);
  builder.setPrefixes(
    [
      { family: 0, network: [0x0a], mask: [0xff] },
      { family: 1, network: [1, 2, 0, 0], mask: [-1, -1, 0, 0] },
    ],
    [],
    [{ family: 0, network: [0x0a], mask: [0xffff] }],
  );
  const table = ServiceTable.from(builder.finish(NO_STATES));
  const inPods = (family: number, ...words: number[]) =>
    table.inPrefixes(HEADER.POD_PREFIXES, Int32Array.from(words), 0, words.length, family);
  t.equal(inPods(0, 0x0a), true);
  t.equal(inPods(0, 0x7f00000a), true);
  t.equal(inPods(0, 0x0b), false);
  t.equal(inPods(1, 1, 2, 9, 9), true);
  t.equal(inPods(1, 1, 3, 9, 9), false);
  t.equal(inPods(1, 0x0a, 0, 0, 0), false, 'an IPv4 prefix is none for IPv6');
  const onOneLink = (a: number, b: number) =>
    table.inOnePrefix(HEADER.LINK_PREFIXES, Int32Array.of(a), 0, Int32Array.of(b), 0, 1, 0);
  t.equal(onOneLink(0x0100000a, 0x0200000a), true);
  t.equal(onOneLink(0x0100000a, 0x0200010a), false, 'only one of them is on it');
  t.equal(table.inPrefixes(HEADER.SERVICE_PREFIXES, Int32Array.of(0x0a), 0, 1, 0), false);
});

t.test('the state of an id that the table does not know is GONE', async (t) => {
  const table = ServiceTable.from(new TableBuilder(0).finish(Int32Array.of(ENDPOINT_STATE.LIVE, 77)));
  t.strictSame(
    [0, 1, 2].map((id) => table.stateOf(id)),
    [ENDPOINT_STATE.LIVE, 77, ENDPOINT_STATE.GONE],
  );
});

t.test('the same frontends give the same bytes', async (t) => {
  const make = () => {
    const builder = new TableBuilder(0);
    for (let i = 1; i < 500; i++) {
      const cluster = [{ address: [i], port: 80, id: i, weight: 1 }];
      const port = builder.addPort({ ...UNUSED, family: 0, protocol: TCP, cluster, local: [] });
      builder.addFrontend(FRONTEND_KIND.CLUSTER_IP, 0, [i * 7919], i, TCP, port);
    }
    return Buffer.from(builder.finish(NO_STATES));
  };
  t.ok(make().equals(make()));
});

t.test('an empty table finds nothing', async (t) => {
  const table = ServiceTable.from(new TableBuilder(0).finish(NO_STATES));
  t.equal(table.find(Int32Array.of(0), 0, 1, wholeAddressKey(0)), NO_FRONTEND);
  t.equal(table.find(Int32Array.of(1), 0, 1, frontendKey(0, 80, TCP)), NO_FRONTEND);
});

t.test('a frontend is added once', async (t) => {
  const builder = new TableBuilder(0);
  builder.addFrontend(FRONTEND_KIND.CLUSTER_IP, 0, [1], 80, TCP, 0);
  t.throws(() => builder.addFrontend(FRONTEND_KIND.EXTERNAL_IP, 0, [1], 80, TCP, 0), /added once/);
});

t.test('bytes that are no table of this version are refused', async (t) => {
  const good = () => new TableBuilder(0).finish(NO_STATES);
  const changed = (at: number, value: number) => {
    const bytes = good();
    new Int32Array(bytes)[at] = value;
    return bytes;
  };
  t.throws(() => ServiceTable.from(new ArrayBuffer(0)), TableFormatError);
  t.throws(() => ServiceTable.from(new ArrayBuffer(63)), TableFormatError);
  t.throws(() => ServiceTable.from(new ArrayBuffer(4096)), /magic/);
  t.throws(() => ServiceTable.from(changed(HEADER.VERSION, 1)), /version 1, this is 4/);
  t.throws(() => ServiceTable.from(changed(HEADER.WORDS, 5)), TableFormatError);
});

t.test("the cascade's thresholds are the probabilities that iptables prints", async (t) => {
  // As iptables -L prints them, 11 digits of a multiple of 2^-31; the first three are in the wild.
  const printed = (n: number) => (cascadeThreshold(n) / 2 ** 31).toFixed(11);
  t.equal(printed(2), '0.50000000000');
  t.equal(printed(3), '0.33333333349');
  t.equal(printed(4), '0.25000000000');
});

t.test('the cascade is uniform for every number of endpoints from 1 to 250', async (t) => {
  for (let n = 1; n <= 250; n++) {
    let reached = 1;
    for (let remaining = n; remaining >= 1; remaining--) {
      const probability = remaining === 1 ? 1 : cascadeThreshold(remaining) / 2 ** 31;
      const share = reached * probability;
      if (Math.abs(share * n - 1) > 1e-7) t.fail(`n=${n}: endpoint ${n - remaining} gets ${share}`);
      reached *= 1 - probability;
    }
  }
});

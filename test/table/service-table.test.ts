import fc from 'fast-check';
import t from 'tap';
import { TableBuilder } from '../../src/table/builder.js';
import { cascadeThreshold, ENDPOINT, frontendKey, HEADER, WHOLE_ADDRESS } from '../../src/table/layout.js';
import { NO_FRONTEND, ServiceTable, TableFormatError } from '../../src/table/service-table.js';
import { holds } from '../support/property.js';

const TCP = 6;
const endpoint = fc.record({
  address: fc.integer(),
  port: fc.integer({ min: 1, max: 0xffff }),
  id: fc.nat(1000),
});
// Few distinct addresses and ports, so that frontends share them and neighbours collide.
const frontend = fc.record({
  address: fc.integer({ min: -40, max: 40 }),
  port: fc.integer({ min: 1, max: 20 }),
  protocol: fc.constantFrom(TCP, 17, 132),
  endpoints: fc.array(endpoint, { maxLength: 6 }),
});
const frontends = fc.uniqueArray(frontend, {
  selector: (f) => `${f.address} ${f.port} ${f.protocol}`,
  maxLength: 300,
});

t.test('a lookup answers what a plain Map answers, on random services', async () => {
  holds(
    fc.property(frontends, (list) => {
      const builder = new TableBuilder();
      const plain = new Map<string, (typeof list)[number]>();
      for (const f of list) {
        builder.add(f.address, f.port, f.protocol, f.endpoints);
        plain.set(`${f.address} ${f.port} ${f.protocol}`, f);
      }
      const addresses = new Set(list.map((f) => f.address));
      const table = ServiceTable.from(builder.finish());
      for (let address = -42; address <= 42; address++) {
        if ((table.find(address, WHOLE_ADDRESS) !== NO_FRONTEND) !== addresses.has(address)) return false;
        for (let port = 1; port <= 21; port++) {
          const found = table.find(address, frontendKey(port, TCP));
          const expected = plain.get(`${address} ${port} ${TCP}`);
          if ((found === NO_FRONTEND) !== (expected === undefined)) return false;
          if (expected === undefined) continue;
          const read = Array.from({ length: table.endpointsOf(found) }, (_, i) => {
            const at = table.endpointAt(found, i);
            const { words } = table;
            return {
              address: words[at + ENDPOINT.ADDRESS],
              port: words[at + ENDPOINT.PORT],
              id: words[at + ENDPOINT.ID],
            };
          });
          if (JSON.stringify(read) !== JSON.stringify(expected.endpoints)) return false;
        }
      }
      return true;
    }),
  );
});

t.test('the same frontends give the same bytes', async (t) => {
  const make = () => {
    const builder = new TableBuilder();
    for (let i = 1; i < 500; i++) builder.add(i * 7919, i, TCP, [{ address: i, port: 80, id: i }]);
    return Buffer.from(builder.finish());
  };
  t.ok(make().equals(make()));
});

t.test('an empty table finds nothing', async (t) => {
  const table = ServiceTable.from(new TableBuilder().finish());
  t.equal(table.find(0, WHOLE_ADDRESS), NO_FRONTEND);
  t.equal(table.find(1, frontendKey(80, TCP)), NO_FRONTEND);
});

t.test('a frontend is added once', async (t) => {
  const builder = new TableBuilder();
  builder.add(1, 80, TCP, []);
  t.throws(() => builder.add(1, 80, TCP, []), /added once/);
});

t.test('bytes that are no table of this version are refused', async (t) => {
  const good = () => new TableBuilder().finish();
  const changed = (at: number, value: number) => {
    const bytes = good();
    new Int32Array(bytes)[at] = value;
    return bytes;
  };
  t.throws(() => ServiceTable.from(new ArrayBuffer(0)), TableFormatError);
  t.throws(() => ServiceTable.from(new ArrayBuffer(63)), TableFormatError);
  t.throws(() => ServiceTable.from(new ArrayBuffer(4096)), /magic/);
  t.throws(() => ServiceTable.from(changed(HEADER.VERSION, 2)), /version 2, this is 1/);
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

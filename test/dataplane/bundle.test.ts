/** The packet's way joined into one module (scripts/bundle.ts) and as it was written: what goes in comes out the same. */
import fc from 'fast-check';
import t from 'tap';
import { COALESCE } from '../../src/dataplane/coalesce.js';
import { InMemoryDataplane } from '../../src/dataplane/in-memory.js';
import { snatPoolAt } from '../../src/host/snat-pool.js';
import { ENDPOINT_ROWS } from '../../src/table/counters.js';
import { tableOf } from '../support/dataplane.js';
import { frame, type TcpFlag, view } from '../support/packets.js';
import { holds } from '../support/property.js';

const BUNDLE = new URL('../../bundle/bench.js', import.meta.url).href;

const DESTINATIONS = ['10.96.0.1:80', '10.96.0.1:53', '10.96.0.2:80', '[fd00:96::1]:80', '192.0.2.1:80'];
const TABLE = tableOf({
  '10.96.0.1:80/tcp': ['10.244.0.1:80', '10.244.0.2:80'],
  '10.96.0.1:53/udp': ['10.244.0.1:53'],
  '10.96.0.2:80/tcp': { endpoints: ['10.244.0.1:80', '10.244.0.3:80'], retry: true, affinitySec: 60 },
  '[fd00:96::1]:80/tcp': ['[fd00:244::1]:80', '[fd00:244::2]:80'],
});

const flags = fc.constantFrom<TcpFlag[]>(['SYN'], ['ACK'], ['ACK', 'PSH'], ['SYN', 'ACK'], ['FIN', 'ACK']);
const payload = fc.nat(40).map((length) => new Uint8Array(length).fill(7));
const shape = { flags, payload, partial: fc.boolean() };
/** The first to a destination, the second an answer to one of those that came out before. */
const packet = fc.oneof(
  fc.record({ ...shape, to: fc.constantFrom(...DESTINATIONS), port: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ ...shape, answers: fc.nat(1000) }),
);

t.test('the bundle and the modules forward the same bytes and count the same', async () => {
  const bundle = (await import(BUNDLE)) as { InMemoryDataplane: typeof InMemoryDataplane };
  holds(
    fc.property(
      fc.array(fc.array(packet, { maxLength: 80 }), { maxLength: 8 }),
      fc.integer(),
      (batches, seed) => {
        const [written, bundled] = [InMemoryDataplane, bundle.InMemoryDataplane].map(
          (Plane) =>
            new Plane({
              ...{ table: TABLE, seed, flowCapacity: 64, coalesce: COALESCE.TCP | COALESCE.UDP },
              snatPools: ['198.18.0.0/24', 'fd00:198:18::/120'].map(snatPoolAt),
              turns: new Int32Array(new SharedArrayBuffer(256 * 4)),
              active: new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS * 4)),
            }),
        ) as [InMemoryDataplane, InMemoryDataplane];
        const seen = [{ from: '10.0.1.1:1', to: '10.96.0.1:80' }];
        for (const batch of batches) {
          const frames = batch.map((one) => {
            const ends =
              'to' in one ? { from: clientOf(one), to: one.to } : answerTo(seen[one.answers % seen.length]!);
            return frame({
              ...one,
              ...ends,
              protocol: `${ends.from} ${ends.to}`.includes(':53') ? 'udp' : 'tcp',
            });
          });
          const out = written.send(...frames);
          const twin = bundled.send(...frames);
          if (Buffer.compare(Buffer.concat(out), Buffer.concat(twin)) !== 0) return false;
          seen.push(...out.map(view));
        }
        return written.cx.counters.every((value, i) => value === bundled.cx.counters[i]);
      },
    ),
  );
});

const answerTo = ({ from, to }: { from: string; to: string }) => ({ from: to, to: from });

const clientOf = ({ to, port }: { to: string; port: number }): string =>
  to.startsWith('[') ? `[fd00::1]:${port}` : `10.0.1.1:${port}`;

/** Shards: a pure function of address and port, invertible in the port, and even. */
import fc from 'fast-check';
import t from 'tap';
import { ownerOf, portOfShard, SHARDS, shardOf, stirWords } from '../../src/conntrack/owner.js';
import { half } from '../../src/wire/byte-order.js';
import { holds } from '../support/property.js';

const words = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 4 });
const stirred = (given: readonly number[]): number => stirWords(Int32Array.from(given), 0, given.length);

t.test('a port is worked out for any address and shard, and puts the address there', async () => {
  holds(
    fc.property(words, fc.nat(SHARDS - 1), fc.nat(255), (address, shard, low) => {
      const port = portOfShard(stirred(address), shard, low);
      return port >= 0 && port < 65536 && shardOf(stirred(address), port) === shard;
    }),
  );
});

t.test(
  'the 256 ports of a shard are 256 different ones, and those of all shards are all ports',
  async (t) => {
    const address = stirred([0x0100a8c0]);
    const ports = new Set<number>();
    for (let shard = 0; shard < SHARDS; shard++) {
      const ofShard = new Set<number>();
      for (let low = 0; low < 256; low++) ofShard.add(portOfShard(address, shard, low));
      t.equal(ofShard.size, 256);
      for (const port of ofShard) ports.add(port);
    }
    t.equal(ports.size, 65536);
  },
);

t.test('every shard has 250 to 256 unprivileged ports of an address', async (t) => {
  const counts = new Array<number>(SHARDS).fill(0);
  const address = stirred([0x0212c6c6]);
  for (let port = 1024; port < 65536; port++) counts[shardOf(address, half(port))]!++;
  t.ok(Math.min(...counts) >= 250, `${Math.min(...counts)}`);
});

// What Linux gives out: even ports only for connect(2), in a row or not (inet_hash_connect).
const clients: readonly (readonly [name: string, of: (i: number) => [address: number, port: number]])[] = [
  ['even ports of one client in a row', (i) => [0x0201000a, 32768 + 2 * i]],
  ['odd ports of one client in a row', (i) => [0x0201000a, 32769 + 2 * i]],
  ['one port of clients in a row', (i) => [(0x0a000000 + i) | 0, 40000]],
  ['one port of clients in rows of 256', (i) => [((i & 0xff) << 24) | ((i >> 8) << 16) | 0xf40a, 40000]],
];
for (const [name, of] of clients) {
  for (const workers of [2, 3, 4, 7, 16]) {
    t.test(`${name} are spread over ${workers} workers`, async (t) => {
      const counts = new Array<number>(workers).fill(0);
      const clientsCount = 4096;
      for (let i = 0; i < clientsCount; i++) {
        const [address, port] = of(i);
        counts[ownerOf(shardOf(stirred([address]), half(port)), workers)]!++;
      }
      const even = clientsCount / workers;
      t.ok(Math.max(...counts) < 1.25 * even && Math.min(...counts) > 0.75 * even, counts.join(' '));
    });
  }
}

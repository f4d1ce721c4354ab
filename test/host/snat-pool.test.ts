import t from 'tap';
import { type SnatPool, snatPoolOf } from '../../src/host/snat-pool.js';
import { addressText, ipv4Text, parseCidr } from '../../src/wire/address.js';

const problem = (cidr: string) => snatPoolOf(parseCidr(cidr)!);

function pool(cidr: string): SnatPool {
  const made = snatPoolOf(parseCidr(cidr)!);
  if (typeof made === 'string') throw new Error(made);
  return made;
}

t.test('a /24 gives its first host address to the device and 253 to flows', async (t) => {
  const made = pool('198.18.0.0/24');
  t.equal(made.own, '198.18.0.1');
  const addresses = [...made.addresses].map(ipv4Text);
  t.equal(addresses.length, 253);
  t.equal(addresses[0], '198.18.0.2');
  t.equal(addresses.at(-1), '198.18.0.254');
});

t.test('a /30 is the smallest: one address for flows', async (t) => {
  const made = pool('203.0.113.252/30');
  t.equal(made.own, '203.0.113.253');
  t.strictSame([...made.addresses].map(ipv4Text), ['203.0.113.254']);
});

t.test('a large pool is used in part', async (t) => {
  const made = pool('198.18.0.0/15');
  t.equal(made.addresses.length, 4096);
  t.equal(ipv4Text(made.addresses[4095]), '198.18.16.1');
});

t.test("an IPv6 pool, without the routers' anycast address", async (t) => {
  const made = pool('fd00:198:18::/120');
  t.equal(made.own, 'fd00:198:18::1');
  t.equal(made.addresses.length, 254 * 4);
  t.equal(addressText(made.addresses, 0, 4), 'fd00:198:18::2');
  t.equal(addressText(made.addresses, 253 * 4, 4), 'fd00:198:18::ff');
  t.equal(addressText(made.network, 0, 4), 'fd00:198:18::');
  t.equal(addressText(made.mask, 0, 4), 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00');
  t.equal(pool('2001:db8::/64').addresses.length, 4096 * 4, 'a large one in part');
  t.equal(addressText(pool('2001:db8::/64').addresses, 4095 * 4, 4), '2001:db8::1001');
});

t.test('what cannot be a pool says why', async (t) => {
  t.match(problem('198.18.0.0/31'), /too small/);
  t.match(problem('fd00::/127'), /too small/);
});

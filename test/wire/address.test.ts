import fc from 'fast-check';
import t from 'tap';
import { ipv4MaskWord, ipv4Text, ipv4Word, parseCidr, parseIp } from '../../src/wire/address.js';
import { dportHalf, half, portsWord, sportHalf, swapPorts, word } from '../../src/wire/byte-order.js';
import { holds } from '../support/property.js';

t.test('an address word is the four bytes of the packet', async (t) => {
  const bytes = Uint8Array.of(10, 103, 145, 207);
  t.equal(ipv4Word('10.103.145.207'), new Int32Array(bytes.buffer)[0]);
});

t.test('text to word to text is the identity', async () => {
  const byte = fc.integer({ min: 0, max: 255 });
  holds(
    fc.property(
      byte,
      byte,
      byte,
      byte,
      (...bytes) => ipv4Text(ipv4Word(bytes.join('.'))) === bytes.join('.'),
    ),
  );
});

t.test('half and word are their own inverse', async () => {
  holds(fc.property(fc.integer({ min: 0, max: 0xffff }), (value) => half(half(value)) === value));
  holds(fc.property(fc.integer(), (value) => word(word(value)) === value));
});

t.test('a ports word holds both ports in packet order', async (t) => {
  const bytes = Uint8Array.of(0x9c, 0x40, 0x22, 0xb8); // 40000, 8888
  const ports = new Int32Array(bytes.buffer)[0];
  t.equal(half(sportHalf(ports)), 40_000);
  t.equal(half(dportHalf(ports)), 8888);
  t.equal(portsWord(half(40_000), half(8888)), ports);
  t.equal(swapPorts(ports), portsWord(half(8888), half(40_000)));
});

t.test('an address is exactly one address', async (t) => {
  const good: [string, string, string][] = [
    ['10.0.0.1', 'IPv4', '10.0.0.1'],
    ['0.0.0.0', 'IPv4', '0.0.0.0'],
    ['010.000.09.1', 'IPv4', '10.0.9.1'],
    ['2001:DB8::1', 'IPv6', '2001:db8::1'],
    ['::', 'IPv6', '::'],
  ];
  for (const [text, family, canonical] of good) t.strictSame(parseIp(text), { family, text: canonical });
  const bad = [
    '',
    ' 10.0.0.1',
    '10.0.0.1 ',
    '0x10.0.0.1',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.1/24',
    '1e2.0.0.1',
    'localhost',
  ];
  for (const text of [...bad, '::ffff:10.0.0.1', 'fe80::1%eth0', '::1::', '2001:db8::g', '[::1]']) {
    t.equal(parseIp(text), null, JSON.stringify(text));
  }
});

t.test('a CIDR is an address, a slash and a prefix length; host bits are cleared', async (t) => {
  t.strictSame(parseCidr('198.18.0.77/24'), {
    family: 'IPv4',
    text: '198.18.0.0/24',
    network: '198.18.0.0',
    prefixLength: 24,
  });
  t.strictSame(parseCidr('fd00:198:18::9/120')?.text, 'fd00:198:18::/120');
  t.strictSame(parseCidr('0.0.0.0/0')?.prefixLength, 0);
  t.strictSame(parseCidr('010.0.0.0/08')?.text, '10.0.0.0/8');
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/+8',
    '10.0.0.0/8/8',
    '/8',
    '::/129',
  ]) {
    t.equal(parseCidr(text), null, text);
  }
});

t.test('a mask word tells membership for every prefix length', async (t) => {
  for (let length = 0; length <= 32; length++) {
    const cidr = parseCidr(`203.0.113.171/${length}`)!;
    const inside = (address: string) => (ipv4Word(address) & ipv4MaskWord(length)) === ipv4Word(cidr.network);
    t.equal(inside('203.0.113.171'), true, `/${length}`);
    t.equal(inside('203.0.113.170'), length <= 31, `/${length}: the last bit`);
    t.equal(inside('75.0.113.171'), length === 0, `/${length}: the first bit`);
  }
});

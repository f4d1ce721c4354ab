/** What nobody sends who means well: each case has one named outcome and leaves no trace behind. */
import t from 'tap';
import { ALGORITHM } from '../../src/table/layout.js';
import { TestDataplane } from '../support/dataplane.js';
import { frame, type PacketSpec, type TcpFlag } from '../support/packets.js';
import { shows } from '../support/requirements.js';

const VIP = '10.96.0.1:80';
const CLIENT = '10.1.0.1:4000';
const ENDPOINTS = ['10.244.0.1:1', '10.244.0.2:1', '10.244.0.3:1'];

t.test('a packet of IP protocol 0 to an address of ours is for no Service', async (t) => {
  // Protocol and port 0 are how the table keeps an address as a whole: such a packet must not find it.
  const spec = { endpoints: ENDPOINTS, algorithm: ALGORITHM.ROUND_ROBIN };
  const plane = new TestDataplane({ [`${VIP}/tcp`]: spec });
  t.equal(plane.packet({ from: '10.1.0.1', to: '10.96.0.1', protocol: 0 }), undefined);
  t.strictSame(plane.counts, { received: 1, 'unsupported-protocol': 1 });
  t.equal(plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] }).to, ENDPOINTS[0], 'no turn was taken');
});

const VIP6 = '[fd00:96::1]:80';
const HTTP = { [`${VIP}/tcp`]: ENDPOINTS, [`${VIP}/udp`]: ENDPOINTS, [`${VIP6}/udp`]: ['[fd00:244::1]:1'] };

const dropped: { what: string; reason: string; spec: PacketSpec }[] = [
  {
    what: 'LAND: from the ClusterIP to itself',
    reason: 'land',
    spec: { from: VIP, to: VIP, flags: ['SYN'] },
  },
  { what: 'LAND over UDP', reason: 'land', spec: { from: VIP6, to: VIP6, protocol: 'udp' } },
  { what: 'from a ClusterIP', reason: 'own-source', spec: { from: '10.96.0.1:9', to: VIP, flags: ['SYN'] } },
  {
    what: 'from a ClusterIP',
    reason: 'own-source',
    spec: { from: '[fd00:96::1]:9', to: VIP6, protocol: 'udp' },
  },
  ...['0.0.0.0', '224.0.0.1', '239.255.255.255', '255.255.255.255'].map((ip) => ({
    what: `from ${ip}`,
    reason: 'martian-source',
    spec: { from: `${ip}:5`, to: VIP, protocol: 'udp' as const },
  })),
  ...['::', '::1', 'ff02::1', '::ffff:a01:1'].map((ip) => ({
    what: `from ${ip}`,
    reason: 'martian-source',
    spec: { from: `[${ip}]:5`, to: VIP6, protocol: 'udp' as const },
  })),
  { what: 'TTL 0', reason: 'ttl-zero', spec: { from: CLIENT, to: VIP, protocol: 'udp', ttl: 0 } },
  { what: 'TTL 0', reason: 'ttl-zero', spec: { from: '[fd00::2]:5', to: VIP6, protocol: 'udp', ttl: 0 } },
  {
    what: 'TTL 0 to a foreign address',
    reason: 'ttl-zero',
    spec: { from: CLIENT, to: '192.0.2.1:1', ttl: 0 },
  },
];
for (const { what, reason, spec } of dropped) {
  t.test(`${what} is dropped for ${reason}, not answered and not remembered`, async (t) => {
    const plane = new TestDataplane(HTTP);
    t.equal(plane.packet(spec), undefined);
    t.equal(plane.packet({ ...spec, to: spec.to.replace('80', '81') }), undefined, 'nor at an unserved port');
    t.match(plane.counts, { received: 2, [reason]: spec.from === spec.to ? 1 : 2 });
    t.equal(plane.flowCount, 0);
  });
}

t.test(
  'TTL 1 goes through as it is: the kernel behind the device counts the hop and answers',
  shows('RFC 5508 REQ-10a'),
  async (t) => {
    const plane = new TestDataplane(HTTP);
    t.match(plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'], ttl: 1 }), {
      ttl: 1,
      ipChecksumRight: true,
    });
    t.equal(plane.forward({ from: '[fd00::2]:5', to: VIP6, protocol: 'udp', ttl: 1 }).ttl, 1);
  },
);

t.test('sources of which only some are martian are served', async (t) => {
  for (const ip of ['0.0.0.1', '127.0.0.1', '223.255.255.255', '240.0.0.1', '255.255.255.254']) {
    const plane = new TestDataplane(HTTP);
    t.ok(plane.packet({ from: `${ip}:5`, to: VIP, protocol: 'udp' }), ip);
  }
  for (const ip of ['::2', '1::', 'fe80::1', '::1:0:1', '0:0:1::1']) {
    const plane = new TestDataplane(HTTP);
    t.ok(plane.packet({ from: `[${ip}]:5`, to: VIP6, protocol: 'udp' }), ip);
  }
});

t.test('what is not for a Service passes, wherever it comes from', async (t) => {
  const plane = new TestDataplane(HTTP);
  for (const from of ['0.0.0.0:1', VIP, '224.0.0.1:1', '192.0.2.1:1']) {
    const packet = frame({ from, to: '192.0.2.1:1', protocol: 'udp' });
    t.strictSame(plane.send(packet), [packet], from);
  }
});

t.test(
  'an endpoint that is the address of a Service gets nothing: it would come back and go round',
  async (t) => {
    const plane = new TestDataplane({
      '10.96.0.1:80/udp': ['10.96.0.2:80'],
      '10.96.0.2:80/udp': ['10.96.0.1:80'],
    });
    t.equal(plane.packet({ from: CLIENT, to: VIP, protocol: 'udp' }), undefined);
    t.strictSame(plane.counts, { received: 1, 'endpoint-is-service': 1 });
  },
);

t.test(
  'a segment that may begin no connection takes no turn, moves no affinity and is not answered',
  async (t) => {
    const spec = { endpoints: ENDPOINTS, algorithm: ALGORITHM.ROUND_ROBIN };
    const plane = new TestDataplane({ [`${VIP}/tcp`]: spec, '10.96.0.2:80/tcp': [] });
    t.equal(plane.packet({ from: CLIENT, to: VIP, flags: ['FIN', 'ACK'] }), undefined);
    t.equal(plane.packet({ from: CLIENT, to: '10.96.0.2:80', flags: ['RST'] }), undefined, 'no endpoints');
    t.equal(plane.packet({ from: CLIENT, to: '10.96.0.2:81', flags: ['RST'] }), undefined, 'unserved port');
    t.strictSame(plane.counts, { received: 3, 'tcp-invalid': 3 });
    t.equal(plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] }).to, ENDPOINTS[0]);

    const sticky = new TestDataplane({ [`${VIP}/tcp`]: { ...spec, affinitySec: 60 } });
    const first = sticky.forward({ from: CLIENT, to: VIP, flags: ['SYN'] }).to;
    sticky.sleep(50);
    sticky.packet({ from: '10.1.0.1:4001', to: VIP, flags: ['RST'] });
    sticky.sleep(50);
    t.not(
      sticky.forward({ from: '10.1.0.1:4002', to: VIP, flags: ['SYN'] }).to,
      first,
      'a hundred seconds later',
    );
  },
);

const INVALID: TcpFlag[][] = [
  ['SYN', 'FIN'],
  ['SYN', 'RST'],
  ['SYN', 'FIN', 'PSH', 'URG'],
  ['SYN', 'ACK', 'FIN'],
  ['FIN'],
  ['FIN', 'PSH', 'URG'],
  ['RST', 'FIN'],
  ['URG'],
  ['PSH'],
  [],
];
for (const flags of INVALID) {
  t.test(`flags that no TCP sends (${flags.join(' ') || 'none'}) begin no connection`, async (t) => {
    const plane = new TestDataplane({ ...HTTP, '10.96.0.2:80/tcp': [] });
    t.equal(plane.packet({ from: CLIENT, to: VIP, flags }), undefined);
    t.equal(plane.packet({ from: CLIENT, to: '10.96.0.2:80', flags }), undefined, 'no endpoints');
    t.strictSame(plane.counts, { received: 2, 'tcp-invalid': 2 });
    t.equal(plane.flowCount, 0);
    const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    t.match(plane.forward({ from: CLIENT, to: VIP, flags }), { from: there.from, to: there.to }, 'of a flow');
  });
}

t.test("an IPv6 packet that has yet to be routed elsewhere is not the Service's", async (t) => {
  // Routing header, type 0 and 4: with segments left, the checksum covers the last address and not the VIP.
  const options = Uint8Array.of(17, 2, 0, 1, ...Array(20).fill(0));
  const packet: PacketSpec = { from: '[fd00::2]:5', to: VIP6, protocol: 'udp', extensions: 43, options };
  const plane = new TestDataplane(HTTP);
  t.equal(plane.packet(packet), undefined);
  t.strictSame(plane.counts, { received: 1, 'unsupported-protocol': 1 });
  const foreign = frame({ ...packet, to: '[2001:db8::1]:80' });
  t.strictSame(plane.send(foreign), [foreign], 'passes if foreign');
  options[3] = 0;
  t.equal(plane.forward({ ...packet, options }).to, '[fd00:244::1]:1', 'served when no segment is left');
});

t.test('an SCTP packet whose checksum is left to the device is refused', async (t) => {
  const plane = new TestDataplane({ [`${VIP}/sctp`]: ENDPOINTS });
  const packet = frame({ from: CLIENT, to: VIP, protocol: 'sctp' });
  packet[0] = 1;
  packet[6] = 20;
  packet[8] = 8;
  t.strictSame(plane.send(packet), []);
  t.strictSame(plane.counts, { received: 1, 'bad-partial-checksum': 1 });
});

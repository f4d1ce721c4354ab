/** What the RFCs about NAT ask of flows, beside what has tests of its own (fragments, ICMP errors, TCP states). */
import t from 'tap';
import { PortPool } from '../../src/conntrack/port-pool.js';
import { timeoutsOf } from '../../src/conntrack/timeouts.js';
import { addressWords } from '../../src/wire/address.js';
import { TestDataplane } from '../support/dataplane.js';
import { frame, type PacketSpec, type PacketView } from '../support/packets.js';
import { shows } from '../support/requirements.js';

const VIP = '10.96.0.10:80';
const CLIENT = '10.0.1.2:40000';
const ENDPOINT = '10.244.0.8:8080';
const WEB = { [`${VIP}/tcp`]: [ENDPOINT], [`${VIP}/udp`]: [ENDPOINT] };
const PROTOCOLS = ['tcp', 'udp'] as const;

/** First packets of so many clients. @returns them as the endpoints got them */
function open(plane: TestDataplane, count: number, protocol: 'tcp' | 'udp'): PacketView[] {
  return Array.from({ length: count }, (_, i) =>
    plane.forward({
      from: `10.${i >> 14}.${(i >> 7) & 127}.1:${1 + (i & 127)}`,
      to: VIP,
      protocol,
      flags: ['SYN'],
    }),
  );
}

/** A pool of one address, so that sources meet. */
function crowded(services: Record<string, string[]>): TestDataplane {
  const plane = new TestDataplane(services, { flowCapacity: 1 << 16 });
  const address = Int32Array.from(addressWords('198.18.0.5'));
  (plane.cx.pools as PortPool[])[0] = new PortPool(
    0,
    { addresses: address, network: address, mask: Int32Array.of(-1) },
    plane.cx.handOff.share,
  );
  return plane;
}

for (const protocol of PROTOCOLS) {
  t.test(
    `${protocol}: no two flows to one endpoint have one source, and every answer finds its client`,
    shows('RFC 4787 REQ-3', 'RFC 5382 REQ-7'),
    async (t) => {
      const plane = crowded(WEB);
      const flows = open(plane, 20_000, protocol);
      t.equal(new Set(flows.map(({ from }) => from)).size, flows.length);
      for (const [i, { from, to }] of flows.entries()) {
        if (i % 100 !== 0) continue;
        const back = plane.forward({ from: to, to: from, protocol, flags: ['SYN', 'ACK'] });
        t.equal(back.to, `10.${i >> 14}.${(i >> 7) & 127}.1:${1 + (i & 127)}`);
      }
    },
  );
}

t.test(
  'flows to different endpoints may have one source, and are told apart',
  shows('RFC 7857 section 3'),
  async (t) => {
    const plane = crowded({ [`${VIP}/udp`]: ['10.244.0.8:53', '10.244.0.9:53'] });
    const flows = open(plane, 20_000, 'udp');
    const endpoints = [...new Set(flows.map(({ to }) => to))];
    t.equal(endpoints.length, 2);
    const [some, others] = endpoints.map(
      (endpoint) => new Set(flows.filter(({ to }) => to === endpoint).map(({ from }) => from)),
    );
    const shared = [...some!].filter((source) => others!.has(source));
    t.ok(shared.length > 1000, `${shared.length} sources serve two flows`);
    const clients = endpoints.map(
      (endpoint) => plane.forward({ from: endpoint, to: shared[0]!, protocol: 'udp' }).to,
    );
    t.equal(new Set(clients).size, 2);
  },
);

t.test(
  'source ports are drawn at random from 1024 up, evenly',
  shows('RFC 7857 section 9', 'RFC 7857 section 8'),
  async (t) => {
    const ports = open(crowded(WEB), 16_384, 'udp').map(({ from }) => Number(from.split(':')[1]));
    t.ok(Math.min(...ports) >= 1024);
    const bins = new Array(16).fill(0);
    for (const port of ports) bins[Math.floor((port - 1024) / (64_512 / 16))]++;
    const chi2 = bins.reduce((sum, count) => sum + (count - 1024) ** 2 / 1024, 0);
    t.ok(
      chi2 < 44.3,
      `chi square of 15 degrees of freedom is ${chi2}; seed fixed, one of 10,000 is above 44.3`,
    );
    const steps = ports.slice(1).filter((port, i) => Math.abs(port - ports[i]!) < 64).length;
    t.ok(steps < 100, `${steps} of 16,383 are near the one before`);
  },
);

for (const protocol of PROTOCOLS) {
  t.test(
    `${protocol}: a pod reaches itself through its Service, from an address and port of the pool`,
    shows('RFC 4787 REQ-9', 'RFC 4787 REQ-9a', 'RFC 5382 REQ-8'),
    async (t) => {
      const plane = new TestDataplane(WEB, { masquerade: false });
      const pod = ENDPOINT.replace('8080', '41000');
      const there = plane.forward({ from: pod, to: VIP, protocol, flags: ['SYN'] });
      t.match(there, { from: /^198\.18\.0\./, to: ENDPOINT });
      const back = plane.forward({ from: there.to, to: there.from, protocol, flags: ['SYN', 'ACK'] });
      t.match(back, { from: VIP, to: pod, transportChecksum: 'right' });
    },
  );
}

t.test(
  'a flow is refreshed by what its client sends, and by what the endpoint sends',
  shows('RFC 4787 REQ-6', 'RFC 4787 REQ-6a'),
  async (t) => {
    const plane = new TestDataplane(WEB);
    const ask: PacketSpec = { from: CLIENT, to: VIP, protocol: 'udp' };
    const first = plane.forward(ask);
    for (let i = 0; i < 4; i++) {
      plane.sleep(29);
      t.equal(plane.forward(ask).from, first.from, 'within the 30 s of one that is not answered');
    }
    plane.forward({ from: first.to, to: first.from, protocol: 'udp' });
    for (let i = 0; i < 4; i++) {
      plane.sleep(119);
      t.equal(plane.forward({ from: first.to, to: first.from, protocol: 'udp' }).to, CLIENT, 'a stream');
    }
    plane.sleep(121);
    t.equal(
      plane.packet({ from: first.to, to: first.from, protocol: 'udp' }),
      undefined,
      'until nobody sends',
    );
  },
);

t.test(
  'with profile rfc a datagram is answered after five minutes less a second',
  shows('RFC 4787 REQ-5', 'RFC 4787 REQ-5c'),
  async (t) => {
    for (const [timeouts, lives] of [
      [timeoutsOf('rfc'), true],
      [timeoutsOf('linux'), false],
    ] as const) {
      const plane = new TestDataplane(WEB, { timeouts });
      const there = plane.forward({ from: CLIENT, to: VIP, protocol: 'udp' });
      plane.sleep(299);
      t.equal(plane.packet({ from: there.to, to: there.from, protocol: 'udp' }) !== undefined, lives);
    }
  },
);

t.test('the same seed and packets give the same bytes', shows('RFC 4787 REQ-11'), async (t) => {
  const run = (seed: number) => {
    const plane = new TestDataplane(WEB, { seed });
    return open(plane, 500, 'udp').map(({ from, to }) => `${from} ${to}`);
  };
  t.strictSame(run(5), run(5));
  t.notSame(run(5), run(6));
});

t.test('what a table that is full does to its flows: nothing', shows('RFC 4787 REQ-11'), async (t) => {
  const plane = new TestDataplane(WEB, { flowCapacity: 64 });
  const clients = Array.from({ length: 64 }, (_, i) => `10.0.1.2:${1000 + i}`);
  const before = clients.map((from) => {
    const there = plane.forward({ from, to: VIP, flags: ['SYN'] });
    plane.forward({ from: there.to, to: there.from, flags: ['SYN', 'ACK'] });
    plane.forward({ from, to: VIP, flags: ['ACK'] });
    return there.from;
  });
  for (let i = 0; i < 500; i++) plane.packet({ from: `10.0.9.9:${1 + i}`, to: VIP, flags: ['SYN'] });
  t.ok(plane.counts['flow-table-full']);
  const after = clients.map((from) => plane.forward({ from, to: VIP, flags: ['ACK'] }).from);
  t.strictSame(after, before);
});

t.test(
  'addresses in the payload of FTP and SIP are left alone: there are no application gateways',
  shows('RFC 4787 REQ-10', 'RFC 5382 REQ-6'),
  async (t) => {
    const plane = new TestDataplane({
      '10.96.0.10:21/tcp': ['10.244.0.8:21'],
      '10.96.0.10:5060/udp': ['10.244.0.8:5060'],
    });
    const cases: [PacketSpec, string][] = [
      [{ from: CLIENT, to: '10.96.0.10:21' }, 'PORT 10,0,1,2,156,65\r\n'],
      [
        { from: CLIENT, to: '10.96.0.10:5060', protocol: 'udp' },
        'INVITE sip:a@10.96.0.10 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2:40000\r\n',
      ],
    ];
    for (const [spec, text] of cases) {
      const out = plane.forward({ ...spec, payload: Buffer.from(text) });
      t.equal(Buffer.from(out.payload).toString(), text);
      t.equal(out.transportChecksum, 'right');
    }
  },
);

t.test('a simultaneous open through a Service makes a connection', shows('RFC 5382 REQ-2a'), async (t) => {
  const plane = new TestDataplane(WEB);
  const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
  const client = (flags: NonNullable<PacketSpec['flags']>) => plane.forward({ from: CLIENT, to: VIP, flags });
  const endpoint = (flags: NonNullable<PacketSpec['flags']>) =>
    plane.forward({ from: there.to, to: there.from, flags });
  t.match(endpoint(['SYN']), { from: VIP, to: CLIENT, flags: ['SYN'] });
  t.match(client(['SYN', 'ACK']), { from: there.from, to: there.to });
  t.match(endpoint(['SYN', 'ACK']), { from: VIP, to: CLIENT });
  client(['ACK']);
  endpoint(['ACK']);
  plane.sleep(3600, 60_000);
  t.match(client(['PSH', 'ACK']), { from: there.from, to: there.to }, 'an hour later');
  t.equal(plane.flowCount, 1);
});

t.test(
  'nobody but its endpoint reaches a masqueraded client, and who tries is not answered',
  shows('RFC 4787 REQ-8', 'RFC 5382 REQ-3', 'RFC 5382 REQ-4', 'RFC 5382 REQ-4a', 'RFC 7857 section 6'),
  async (t) => {
    const plane = new TestDataplane(WEB);
    const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    const strangers: PacketSpec[] = [
      { from: '10.244.0.9:8080', to: there.from, flags: ['SYN'] },
      { from: '10.244.0.8:8081', to: there.from, flags: ['SYN'] },
      { from: there.to, to: there.from, protocol: 'udp' },
      { from: there.to, to: '198.18.0.200:1', flags: ['SYN'] },
    ];
    for (const spec of strangers) t.equal(plane.packet(spec), undefined);
    t.strictSame(plane.sleep(10), [], 'nor later');
    t.match(plane.counts, { 'no-flow': strangers.length });
    t.ok(plane.packet({ from: there.to, to: there.from, flags: ['SYN', 'ACK'] }), 'the endpoint does');
  },
);

t.test(
  'an RST is translated, and its flow lives on for four minutes with profile rfc, ten seconds with linux',
  shows('RFC 7857 section 2.2 translate', 'RFC 7857 section 2.2 wait'),
  async (t) => {
    for (const [profile, seconds] of [
      ['rfc', 240],
      ['linux', 10],
    ] as const) {
      for (const late of [false, true]) {
        const plane = new TestDataplane(WEB, { timeouts: timeoutsOf(profile) });
        const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
        plane.forward({ from: there.to, to: there.from, flags: ['SYN', 'ACK'] });
        const out = plane.forward({ from: there.to, to: there.from, flags: ['RST'] });
        t.match(out, { from: VIP, to: CLIENT, flags: ['RST'], transportChecksum: 'right' });
        plane.sleep(late ? seconds : seconds - 1);
        const straggler = plane.packet({ from: there.to, to: there.from, flags: ['ACK'] });
        t.equal(
          straggler?.to,
          late ? undefined : CLIENT,
          `${profile}, ${late ? 'after' : 'before'} ${seconds} s`,
        );
      }
    }
  },
);

t.test('a connection whose RST was forged goes on as it was', shows('RFC 7857 section 2'), async (t) => {
  const plane = new TestDataplane(WEB, { timeouts: timeoutsOf('rfc') });
  const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
  plane.forward({ from: there.to, to: there.from, flags: ['SYN', 'ACK'] });
  plane.forward({ from: CLIENT, to: VIP, flags: ['ACK'] });
  plane.forward({ from: CLIENT, to: VIP, flags: ['RST'] });
  plane.sleep(200);
  plane.forward({ from: CLIENT, to: VIP, flags: ['ACK'] });
  plane.sleep(7000, 60_000);
  t.equal(plane.forward({ from: CLIENT, to: VIP, flags: ['ACK'] }).from, there.from);
});

t.test(
  'each RST more begins the time of a closed connection again, but no other',
  shows('RFC 7857 section 7.1 RST'),
  async (t) => {
    const plane = new TestDataplane(WEB);
    const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    for (let i = 0; i < 3; i++) {
      plane.forward({ from: there.to, to: there.from, flags: ['RST'] });
      plane.sleep(9);
    }
    plane.sleep(2);
    t.strictSame(plane.send(frame({ from: there.to, to: there.from, flags: ['RST'] })), []);
  },
);

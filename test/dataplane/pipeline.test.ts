/** Packets in, packets out, counters out. */
import t from 'tap';
import { DROP_REASON_NAMES } from '../../src/dataplane/verdict.js';
import { COUNTER, ENDPOINT_ROW, endpointRow } from '../../src/table/counters.js';
import { TestDataplane } from '../support/dataplane.js';
import { frame, type PacketSpec, VNET_BYTES, view } from '../support/packets.js';

const VIP = '10.103.145.7:8888';
const ENDPOINTS = ['10.244.0.3:8080', '10.244.1.2:8080', '10.244.2.2:8080'];
const HTTPENV = { [`${VIP}/tcp`]: ENDPOINTS };
const DNS = { '10.96.0.10:53/udp': ['10.244.0.9:5353', '10.244.1.9:5353'] };
const CLIENT = '10.0.1.2:40000';
const VIP6 = '[fd00:10:96::7]:8888';
const CLIENT6 = '[2001:db8::9]:40000';

/** One table for both families: what differs is how an address is written. */
const FAMILIES = [
  {
    name: 'IPv4',
    VIP,
    vipIp: '10.103.145.7',
    ENDPOINTS,
    CLIENT,
    clientIp: '10.0.1.2',
    POOL: /^198\.18\.0\.\d+:\d+$/,
    OWN: '198.18.0.1:',
    OPTIONS: { options: Uint8Array.of(1, 1, 1, 0) },
  },
  {
    name: 'IPv6',
    VIP: '[fd00:10:96::7]:8888',
    vipIp: 'fd00:10:96::7',
    ENDPOINTS: ['[fd00:244::3]:8080', '[fd00:244:1::2]:8080', '[fd00:244:2::2]:8080'],
    CLIENT: '[2001:db8::9]:40000',
    clientIp: '2001:db8::9',
    POOL: /^\[fd00:198:18::[0-9a-f]+\]:\d+$/,
    OWN: '[fd00:198:18::1]:',
    // Hop-by-hop options, then destination options: padding only (RFC 8200 section 4.2).
    OPTIONS: { extensions: 0, options: Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0) },
  },
];

for (const { name, VIP, ENDPOINTS, CLIENT, POOL, OWN, vipIp, clientIp, OPTIONS } of FAMILIES) {
  const HTTPENV = { [`${VIP}/tcp`]: ENDPOINTS, [`${VIP}/udp`]: ENDPOINTS, [`${VIP}/sctp`]: ENDPOINTS };

  t.test(
    `${name}: a SYN to a ClusterIP goes to one endpoint, from the SNAT pool, with right checksums`,
    async (t) => {
      const plane = new TestDataplane(HTTPENV);
      const out = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
      t.ok(ENDPOINTS.includes(out.to), `${out.to} is an endpoint`);
      t.match(out.from, POOL, 'the source is from the pool');
      t.notOk(out.from.startsWith(OWN), 'the own address of the device is never given away');
      t.ok(Number(out.from.split(':').at(-1)) >= 1024, 'the source port is unprivileged');
      t.equal(out.ipChecksumRight, true);
      t.equal(out.transportChecksum, 'right');
      t.equal(out.ttl, 64, 'the hop is counted by the kernel on both sides of the device, not here');
      t.strictSame(plane.counts, { received: 1, forwarded: 1 });
    },
  );

  t.test(`${name}: the reply of the endpoint comes back from the ClusterIP to the client`, async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    const back = plane.forward({
      from: there.to,
      to: there.from,
      flags: ['SYN', 'ACK'],
      payload: Buffer.from('odd'),
    });
    t.equal(back.from, VIP);
    t.equal(back.to, CLIENT);
    t.equal(back.ipChecksumRight, true);
    t.equal(back.transportChecksum, 'right');
    t.equal(Buffer.from(back.payload).toString(), 'odd');
  });

  t.test(`${name}: every packet of a flow goes to the endpoint of its first`, async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    for (let i = 0; i < 50; i++) {
      const next = plane.forward({ from: CLIENT, to: VIP, flags: ['ACK'] });
      t.strictSame([next.from, next.to], [first.from, first.to]);
    }
    t.equal(plane.flowCount, 1);
  });

  const there: { what: string; spec: Partial<PacketSpec>; checksum: string }[] = [
    {
      what: 'a TCP segment with payload of odd length',
      spec: { payload: Buffer.from('hello') },
      checksum: 'right',
    },
    { what: 'a TCP segment behind options', spec: OPTIONS, checksum: 'right' },
    { what: 'a UDP datagram', spec: { protocol: 'udp', payload: Buffer.from('hello!!') }, checksum: 'right' },
    {
      what: 'a UDP datagram with a partial checksum',
      spec: { protocol: 'udp', partial: true, payload: Buffer.alloc(9, 7) },
      checksum: 'partial',
    },
    {
      what: 'an SCTP packet',
      spec: { protocol: 'sctp', payload: Buffer.from('an INIT chunk, say') },
      checksum: 'right',
    },
    {
      what: 'a TCP segment with a partial checksum',
      spec: { partial: true, payload: Buffer.alloc(99, 7) },
      checksum: 'partial',
    },
    {
      what: 'a GSO super-packet',
      spec: { gsoSize: 1448, payload: Buffer.alloc(60_000, 3) },
      checksum: 'partial',
    },
  ];
  for (const { what, spec, checksum } of there) {
    t.test(`${name}: ${what} is translated there and back to the byte`, async (t) => {
      const plane = new TestDataplane(HTTPENV);
      const original = frame({ from: CLIENT, to: VIP, ...spec });
      const [forward] = plane.send(original);
      const seen = view(forward!);
      t.equal(seen.ipChecksumRight, true);
      t.equal(seen.transportChecksum, checksum);
      t.equal(seen.gsoSize, spec.gsoSize ?? 0);
      t.strictSame(
        forward!.subarray(0, 10),
        original.subarray(0, 10),
        'the virtio-net header goes through as it is',
      );

      const reply = frame({ from: seen.to, to: seen.from, ...spec });
      const [back] = plane.send(reply);
      t.strictSame(
        back,
        frame({ from: VIP, to: CLIENT, ...spec }),
        'the same as if the VIP itself had answered',
      );
    });
  }

  const other = VIP.replace('8888', '9999');
  const rejected: { what: string; spec: PacketSpec }[] = [
    {
      what: 'a Service without endpoints',
      spec: { from: CLIENT, to: VIP.replace('8888', '81'), flags: ['SYN'] },
    },
    { what: 'an unserved port of a ClusterIP', spec: { from: CLIENT, to: other, flags: ['SYN'] } },
    {
      what: 'an unserved protocol of a ClusterIP',
      spec: { from: CLIENT, to: VIP.replace('8888', '81'), protocol: 'udp' },
    },
  ];
  for (const { what, spec } of rejected) {
    t.test(`${name}: ${what} is rejected with ICMP port unreachable that quotes the packet`, async (t) => {
      const plane = new TestDataplane({ ...HTTPENV, [`${VIP.replace('8888', '81')}/tcp`]: [] });
      const packet = frame({ ...spec, payload: Buffer.alloc(2000, 1) });
      const [out] = plane.send(packet);
      const answer = view(out);
      t.equal(answer.to, clientIp);
      t.equal(answer.from, vipIp);
      t.equal(answer.ipChecksumRight, true);
      const isV4 = name === 'IPv4';
      t.equal(answer.length, isV4 ? 576 : 1280, 'as much is quoted as fits');
      if (isV4) t.equal(out[VNET_BYTES + 1], 0xc0, 'with the precedence of network control');
      t.match(
        answer.icmp,
        isV4 ? { type: 3, code: 3, checksumRight: true } : { type: 1, code: 4, checksumRight: true },
      );
      t.strictSame(
        Buffer.from(answer.icmp?.quoted ?? []),
        Buffer.from(packet.subarray(10, 10 + (isV4 ? 548 : 1232))),
      );
      t.strictSame(plane.counts, { received: 1, rejected: 1 });
    });
  }
}

t.test('UDP', async (t) => {
  t.test('a checksum that is left out stays out', async (t) => {
    const plane = new TestDataplane(DNS);
    const out = plane.forward({ from: CLIENT, to: '10.96.0.10:53', protocol: 'udp', noChecksum: true });
    t.equal(out.transportChecksum, 'none');
    t.equal(out.ipChecksumRight, true);
  });

  t.test('a checksum that comes out as zero is sent as all ones', async (t) => {
    // Searched, not constructed: of 65,536 payloads one makes the translated checksum zero.
    const plane = new TestDataplane(DNS);
    const to = '10.96.0.10:53';
    let allOnes = 0;
    for (let value = 0; value < 0x10000; value += 1) {
      const payload = Uint8Array.of(value >> 8, value & 0xff);
      const [out] = plane.send(frame({ from: CLIENT, to, protocol: 'udp', payload }));
      const check = (out![10 + 26] << 8) | out![10 + 27];
      if (check === 0) t.fail(`payload ${value} left with a checksum of zero`);
      if (check === 0xffff) allOnes++;
      if (view(out!).transportChecksum !== 'right') t.fail(`payload ${value} left with a wrong checksum`);
    }
    t.equal(allOnes, 1);
  });

  t.test('a USO super-packet goes through whole', async (t) => {
    const plane = new TestDataplane(DNS);
    const payload = Buffer.alloc(30_000, 5);
    const out = plane.forward({ from: CLIENT, to: '10.96.0.10:53', protocol: 'udp', gsoSize: 1200, payload });
    t.equal(out.transportChecksum, 'partial');
    t.equal(out.gsoSize, 1200);
    t.equal(out.payload.length, 30_000);
  });

  t.test('TCP and UDP of one address and port are different frontends', async (t) => {
    const plane = new TestDataplane({
      '10.96.0.10:53/tcp': ['10.1.0.1:53'],
      '10.96.0.10:53/udp': ['10.1.0.2:53'],
    });
    t.equal(plane.forward({ from: CLIENT, to: '10.96.0.10:53', flags: ['SYN'] }).to, '10.1.0.1:53');
    t.equal(plane.forward({ from: CLIENT, to: '10.96.0.10:53', protocol: 'udp' }).to, '10.1.0.2:53');
  });
});

t.test('side exits', async (t) => {
  t.test('a packet to a foreign address passes unchanged', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const packet = frame({ from: CLIENT, to: '192.0.2.1:80', flags: ['SYN'] });
    t.strictSame(plane.send(packet), [packet]);
    t.strictSame(plane.counts, { received: 1, passed: 1 });
  });

  t.test('a rejected GSO packet is answered by one plain packet', async (t) => {
    const plane = new TestDataplane({ '10.96.1.1:80/tcp': [] });
    const [out] = plane.send(
      frame({ from: CLIENT, to: '10.96.1.1:80', gsoSize: 1000, payload: Buffer.alloc(9000) }),
    );
    t.strictSame([...out!.subarray(0, 10)], Array(10).fill(0));
  });

  const dropped: { reason: string; bytes: () => Uint8Array }[] = [
    { reason: 'short-read', bytes: () => frame({ from: CLIENT, to: VIP }).subarray(0, 29) },
    { reason: 'short-read', bytes: () => new Uint8Array(3) },
    { reason: 'not-ip', bytes: () => patched({ from: CLIENT, to: VIP }, 0, 0x55) },
    { reason: 'bad-ip-header', bytes: () => patched({ from: CLIENT, to: VIP }, 0, 0x60) },
    { reason: 'bad-ip-header', bytes: () => patched({ from: CLIENT, to: VIP }, 0, 0x44) },
    { reason: 'bad-ip-header', bytes: () => patched({ from: CLIENT, to: VIP }, 0, 0x4f) },
    { reason: 'bad-ip-header', bytes: () => patched({ from: CLIENT, to: VIP }, 3, 41) },
    { reason: 'bad-ip-header', bytes: () => patched({ from: CLIENT, to: VIP }, 3, 19) },
    { reason: 'bad-tcp-header', bytes: () => patched({ from: CLIENT, to: VIP }, 32, 0x40) },
    { reason: 'bad-tcp-header', bytes: () => patched({ from: CLIENT, to: VIP }, 32, 0x60) },
    { reason: 'bad-tcp-header', bytes: () => patched({ from: CLIENT, to: VIP }, 3, 39) },
    { reason: 'bad-udp-length', bytes: () => patched({ from: CLIENT, to: VIP, protocol: 'udp' }, 25, 9) },
    { reason: 'bad-udp-length', bytes: () => patched({ from: CLIENT, to: VIP, protocol: 'udp' }, 25, 7) },
    { reason: 'bad-ip-header', bytes: () => patched({ from: CLIENT6, to: VIP6 }, 5, 21) },
    { reason: 'short-read', bytes: () => patched({ from: CLIENT6, to: VIP6 }, 5, 21).subarray(0, 29) },
    { reason: 'bad-ip-header', bytes: () => frame({ from: CLIENT6, to: VIP6 }).subarray(0, 49) },
    {
      reason: 'bad-ipv6-extension',
      bytes: () =>
        frame({ from: CLIENT6, to: VIP6, extensions: 0, options: Uint8Array.of(6, 9, 0, 0, 0, 0, 0, 0) }),
    },
    {
      reason: 'bad-ipv6-extension',
      bytes: () => frame({ from: CLIENT6, to: VIP6, extensions: 60, options: endlessExtensions(8) }),
    },
    { reason: 'bad-sctp-header', bytes: () => patched({ from: CLIENT, to: VIP, protocol: 'sctp' }, 3, 31) },
    { reason: 'bad-sctp-checksum', bytes: () => patched({ from: CLIENT, to: VIP, protocol: 'sctp' }, 24, 1) },
    {
      reason: 'unsupported-protocol',
      bytes: () =>
        frame({ from: '10.0.1.2', to: '10.103.145.7', protocol: 'icmp', payload: Buffer.alloc(8) }),
    },
    {
      reason: 'no-flow',
      bytes: () => frame({ from: '10.244.0.3:8080', to: '198.18.0.77:5555', flags: ['ACK'] }),
    },
    { reason: 'tcp-invalid', bytes: () => frame({ from: CLIENT, to: VIP, flags: ['RST'] }) },
    { reason: 'tcp-invalid', bytes: () => frame({ from: CLIENT, to: VIP, flags: ['FIN', 'ACK'] }) },
    { reason: 'tcp-invalid', bytes: () => frame({ from: CLIENT, to: VIP, flags: ['SYN', 'ACK'] }) },
    { reason: 'tcp-invalid', bytes: () => frame({ from: CLIENT, to: VIP, flags: [] }) },
    {
      reason: 'bad-partial-checksum',
      bytes: () => patched({ from: CLIENT, to: VIP, partial: true }, -4, 24),
    },
    { reason: 'bad-partial-checksum', bytes: () => patched({ from: CLIENT, to: VIP, partial: true }, -2, 6) },
  ];
  for (const [i, { reason, bytes }] of dropped.entries()) {
    t.test(`case ${i}: dropped for ${reason}, and nothing leaves`, async (t) => {
      const plane = new TestDataplane(HTTPENV);
      t.strictSame(plane.send(bytes()), []);
      t.strictSame(plane.counts, { received: 1, [reason]: 1 });
      t.equal(plane.flowCount, 0);
    });
  }

  t.test('a full flow table drops new flows and keeps the old ones', async (t) => {
    const plane = new TestDataplane(HTTPENV, { flowCapacity: 4 });
    const first = plane.forward({ from: '10.0.1.2:1', to: VIP, flags: ['SYN'] });
    for (let port = 1; port <= 4; port++) {
      const syn = plane.forward({ from: `10.0.1.2:${port}`, to: VIP, flags: ['SYN'] });
      plane.packet({ from: syn.to, to: syn.from, flags: ['SYN', 'ACK'] });
      plane.packet({ from: `10.0.1.2:${port}`, to: VIP, flags: ['ACK'] });
    }
    t.equal(plane.packet({ from: '10.0.1.2:5', to: VIP, flags: ['SYN'] })?.icmp?.code, 13);
    t.strictSame(plane.counts, { received: 14, forwarded: 13, 'flow-table-full': 1 });
    t.equal(plane.forward({ from: '10.0.1.2:1', to: VIP, flags: ['ACK'] }).to, first.to);
  });

  t.test('a packet that the kernel refuses is counted as such and nowhere else', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const { device } = plane;
    const write = device.writeBatch.bind(device);
    device.writeBatch = (count) => {
      plane.cx.slab.lengths[0] = -22;
      return write(count);
    };
    plane.send(frame({ from: CLIENT, to: VIP, flags: ['SYN'] }), frame({ from: CLIENT, to: VIP }));
    t.strictSame(plane.counts, { received: 2, forwarded: 1, 'write-failed': 1 });
  });
});

t.test('the life of a flow', async (t) => {
  t.test('a new SYN over the tuple of a finished connection is a new flow', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const seen = new Set<string>();
    for (let i = 0; i < 30; i++) {
      const syn = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
      seen.add(syn.to);
      plane.packet({ from: syn.to, to: syn.from, flags: ['RST', 'ACK'] });
    }
    t.equal(seen.size, 3, 'each chooses anew');
    t.equal(plane.flowCount, 1);
  });

  t.test('a repeated SYN of a connection that is being made stays with its endpoint', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    for (let i = 0; i < 20; i++)
      t.equal(plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] }).to, first.to);
  });

  t.test('a UDP flow ends after 30 s, one that is a stream after 120 s', async (t) => {
    const plane = new TestDataplane(DNS);
    const query: PacketSpec = { from: CLIENT, to: '10.96.0.10:53', protocol: 'udp' };
    plane.packet(query);
    plane.sleep(29);
    t.equal(plane.flowCount, 1);
    plane.sleep(12);
    t.equal(plane.flowCount, 0);

    const there = plane.forward(query);
    plane.packet({ from: there.to, to: there.from, protocol: 'udp' });
    plane.sleep(42);
    t.equal(plane.flowCount, 0, 'one question and its answer are no stream');

    const again = plane.forward(query);
    plane.sleep(3);
    plane.packet({ from: again.to, to: again.from, protocol: 'udp' });
    plane.sleep(119);
    t.equal(plane.flowCount, 1, 'answered after more than two seconds');
    plane.sleep(12);
    t.equal(plane.flowCount, 0);
  });

  t.test('an expired flow is not used, also when it has not been reaped yet', async (t) => {
    const plane = new TestDataplane(DNS);
    const query: PacketSpec = { from: CLIENT, to: '10.96.0.10:53', protocol: 'udp' };
    const sources = new Set<string>();
    for (let i = 0; i < 5; i++) {
      sources.add(plane.forward(query).from);
      plane.nowMs += 31_000;
      plane.cx.reapedMs = plane.nowMs; // no reaper
    }
    t.equal(sources.size, 5);
  });

  t.test('a flow keeps its endpoint when the Service loses it', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    plane.change({ [`${VIP}/tcp`]: ['10.9.9.9:1'] });
    t.equal(plane.forward({ from: CLIENT, to: VIP }).to, first.to);
    t.equal(plane.forward({ from: '10.0.1.2:40001', to: VIP, flags: ['SYN'] }).to, '10.9.9.9:1');
  });

  t.test('a flow goes on when another worker takes over the file', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    const next = new TestDataplane(HTTPENV, { flowFiles: [plane.cx.flows[0].entries.buffer], seed: 99 });
    const again = next.forward({ from: CLIENT, to: VIP });
    t.strictSame([again.from, again.to], [first.from, first.to]);
  });
});

t.test('when an endpoint goes', async (t) => {
  const DNS_VIP = '10.96.0.10:53';
  const query: PacketSpec = { from: CLIENT, to: DNS_VIP, protocol: 'udp' };

  t.test('a UDP flow moves to another endpoint with its next datagram', async (t) => {
    const plane = new TestDataplane({ [`${DNS_VIP}/udp`]: ['10.244.0.9:53'] });
    const first = plane.forward(query);
    plane.change({ [`${DNS_VIP}/udp`]: ['10.244.1.9:53'] });
    t.equal(
      plane.forward({ from: first.to, to: first.from, protocol: 'udp' }).to,
      CLIENT,
      'a late answer still arrives',
    );
    t.equal(plane.forward(query).to, '10.244.1.9:53');
    t.equal(plane.flowCount, 1);
  });

  t.test('a UDP flow is rejected when none is left, and served again when one comes', async (t) => {
    const plane = new TestDataplane({ [`${DNS_VIP}/udp`]: ['10.244.0.9:53'] });
    plane.forward(query);
    plane.change({ [`${DNS_VIP}/udp`]: [] });
    t.match(plane.forward(query).icmp, { type: 3, code: 3 });
    t.equal(plane.flowCount, 0);
    plane.change({ [`${DNS_VIP}/udp`]: ['10.244.0.9:53'] });
    t.equal(plane.forward(query).to, '10.244.0.9:53');
  });

  t.test('a UDP flow to an endpoint that stays keeps it, and its source', async (t) => {
    const plane = new TestDataplane({ [`${DNS_VIP}/udp`]: ['10.244.0.9:53'] });
    const first = plane.forward(query);
    for (let i = 0; i < 20; i++) {
      plane.change({ [`${DNS_VIP}/udp`]: ['10.244.0.9:53', `10.244.1.${i}:53`], [`10.96.1.${i}:1/udp`]: [] });
      const next = plane.forward(query);
      t.strictSame([next.from, next.to], [first.from, first.to]);
    }
  });

  t.test('a TCP flow goes on when its Service says keep', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    plane.change({ [`${VIP}/tcp`]: [] });
    t.equal(plane.forward({ from: CLIENT, to: VIP }).to, first.to);
    t.strictSame(plane.counts, { received: 2, forwarded: 2 });
  });

  t.test('a TCP flow is reset from the second on that its Service says, on both sides', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    plane.change({ [`${VIP}/tcp`]: ['10.9.9.9:1'] }, { gone: Math.floor(plane.nowMs / 1000) + 5 });
    plane.sleep(4);
    t.equal(plane.forward({ from: CLIENT, to: VIP }).to, first.to, 'before: it drains');
    plane.sleep(1);
    const toClient = plane.forward({ from: CLIENT, to: VIP, flags: ['ACK'], seq: 77, ack: 4_000_000_000 });
    t.match(toClient, {
      from: VIP,
      to: CLIENT,
      flags: ['RST'],
      seq: 4_000_000_000,
      transportChecksum: 'right',
      ipChecksumRight: true,
    });
    const toEndpoint = plane.forward({ from: first.to, to: first.from, flags: ['ACK'], ack: 77 });
    t.match(toEndpoint, { from: first.from, to: first.to, flags: ['RST'], seq: 77 });
    t.equal(
      plane.forward({ from: CLIENT, to: VIP, flags: ['RST'] }).to,
      first.to,
      'an RST is passed on, never answered',
    );
    t.equal(
      plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] }).to,
      '10.9.9.9:1',
      'a new connection is served',
    );
    t.match(plane.counts, { reset: 2 });
  });

  t.test('a segment without ACK is reset by acknowledging all of it', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    plane.change({ [`${VIP}/tcp`]: [] }, { gone: 1 });
    const out = plane.forward({
      from: CLIENT,
      to: VIP,
      flags: ['SYN'],
      seq: 0xffff_ffff,
      payload: Buffer.alloc(10),
    });
    t.match(out, { flags: ['RST', 'ACK'], seq: 0, ack: 10 });
  });
});

t.test('without masquerade', async (t) => {
  const plain = { masquerade: false };

  t.test('the endpoint sees the client, and its answer comes from the ClusterIP', async (t) => {
    const plane = new TestDataplane({ [`${VIP}/tcp`]: ['10.244.0.3:8080'] }, plain);
    const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    t.match(there, {
      from: CLIENT,
      to: '10.244.0.3:8080',
      transportChecksum: 'right',
      ipChecksumRight: true,
    });
    t.match(plane.forward({ from: there.to, to: there.from }), {
      from: VIP,
      to: CLIENT,
      transportChecksum: 'right',
    });
  });

  t.test('an endpoint that reaches itself is masqueraded: hairpin', async (t) => {
    const plane = new TestDataplane({ [`${VIP}/tcp`]: ['10.244.0.3:8080'] }, plain);
    const there = plane.forward({ from: '10.244.0.3:40000', to: VIP, flags: ['SYN'] });
    t.match(there.from, /^198\.18\./);
    t.match(plane.forward({ from: there.to, to: there.from }), { from: VIP, to: '10.244.0.3:40000' });
  });

  t.test('two flows of one client port that meet at one endpoint are told apart', async (t) => {
    const other = '10.103.145.8:8888';
    const plane = new TestDataplane(
      { [`${VIP}/tcp`]: ['10.244.0.3:80'], [`${other}/tcp`]: ['10.244.0.3:80'] },
      plain,
    );
    const one = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
    const two = plane.forward({ from: CLIENT, to: other, flags: ['SYN'] });
    t.not(one.from, two.from);
    t.equal(two.from.split(':')[0], CLIENT.split(':')[0], 'only the port is another');
    t.match(plane.forward({ from: one.to, to: one.from }), { from: VIP, to: CLIENT });
    t.match(plane.forward({ from: two.to, to: two.from }), { from: other, to: CLIENT });
  });
});

t.test('packets and bytes are counted for the endpoint and the direction', async (t) => {
  const plane = new TestDataplane({ [`${VIP}/tcp`]: ['10.244.0.3:8080'] });
  const there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
  plane.packet({ from: CLIENT, to: VIP, payload: Buffer.alloc(60) });
  plane.packet({ from: there.to, to: there.from, payload: Buffer.alloc(1000) });
  const row = plane.cx.counters.subarray(endpointRow(1));
  t.strictSame(
    [
      row[ENDPOINT_ROW.PACKETS_ORIGINAL],
      row[ENDPOINT_ROW.BYTES_ORIGINAL],
      row[ENDPOINT_ROW.PACKETS_REPLY],
      row[ENDPOINT_ROW.BYTES_REPLY],
      row[ENDPOINT_ROW.FLOWS_CREATED],
    ],
    [2, 140, 1, 1040, 1],
  );
});

t.test('every drop reason has a name and a counter of its own below the endpoint rows', async (t) => {
  t.equal(new Set(DROP_REASON_NAMES).size, DROP_REASON_NAMES.length);
  t.ok(COUNTER.DROPPED + DROP_REASON_NAMES.length <= endpointRow(0));
});

/** Destination options over and over, each of padding only. */
const endlessExtensions = (count: number): Uint8Array =>
  Uint8Array.from({ length: count * 8 }, (_, i) =>
    i % 8 === 0 ? 60 : i % 8 === 2 ? 1 : i % 8 === 3 ? 4 : 0,
  );

/** A packet with one byte overwritten; `at` counts from the IP header, negative into the virtio-net header. */
function patched(spec: PacketSpec, at: number, value: number): Uint8Array {
  const bytes = frame(spec);
  bytes[10 + at] = value;
  return bytes;
}

/** Packets in, packets out, counters out. */
import t from 'tap';
import { DROP_REASON_NAMES } from '../../src/dataplane/verdict.js';
import { COUNTER, ENDPOINT_ROW, endpointRow } from '../../src/table/counters.js';
import { TestDataplane } from '../support/dataplane.js';
import { frame, type PacketSpec, view } from '../support/packets.js';

const VIP = '10.103.145.7:8888';
const ENDPOINTS = ['10.244.0.3:8080', '10.244.1.2:8080', '10.244.2.2:8080'];
const HTTPENV = { [`${VIP}/tcp`]: ENDPOINTS };
const DNS = { '10.96.0.10:53/udp': ['10.244.0.9:5353', '10.244.1.9:5353'] };
const CLIENT = '10.0.1.2:40000';

t.test('a SYN to a ClusterIP goes to one endpoint, from the SNAT pool, with right checksums', async (t) => {
  const plane = new TestDataplane(HTTPENV);
  const out = plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!;
  t.ok(ENDPOINTS.includes(out.to), `${out.to} is an endpoint`);
  t.match(out.from, /^198\.18\.0\.\d+:\d+$/, 'the source is from the pool');
  t.not(out.from.split(':')[0], '198.18.0.1', 'the own address of the device is never given away');
  t.ok(Number(out.from.split(':')[1]) >= 1024, 'the source port is unprivileged');
  t.equal(out.ipChecksumRight, true);
  t.equal(out.transportChecksum, 'right');
  t.equal(out.ttl, 64, 'the hop is counted by the kernel on both sides of the device, not here');
  t.strictSame(plane.counts, { received: 1, forwarded: 1 });
});

t.test('the reply of the endpoint comes back from the ClusterIP to the client', async (t) => {
  const plane = new TestDataplane(HTTPENV);
  const there = plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!;
  const back = plane.send({
    from: there.to,
    to: there.from,
    flags: ['SYN', 'ACK'],
    payload: Buffer.from('odd'),
  })!;
  t.equal(back.from, VIP);
  t.equal(back.to, CLIENT);
  t.equal(back.ipChecksumRight, true);
  t.equal(back.transportChecksum, 'right');
  t.equal(Buffer.from(back.payload).toString(), 'odd');
});

t.test('every packet of a flow goes to the endpoint of its first', async (t) => {
  const plane = new TestDataplane(HTTPENV);
  const first = plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!;
  for (let i = 0; i < 50; i++) {
    const next = plane.send({ from: CLIENT, to: VIP, flags: ['ACK'] })!;
    t.strictSame([next.from, next.to], [first.from, first.to]);
  }
  t.equal(plane.cx.flows.count, 1);
});

const there: { name: string; spec: Partial<PacketSpec>; checksum: string }[] = [
  {
    name: 'a TCP segment with payload of odd length',
    spec: { payload: Buffer.from('hello') },
    checksum: 'right',
  },
  {
    name: 'a TCP segment behind IPv4 options',
    spec: { options: Uint8Array.of(1, 1, 1, 0) },
    checksum: 'right',
  },
  {
    name: 'a TCP segment with a partial checksum',
    spec: { partial: true, payload: Buffer.alloc(99, 7) },
    checksum: 'partial',
  },
  {
    name: 'a GSO super-packet',
    spec: { gsoSize: 1448, payload: Buffer.alloc(60_000, 3) },
    checksum: 'partial',
  },
];
for (const { name, spec, checksum } of there) {
  t.test(`${name} is translated there and back to the byte`, async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const original = frame({ from: CLIENT, to: VIP, ...spec });
    const [forward] = plane.sendFrames(original);
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
    const [back] = plane.sendFrames(reply);
    t.strictSame(
      back,
      frame({ from: VIP, to: CLIENT, ...spec }),
      'the same as if the VIP itself had answered',
    );
  });
}

t.test('UDP', async (t) => {
  t.test('a checksum that is left out stays out', async (t) => {
    const plane = new TestDataplane(DNS);
    const out = plane.send({ from: CLIENT, to: '10.96.0.10:53', protocol: 'udp', noChecksum: true })!;
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
      const [out] = plane.sendFrames(frame({ from: CLIENT, to, protocol: 'udp', payload }));
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
    const out = plane.send({ from: CLIENT, to: '10.96.0.10:53', protocol: 'udp', gsoSize: 1200, payload })!;
    t.equal(out.transportChecksum, 'partial');
    t.equal(out.gsoSize, 1200);
    t.equal(out.payload.length, 30_000);
  });

  t.test('TCP and UDP of one address and port are different frontends', async (t) => {
    const plane = new TestDataplane({
      '10.96.0.10:53/tcp': ['10.1.0.1:53'],
      '10.96.0.10:53/udp': ['10.1.0.2:53'],
    });
    t.equal(plane.send({ from: CLIENT, to: '10.96.0.10:53', flags: ['SYN'] })!.to, '10.1.0.1:53');
    t.equal(plane.send({ from: CLIENT, to: '10.96.0.10:53', protocol: 'udp' })!.to, '10.1.0.2:53');
  });
});

t.test('side exits', async (t) => {
  t.test('a packet to a foreign address passes unchanged', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const packet = frame({ from: CLIENT, to: '192.0.2.1:80', flags: ['SYN'] });
    t.strictSame(plane.sendFrames(packet), [packet]);
    t.strictSame(plane.counts, { received: 1, passed: 1 });
  });

  const rejected = [
    { name: 'a Service without endpoints', spec: { to: '10.96.1.1:80', flags: ['SYN'] as const } },
    { name: 'an unserved port of a ClusterIP', spec: { to: '10.103.145.7:9999', flags: ['SYN'] as const } },
    { name: 'an unserved protocol of a ClusterIP', spec: { to: VIP, protocol: 'udp' as const } },
  ];
  for (const { name, spec } of rejected) {
    t.test(`${name} is rejected with ICMP port unreachable that quotes the packet`, async (t) => {
      const plane = new TestDataplane({ ...HTTPENV, '10.96.1.1:80/tcp': [] });
      const packet = frame({ from: CLIENT, payload: Buffer.alloc(1000, 1), ...spec, flags: ['SYN'] });
      const [out] = plane.sendFrames(packet);
      const answer = view(out!);
      t.equal(answer.to, CLIENT.split(':')[0]);
      t.equal(answer.from, spec.to.split(':')[0]);
      t.equal(answer.ipChecksumRight, true);
      t.equal(answer.length, 576, 'as much is quoted as fits 576 bytes');
      t.match(answer.icmp, { type: 3, code: 3, checksumRight: true });
      t.strictSame(Buffer.from(answer.icmp!.quoted), Buffer.from(packet.subarray(10, 10 + 548)));
      t.strictSame(plane.counts, { received: 1, rejected: 1 });
    });
  }

  t.test('a rejected GSO packet is answered by one plain packet', async (t) => {
    const plane = new TestDataplane({ '10.96.1.1:80/tcp': [] });
    const [out] = plane.sendFrames(
      frame({ from: CLIENT, to: '10.96.1.1:80', gsoSize: 1000, payload: Buffer.alloc(9000) }),
    );
    t.strictSame([...out!.subarray(0, 10)], Array(10).fill(0));
  });

  const dropped: { reason: string; bytes: () => Uint8Array }[] = [
    { reason: 'short-read', bytes: () => frame({ from: CLIENT, to: VIP }).subarray(0, 29) },
    { reason: 'short-read', bytes: () => new Uint8Array(3) },
    { reason: 'not-ip', bytes: () => patched({ from: CLIENT, to: VIP }, 0, 0x55) },
    { reason: 'ipv6', bytes: () => patched({ from: CLIENT, to: VIP }, 0, 0x60) },
    { reason: 'bad-ipv4-header', bytes: () => patched({ from: CLIENT, to: VIP }, 0, 0x44) },
    { reason: 'bad-ipv4-header', bytes: () => patched({ from: CLIENT, to: VIP }, 0, 0x4f) },
    { reason: 'bad-ipv4-header', bytes: () => patched({ from: CLIENT, to: VIP }, 3, 41) },
    { reason: 'bad-ipv4-header', bytes: () => patched({ from: CLIENT, to: VIP }, 3, 19) },
    { reason: 'bad-tcp-header', bytes: () => patched({ from: CLIENT, to: VIP }, 32, 0x40) },
    { reason: 'bad-tcp-header', bytes: () => patched({ from: CLIENT, to: VIP }, 32, 0x60) },
    { reason: 'bad-tcp-header', bytes: () => patched({ from: CLIENT, to: VIP }, 3, 39) },
    { reason: 'bad-udp-length', bytes: () => patched({ from: CLIENT, to: VIP, protocol: 'udp' }, 25, 9) },
    { reason: 'bad-udp-length', bytes: () => patched({ from: CLIENT, to: VIP, protocol: 'udp' }, 25, 7) },
    {
      reason: 'fragment',
      bytes: () => frame({ from: CLIENT, to: VIP, fragment: { offset: 0, more: true } }),
    },
    {
      reason: 'fragment',
      bytes: () => frame({ from: CLIENT, to: VIP, fragment: { offset: 185, more: false } }),
    },
    {
      reason: 'fragment',
      bytes: () => frame({ from: CLIENT, to: VIP, fragment: { offset: 256, more: false } }),
    },
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
      t.strictSame(plane.sendFrames(bytes()), []);
      t.strictSame(plane.counts, { received: 1, [reason]: 1 });
      t.equal(plane.cx.flows.count, 0);
    });
  }

  t.test('a full flow table drops new flows and keeps the old ones', async (t) => {
    const plane = new TestDataplane(HTTPENV, { flowCapacity: 4 });
    const first = plane.send({ from: '10.0.1.2:1', to: VIP, flags: ['SYN'] })!;
    for (let port = 2; port <= 4; port++) plane.send({ from: `10.0.1.2:${port}`, to: VIP, flags: ['SYN'] });
    t.equal(plane.send({ from: '10.0.1.2:5', to: VIP, flags: ['SYN'] }), undefined);
    t.strictSame(plane.counts, { received: 5, forwarded: 4, 'flow-table-full': 1 });
    t.equal(plane.send({ from: '10.0.1.2:1', to: VIP, flags: ['ACK'] })!.to, first.to);
  });

  t.test('a packet that the kernel refuses is counted as such and nowhere else', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const { device } = plane;
    const write = device.writeBatch.bind(device);
    device.writeBatch = (count) => {
      plane.cx.slab.lengths[0] = -22;
      return write(count);
    };
    plane.sendFrames(frame({ from: CLIENT, to: VIP, flags: ['SYN'] }), frame({ from: CLIENT, to: VIP }));
    t.strictSame(plane.counts, { received: 2, forwarded: 1, 'write-failed': 1 });
  });
});

t.test('the life of a flow', async (t) => {
  t.test('a new SYN over the tuple of a finished connection is a new flow', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const seen = new Set<string>();
    for (let i = 0; i < 30; i++) {
      const syn = plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!;
      seen.add(syn.to);
      plane.send({ from: syn.to, to: syn.from, flags: ['RST', 'ACK'] });
    }
    t.equal(seen.size, 3, 'each chooses anew');
    t.equal(plane.cx.flows.count, 1);
  });

  t.test('a repeated SYN of a connection that is being made stays with its endpoint', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!;
    for (let i = 0; i < 20; i++) t.equal(plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!.to, first.to);
  });

  t.test('an unanswered UDP flow ends after 30 s, an answered one after 120 s', async (t) => {
    const plane = new TestDataplane(DNS);
    const query: PacketSpec = { from: CLIENT, to: '10.96.0.10:53', protocol: 'udp' };
    plane.send(query);
    plane.sleep(29);
    t.equal(plane.cx.flows.count, 1);
    plane.sleep(12);
    t.equal(plane.cx.flows.count, 0);

    const there = plane.send(query)!;
    plane.send({ from: there.to, to: there.from, protocol: 'udp' });
    plane.sleep(119);
    t.equal(plane.cx.flows.count, 1);
    plane.sleep(12);
    t.equal(plane.cx.flows.count, 0);
  });

  t.test('an expired flow is not used, also when it has not been reaped yet', async (t) => {
    const plane = new TestDataplane(DNS);
    const query: PacketSpec = { from: CLIENT, to: '10.96.0.10:53', protocol: 'udp' };
    const sources = new Set<string>();
    for (let i = 0; i < 5; i++) {
      sources.add(plane.send(query)!.from);
      plane.nowMs += 31_000;
      plane.cx.reapedMs = plane.nowMs; // no reaper
    }
    t.equal(sources.size, 5);
  });

  t.test('a flow keeps its endpoint when the Service loses it', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!;
    plane.change({ [`${VIP}/tcp`]: ['10.9.9.9:1'] });
    t.equal(plane.send({ from: CLIENT, to: VIP })!.to, first.to);
    t.equal(plane.send({ from: '10.0.1.2:40001', to: VIP, flags: ['SYN'] })!.to, '10.9.9.9:1');
  });

  t.test('a flow goes on when another worker takes over the file', async (t) => {
    const plane = new TestDataplane(HTTPENV);
    const first = plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!;
    const next = new TestDataplane(HTTPENV, { flowFile: plane.cx.flows.entries.buffer, seed: 99 });
    const again = next.send({ from: CLIENT, to: VIP })!;
    t.strictSame([again.from, again.to], [first.from, first.to]);
  });
});

t.test('packets and bytes are counted for the endpoint and the direction', async (t) => {
  const plane = new TestDataplane({ [`${VIP}/tcp`]: ['10.244.0.3:8080'] });
  const there = plane.send({ from: CLIENT, to: VIP, flags: ['SYN'] })!;
  plane.send({ from: CLIENT, to: VIP, payload: Buffer.alloc(60) });
  plane.send({ from: there.to, to: there.from, payload: Buffer.alloc(1000) });
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

/** A packet with one byte overwritten; `at` counts from the IP header, negative into the virtio-net header. */
function patched(spec: PacketSpec, at: number, value: number): Uint8Array {
  const bytes = frame(spec);
  bytes[10 + at] = value;
  return bytes;
}

/** Joining against not joining: whatever a batch holds, receivers get the same packets of every flow in the same order. */
import fc from 'fast-check';
import t from 'tap';
import { COALESCE } from '../../src/dataplane/coalesce.js';
import { isStream, turn } from '../../src/dataplane/loop.js';
import { SLOTS } from '../../src/dataplane/packet.js';
import { TestDataplane } from '../support/dataplane.js';
import { frame, type PacketSpec, type TcpFlag, view } from '../support/packets.js';
import { holds } from '../support/property.js';
import { flowOf, segments } from '../support/segment.js';

const FAMILIES = [
  {
    name: 'IPv4',
    VIP: '10.103.145.7:8888',
    ENDPOINT: '10.244.0.3:8080',
    client: (n: number) => `10.0.1.2:${40000 + n}`,
  },
  {
    name: 'IPv6',
    VIP: '[fd00:10:96::7]:8888',
    ENDPOINT: '[fd00:244::3]:8080',
    client: (n: number) => `[2001:db8::2]:${40000 + n}`,
  },
];
const BOTH = COALESCE.TCP | COALESCE.UDP;
const CLIENTS = 3;

/** What one packet of a batch is like; most are like their neighbours. */
interface Shape {
  client: number;
  family: number;
  protocol: 'tcp' | 'udp';
  /** Payload bytes. */
  size: number;
  flags: TcpFlag[];
  /** Bytes by which the sequence number is off. */
  gap: number;
  ack: number;
  ttl: number;
  checksum: 'partial' | 'verified' | 'unverified' | 'none';
  mayFragment: boolean;
  gso: boolean;
}

const mostly = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );

const shape: fc.Arbitrary<Shape> = fc.record({
  client: fc.nat(CLIENTS - 1),
  family: mostly(0, 1),
  protocol: mostly<'tcp' | 'udp'>('udp', 'tcp'),
  size: mostly(64, 1, 63, 65, 0, 1400),
  flags: mostly<TcpFlag[]>(['ACK'], ['ACK', 'PSH'], ['ACK', 'FIN'], ['RST'], ['ACK', 'URG'], ['SYN']),
  gap: mostly(0, 1, -64, 100_000),
  ack: mostly(7000, 7001),
  ttl: mostly(64, 63),
  checksum: mostly<Shape['checksum']>('partial', 'verified', 'unverified', 'none'),
  mayFragment: mostly(false, true),
  gso: mostly(false, true),
});
const batch = fc
  .tuple(fc.array(shape, { minLength: 2, maxLength: 40 }), fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'))
  .map(([shapes, usual]) =>
    shapes.map(
      (one) =>
        ({ ...one, protocol: one.protocol === 'udp' ? usual : usual === 'udp' ? 'tcp' : 'udp' }) as Shape,
    ),
  );

/** The frames of a batch, in which the sequence numbers of every connection go on from packet to packet. */
function framesOf(shapes: readonly Shape[]): Uint8Array[] {
  const next = new Map<string, number>();
  return shapes.map((one, i) => {
    const { VIP, client } = FAMILIES[one.family]!;
    const id = `${one.family} ${one.client} ${one.protocol}`;
    const seq = ((next.get(id) ?? 0xffff_ff00) + one.gap) >>> 0;
    const size = one.gso ? 3000 : one.size;
    next.set(id, (seq + size) >>> 0);
    const spec: PacketSpec = {
      from: client(one.client),
      to: VIP,
      protocol: one.protocol,
      flags: one.flags,
      seq,
      ack: one.ack,
      ttl: one.ttl,
      payload: Uint8Array.from({ length: size }, (_, at) => (at * 7 + i) & 255),
      ...(one.checksum === 'partial' && { partial: true }),
      ...(one.checksum === 'none' && one.family === 0 && one.protocol === 'udp' && { noChecksum: true }),
      ...(one.gso && { gsoSize: 1000 }),
    };
    const bytes = frame(spec);
    if (one.checksum === 'verified' && !one.gso) bytes[0]! |= 2;
    if (one.mayFragment && one.family === 0) {
      bytes[10 + 6]! &= ~0x40;
      const sum = ((bytes[10 + 10]! << 8) | bytes[10 + 11]!) + 0x4000; // a bit less in the header, so much more here
      const folded = (sum & 0xffff) + (sum >>> 16);
      bytes.set([folded >> 8, folded & 255], 10 + 10);
    }
    return bytes;
  });
}

/** A plane in which every client has a connection and a stream of datagrams under way. */
function planeWith(coalesce: number): TestDataplane {
  const services = Object.fromEntries(
    FAMILIES.flatMap(({ VIP, ENDPOINT }) => [
      [`${VIP}/tcp`, [ENDPOINT]],
      [`${VIP}/udp`, [ENDPOINT]],
    ]),
  );
  const plane = new TestDataplane(services, { coalesce });
  for (const { VIP, client } of FAMILIES) {
    for (let n = 0; n < CLIENTS; n++) {
      const syn = plane.forward({ from: client(n), to: VIP, flags: ['SYN'] });
      plane.forward({ from: syn.to, to: syn.from, flags: ['SYN', 'ACK'] });
      plane.forward({ from: client(n), to: VIP, flags: ['ACK'] });
      plane.forward({ from: client(n), to: VIP, protocol: 'udp' });
    }
  }
  return plane;
}

/** The packets of every flow in their order, as text. */
function received(frames: readonly Uint8Array[]): Map<string, string[]> {
  const byFlow = new Map<string, string[]>();
  for (const packet of frames.flatMap(segments)) {
    const flow = flowOf(packet);
    byFlow.set(flow, [...(byFlow.get(flow) ?? []), Buffer.from(packet).toString('hex')]);
  }
  return byFlow;
}

t.test('receivers get the same, byte for byte', async (t) => {
  let joined = 0;
  holds(
    fc.property(batch, (shapes) => {
      const frames = framesOf(shapes);
      const one = planeWith(COALESCE.NONE);
      const other = planeWith(BOTH);
      const alone = one.send(...frames);
      const together = other.send(...frames);
      joined += alone.length - together.length;
      const [a, b] = [received(alone), received(together)];
      if (a.size !== b.size) return false;
      for (const [flow, packets] of a) if (b.get(flow)?.join() !== packets.join()) return false;
      return JSON.stringify(one.counts) === JSON.stringify(other.counts);
    }),
    300,
  );
  t.ok(joined > 300, `${joined} packets were joined to others`);
});

for (const { name, VIP, ENDPOINT, client } of FAMILIES) {
  const segment = (i: number, rest: Partial<PacketSpec> = {}): Uint8Array =>
    frame({
      ...{ from: client(0), to: VIP, flags: ['ACK'], seq: 5000 + i * 100, ack: 9, partial: true },
      ...{ payload: new Uint8Array(100).fill(i), ...rest },
    });
  const datagram = (i: number, rest: Partial<PacketSpec> = {}): Uint8Array =>
    segment(i, { protocol: 'udp', payload: new Uint8Array(100).fill(i), ...rest });
  const sizes = (frames: readonly Uint8Array[]): number[] =>
    frames.map((bytes) => view(bytes).payload.length);

  const cases: readonly (readonly [string, Uint8Array[], number[]])[] = [
    ['segments in a row become one', [segment(0), segment(1), segment(2)], [300]],
    [
      'the last may be shorter',
      [segment(0), segment(1, { payload: new Uint8Array(7) }), segment(2)],
      [107, 100],
    ],
    ['a longer one begins anew', [segment(0), segment(1, { payload: new Uint8Array(101) })], [100, 101]],
    ['PSH is kept and ends it', [segment(0), segment(1, { flags: ['ACK', 'PSH'] }), segment(2)], [200, 100]],
    ['a gap divides', [segment(0), segment(2)], [100, 100]],
    ['another acknowledgement divides', [segment(0), segment(1, { ack: 10 })], [100, 100]],
    ['another TTL divides', [segment(0), segment(1, { ttl: 3 })], [100, 100]],
    [
      'an acknowledgement alone divides',
      [segment(0), segment(1, { payload: new Uint8Array(0) }), segment(1)],
      [100, 0, 100],
    ],
    ['datagrams of one size become one', [datagram(0), datagram(1), datagram(2)], [300]],
    [
      'a shorter datagram is the last',
      [datagram(0), datagram(1, { payload: new Uint8Array(9) }), datagram(2)],
      [109, 100],
    ],
    [
      'unverified checksums are left alone',
      [datagram(0, { partial: false }), datagram(1, { partial: false })],
      [100, 100],
    ],
    [
      'flows that alternate are joined each for itself',
      [datagram(0), segment(0), datagram(1), segment(1)],
      [200, 200],
    ],
    [
      'so many that the whole would be too long are two',
      Array.from({ length: 50 }, (_, i) => datagram(i, { payload: new Uint8Array(1400) })),
      [46 * 1400, 4 * 1400],
    ],
  ];
  for (const [title, frames, expected] of cases) {
    t.test(`${name}: ${title}`, async (t) => {
      const plane = planeWith(BOTH);
      const before = plane.counts['forwarded'] ?? 0;
      const out = plane.send(...frames);
      t.strictSame(sizes(out), expected);
      t.ok(out.every((bytes) => view(bytes).to === ENDPOINT));
      t.equal((plane.counts['forwarded'] ?? 0) - before, frames.length, 'every packet is counted');
    });
  }

  t.test(`${name}: only what the device takes is joined`, async (t) => {
    t.strictSame(
      sizes(planeWith(COALESCE.TCP).send(datagram(0), datagram(1), segment(0), segment(1))),
      [100, 100, 200],
    );
    t.strictSame(
      sizes(planeWith(COALESCE.UDP).send(datagram(0), datagram(1), segment(0), segment(1))),
      [200, 100, 100],
    );
  });

  t.test(`${name}: a worker looks away while a stream gathers, and only then`, async (t) => {
    const many = (count: number): Uint8Array[] => Array.from({ length: count }, (_, i) => datagram(i));
    const isStreamAfter = (what: number, frames: readonly Uint8Array[]): boolean => {
      const plane = planeWith(what);
      for (const bytes of frames) plane.device.put(bytes);
      return isStream(plane.cx, turn(plane.cx, plane.device, plane.nowMs));
    };
    t.equal(isStreamAfter(BOTH, many(3)), true, 'all were joined');
    t.equal(isStreamAfter(BOTH, [datagram(0), segment(0), datagram(1), segment(1)]), true, 'two streams');
    t.equal(isStreamAfter(BOTH, many(1)), false, 'one packet');
    t.equal(isStreamAfter(BOTH, []), false, 'none');
    t.equal(isStreamAfter(BOTH, [datagram(0), segment(0), datagram(1)]), false, 'somebody else is there');
    t.equal(isStreamAfter(BOTH, many(SLOTS)), false, 'a full batch: more waits already');
    t.equal(isStreamAfter(COALESCE.NONE, many(3)), false, 'nothing is joined here');
  });

  t.test(`${name}: a whole that the kernel refuses is as many packets lost`, async (t) => {
    const plane = planeWith(BOTH);
    const before = plane.counts['forwarded'] ?? 0;
    plane.device.writeBatch = () => {
      plane.cx.slab.lengths[0] = -22;
      return 0;
    };
    plane.send(datagram(0), datagram(1), datagram(2));
    t.equal(plane.counts['write-failed'], 3);
    t.equal(plane.counts['forwarded'], before);
  });
}

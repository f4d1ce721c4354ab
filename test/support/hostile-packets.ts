/** Frames that nobody would send and that somebody will: for the fuzz. Plain values, so that fast-check can shrink them. */
import fc from 'fast-check';
import {
  crc32c,
  type IcmpErrorSpec,
  icmpError as icmpMessage,
  type PacketSpec,
  type TcpFlag,
  VNET_BYTES,
} from './packets.js';
import { clusterIP, externalIP, NODE, NODE_PORT, PORT, SERVICES, TARGET_PORT } from './world.js';

const at = (ip: string, port: number): string => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`);

const services = Array.from({ length: SERVICES }, (_, service) => service);
const vips = (v6: boolean): string[] =>
  services.flatMap((service) => [clusterIP(service, v6), externalIP(service, v6)]);
const CLIENTS = [
  ['203.0.113.5', '10.32.0.1', '10.32.1.2', '198.51.100.7', '192.0.2.77', '127.0.0.1'],
  ['2001:db8:113::5', 'fd00:32::1:1', 'fd00:32::2:2', '2001:db8:7::7', '2001:db8:9::9', 'fe80::1'],
] as const;
const MARTIANS = [
  ['0.0.0.0', '255.255.255.255', '224.0.0.251', '240.1.2.3', '169.254.1.1', '198.18.0.9'],
  ['::', '::1', 'ff02::1', '::ffff:1.2.3.4', 'fd00:198:18::9', '100::1'],
].map((list) => list.map((ip) => ip.replace('1.2.3.4', '102:304')));
const FOREIGN = [
  ['192.0.2.250', '198.18.0.3', '10.32.0.1'],
  ['2001:db8:ff::1', 'fd00:198:18::3', 'fd00:32::1:1'],
];

const anyPort = fc.constantFrom(
  PORT,
  PORT,
  81,
  NODE_PORT,
  NODE_PORT + 1,
  NODE_PORT + 6,
  TARGET_PORT,
  0,
  65535,
);
const anySport = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 40_000, max: 40_003 }) },
  { weight: 1, arbitrary: anyPort },
);
const anyFlags = fc.constantFrom<TcpFlag[]>(
  ['SYN'],
  ['SYN'],
  ['SYN'],
  ['ACK'],
  ['SYN', 'ACK'],
  ['RST'],
  ['RST', 'ACK'],
  ['FIN', 'ACK'],
  ['SYN', 'FIN'],
  [],
  ['FIN', 'PSH', 'URG'],
);
const anyPayload = fc.oneof(
  fc.constant(new Uint8Array(0)),
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 1400, max: 2200 }).map((length) => new Uint8Array(length).fill(7)),
);

const family = <Value>(pair: (v6: boolean) => fc.Arbitrary<Value>): fc.Arbitrary<Value> =>
  fc.boolean().chain(pair);

/** A packet as a well-meaning sender builds it, from anybody to anybody. */
const anyOddSpec: fc.Arbitrary<PacketSpec> = family((v6) => {
  const f = v6 ? 1 : 0;
  const anySource = fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...CLIENTS[f]!) },
    { weight: 1, arbitrary: fc.constantFrom(...MARTIANS[f]!) },
    { weight: 1, arbitrary: fc.constantFrom(...vips(v6)) },
  );
  const anyDestination = fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom(...vips(v6)) },
    { weight: 2, arbitrary: fc.constantFrom(NODE[f]!, v6 ? '::1' : '127.0.0.1') },
    { weight: 1, arbitrary: fc.constantFrom(...MARTIANS[f]!, ...FOREIGN[f]!) },
  );
  return fc
    .record({
      src: anySource,
      dst: anyDestination,
      sport: anySport,
      dport: anyPort,
      protocol: fc.constantFrom('tcp', 'tcp', 'tcp', 'udp', 'udp', 'sctp', v6 ? 58 : 1, 0, 47),
      flags: anyFlags,
      seq: fc.constantFrom(0, 1000, 0xffff_ffff),
      ack: fc.constantFrom(0, 1001, 0x8000_0000),
      payload: anyPayload,
      ttl: fc.constantFrom(64, 64, 64, 64, 64, 64, 64, 255, 255, 1, 1, 0),
      extra: fc.constantFrom('', '', '', '', 'options', 'partial', 'gso', 'noChecksum', 'fragment', 'last'),
      land: fc.integer({ max: 30, min: 0 }).map((n) => n === 0),
    })
    .map(({ src, dst, sport, dport, protocol, extra, land, ...rest }): PacketSpec => {
      const hasPorts = protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp';
      const to = hasPorts ? at(dst, dport) : dst;
      const spec: PacketSpec = {
        from: land ? to : hasPorts ? at(src, sport) : src,
        to,
        protocol: protocol as NonNullable<PacketSpec['protocol']>,
        ...rest,
      };
      if (!hasPorts) spec.payload = rest.payload.length < 8 ? new Uint8Array(8) : rest.payload;
      if (extra === 'options')
        Object.assign(spec, v6 ? EXTENSIONS(protocol) : { options: Uint8Array.of(1, 1, 1, 0) });
      if (extra === 'partial' && protocol !== 'sctp') spec.partial = true;
      if (extra === 'gso' && (protocol === 'tcp' || protocol === 'udp')) spec.gsoSize = 500;
      if (extra === 'noChecksum') spec.noChecksum = true;
      if (extra === 'fragment' && !v6) spec.fragment = { offset: 0, more: true };
      if (extra === 'last' && !v6) spec.fragment = { offset: 100, more: false };
      return spec;
    });
});

/** The first packet of a connection to a Service, with nothing odd about it. */
const anyFirst: fc.Arbitrary<PacketSpec> = family((v6) => {
  const f = v6 ? 1 : 0;
  return fc
    .record({
      src: fc.constantFrom(...CLIENTS[f]!.slice(0, 5)),
      to: fc.oneof(
        fc.constantFrom(...vips(v6)).map((ip) => at(ip, PORT)),
        fc.integer({ min: 0, max: 10 }).map((port) => at(NODE[f]!, NODE_PORT + port)),
      ),
      sport: fc.integer({ min: 40_000, max: 40_009 }),
      protocol: fc.constantFrom('tcp' as const, 'tcp' as const, 'udp' as const, 'sctp' as const),
      payload: fc.uint8Array({ maxLength: 9 }),
    })
    .map(({ src, sport, ...rest }) => ({ from: at(src, sport), flags: ['SYN' as const], ...rest }));
});

export const anySpec: fc.Arbitrary<PacketSpec> = fc.oneof(anyFirst, anyOddSpec);

const NUMBERS: Record<string, number> = { tcp: 6, udp: 17, sctp: 132 };
/** A ping, its answer or another query, with a right checksum: of a Service's address, the node's, anybody's. */
export const anyQuery: fc.Arbitrary<Uint8Array> = family((v6) => {
  const f = v6 ? 1 : 0;
  return fc
    .record<IcmpErrorSpec>({
      from: fc.constantFrom(...CLIENTS[f]!, ...MARTIANS[f]!, ...vips(v6)),
      to: fc.constantFrom(...vips(v6), ...vips(v6), NODE[f]!, ...MARTIANS[f]!),
      type: v6 ? fc.constantFrom(128, 128, 128, 129, 133, 139) : fc.constantFrom(8, 8, 8, 0, 13, 17),
      code: fc.constantFrom(0, 0, 0, 0, 1),
      rest: fc.constantFrom(0, 0x1234_0001),
      quoted: anyPayload,
    })
    .map(icmpMessage);
});

const EXTENSIONS = (protocol: string | number): Partial<PacketSpec> => ({
  extensions: 0,
  options: Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0, NUMBERS[protocol] ?? Number(protocol), 0, 1, 4, 0, 0, 0, 0),
});

/** What a mean sender, or a bad cable, does to a frame. Offsets are taken modulo its length. */
export type Mutation =
  | { kind: 'bit'; at: number; bit: number }
  | { kind: 'byte'; at: number; value: number }
  | { kind: 'half'; at: number; value: number }
  | { kind: 'cut'; at: number }
  | { kind: 'pad'; count: number };

/** Where lengths, offsets and types stand: in the virtio-net header, then from the IP header on. */
const TELLING = [0, 1, 2, 4, 6, 8, 10, 12, 13, 14, 16, 17, 18, 19, 20, 34, 36, 42, 50, 51, 53, 54, 56, 62];

export const anyMutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('bit' as const), at: fc.nat(90), bit: fc.nat(7) }),
  fc.record({
    kind: fc.constant('byte' as const),
    at: fc.constantFrom(...TELLING),
    value: fc.oneof(fc.constantFrom(0, 1, 0xff, 0x40, 0x4f, 0x60), fc.nat(255)),
  }),
  fc.record({
    kind: fc.constant('half' as const),
    at: fc.constantFrom(...TELLING),
    value: fc.oneof(fc.constantFrom(0, 1, 8, 20, 40, 0xffff), fc.nat(0xffff)),
  }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat(2300) }),
  fc.record({ kind: fc.constant('pad' as const), count: fc.integer({ min: 1, max: 40 }) }),
);

export function mutated(bytes: Uint8Array, mutations: readonly Mutation[]): Uint8Array {
  let out = bytes.slice();
  for (const mutation of mutations) {
    if (out.length === 0) break;
    if (mutation.kind === 'cut') out = out.slice(0, mutation.at % (out.length + 1));
    else if (mutation.kind === 'pad') out = Uint8Array.from([...out, ...Array(mutation.count).fill(0xee)]);
    else {
      const where = mutation.at % out.length;
      if (mutation.kind === 'bit') out[where]! ^= 1 << mutation.bit;
      else if (mutation.kind === 'byte') out[where] = mutation.value;
      else {
        out[where] = mutation.value >> 8;
        if (where + 1 < out.length) out[where + 1] = mutation.value & 0xff;
      }
    }
  }
  return out;
}

/** An ICMP error about a packet that left, as a router on its way sends it. */
export function icmpError(about: Uint8Array, type: number, code: number, quoted: number): Uint8Array {
  const packet = about.subarray(VNET_BYTES);
  const v6 = packet[0]! >> 4 === 6;
  const sender = v6 ? packet.subarray(8, 24) : packet.subarray(12, 16);
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((sender[i * 2]! << 8) | sender[i * 2 + 1]!).toString(16),
  );
  const to = v6 ? groups.join(':') : [...sender].join('.');
  return icmpMessage({
    from: v6 ? 'fd00:32::fe' : '10.32.0.254',
    to: v6 ? to.replace(/^0:0:0:0:0:0:0:/, '::') : to,
    type,
    code,
    rest: 0x578,
    quoted: packet.subarray(0, quoted),
  });
}

/** The packet that answers one that left: ends exchanged, for TCP with other flags, checksums as right as they were. */
export function answerTo(left: Uint8Array, flags: number): Uint8Array {
  const bytes = left.slice();
  const packet = bytes.subarray(VNET_BYTES);
  const v6 = packet[0]! >> 4 === 6;
  const [src, dst, size] = v6 ? [8, 24, 16] : [12, 16, 4];
  exchange(packet, src!, dst!, size!);
  let l4 = v6 ? 40 : (packet[0]! & 15) * 4;
  let protocol = packet[v6 ? 6 : 9]!;
  while (v6 && [0, 43, 60].includes(protocol)) {
    protocol = packet[l4]!;
    l4 += 8 + packet[l4 + 1]! * 8;
  }
  exchange(packet, l4, l4 + 2, 2);
  if (protocol === 6) {
    const before = packet[l4 + 13]!;
    packet[l4 + 13] = flags;
    if ((bytes[0]! & 1) === 0) {
      const check = (packet[l4 + 16]! << 8) | packet[l4 + 17]!;
      const sum = 0xffff - ((0xffff - check + 0xffff - before + flags) % 0xffff);
      packet[l4 + 16] = sum >> 8;
      packet[l4 + 17] = sum & 0xff;
    }
  } else if (protocol === 132) {
    const length = v6 ? 40 + ((packet[4]! << 8) | packet[5]!) : (packet[2]! << 8) | packet[3]!;
    new DataView(packet.buffer, packet.byteOffset).setUint32(
      l4 + 8,
      crc32c(packet.subarray(l4, length)),
      true,
    );
  }
  return bytes;
}

function exchange(bytes: Uint8Array, a: number, b: number, size: number): void {
  const first = bytes.slice(a, a + size);
  bytes.copyWithin(a, b, b + size);
  bytes.set(first, b);
}

/**
 * Packets for tests: built from plain values, and read back into plain values. Slow and obvious on purpose, byte by
 * byte in network order and sharing no code with src/, so that it can judge src/.
 */

export interface PacketSpec {
  /** "ip:port" of sender and receiver; no ":port" for other protocols than TCP and UDP. */
  from: string;
  to: string;
  protocol?: 'tcp' | 'udp' | 'icmp' | number;
  /** TCP flags, e.g. ['SYN', 'ACK']. */
  flags?: TcpFlag[];
  payload?: Uint8Array;
  /** IPv4 options; a multiple of 4 bytes. */
  options?: Uint8Array;
  ttl?: number;
  id?: number;
  /** UDP checksum left out (zero). */
  noChecksum?: boolean;
  /** Transport checksum left to the receiver, as CHECKSUM_PARTIAL does. */
  partial?: boolean;
  /** Payload bytes of each segment of a GSO super-packet; implies `partial`. */
  gsoSize?: number;
  /** Fragment field: offset in units of 8 bytes, and whether more follow. */
  fragment?: { offset: number; more: boolean };
}

export type TcpFlag = keyof typeof FLAG_BITS;
const FLAG_BITS = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;
const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17 } as const;
export const VNET_BYTES = 10;

/** The frame of a packet: virtio-net header, then the packet with right checksums. */
export function frame(spec: PacketSpec): Uint8Array {
  const [srcIp, srcPort] = split(spec.from);
  const [dstIp, dstPort] = split(spec.to);
  const protocol = typeof spec.protocol === 'number' ? spec.protocol : PROTOCOLS[spec.protocol ?? 'tcp'];
  const payload = spec.payload ?? new Uint8Array(0);
  const options = spec.options ?? new Uint8Array(0);
  const l4Header = protocol === 6 ? 20 : protocol === 17 ? 8 : 0;
  const ipHeader = 20 + options.length;
  const total = ipHeader + l4Header + payload.length;
  const bytes = new Uint8Array(VNET_BYTES + total);
  const ip = new DataView(bytes.buffer, VNET_BYTES);

  ip.setUint8(0, 0x40 | (ipHeader / 4));
  ip.setUint16(2, total);
  ip.setUint16(4, spec.id ?? 0x1234);
  const fragment = spec.fragment;
  ip.setUint16(6, fragment ? (fragment.more ? 0x2000 : 0) | fragment.offset : 0x4000);
  ip.setUint8(8, spec.ttl ?? 64);
  ip.setUint8(9, protocol);
  bytes.set(ipBytes(srcIp), VNET_BYTES + 12);
  bytes.set(ipBytes(dstIp), VNET_BYTES + 16);
  bytes.set(options, VNET_BYTES + 20);
  ip.setUint16(10, checksum(bytes.subarray(VNET_BYTES, VNET_BYTES + ipHeader)));

  bytes.set(payload, VNET_BYTES + ipHeader + l4Header);
  if (protocol === 6) {
    ip.setUint16(ipHeader, srcPort);
    ip.setUint16(ipHeader + 2, dstPort);
    ip.setUint32(ipHeader + 4, 1000);
    ip.setUint8(ipHeader + 12, 5 << 4);
    ip.setUint8(
      ipHeader + 13,
      (spec.flags ?? ['ACK']).reduce((bits, flag) => bits | FLAG_BITS[flag], 0),
    );
    ip.setUint16(ipHeader + 14, 65535);
  } else if (protocol === 17) {
    ip.setUint16(ipHeader, srcPort);
    ip.setUint16(ipHeader + 2, dstPort);
    ip.setUint16(ipHeader + 4, 8 + payload.length);
  }
  const checkAt = checkOffset(protocol);
  if (checkAt === undefined || (spec.noChecksum && protocol === 17)) return bytes;

  if (spec.partial || spec.gsoSize !== undefined) {
    ip.setUint16(ipHeader + checkAt, ~checksum(pseudoHeader(bytes.subarray(VNET_BYTES))) & 0xffff);
    const vnet = new DataView(bytes.buffer, 0, VNET_BYTES);
    vnet.setUint8(0, 1);
    vnet.setUint16(6, ipHeader, true);
    vnet.setUint16(8, checkAt, true);
    if (spec.gsoSize !== undefined) {
      vnet.setUint8(1, protocol === 6 ? 1 : 5);
      vnet.setUint16(2, ipHeader + l4Header, true);
      vnet.setUint16(4, spec.gsoSize, true);
    }
  } else {
    const sum = transportChecksum(bytes.subarray(VNET_BYTES));
    ip.setUint16(ipHeader + checkAt, protocol === 17 && sum === 0 ? 0xffff : sum);
  }
  return bytes;
}

export interface PacketView {
  from: string;
  to: string;
  protocol: number;
  flags: TcpFlag[];
  ttl: number;
  length: number;
  payload: Uint8Array;
  ipChecksumRight: boolean;
  /** 'right' also for a UDP checksum that is left out. */
  transportChecksum: 'right' | 'wrong' | 'partial' | 'none';
  gsoSize: number;
  icmp?: { type: number; code: number; checksumRight: boolean; quoted: Uint8Array };
}

/** Reads a frame that came out; judges its checksums by computing them in full. */
export function view(bytes: Uint8Array): PacketView {
  const vnet = new DataView(bytes.buffer, bytes.byteOffset, VNET_BYTES);
  const packet = bytes.subarray(VNET_BYTES);
  const ip = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const ipHeader = (ip.getUint8(0) & 15) * 4;
  const protocol = ip.getUint8(9);
  const hasPorts = protocol === 6 || protocol === 17;
  const l4Header = protocol === 6 ? (ip.getUint8(ipHeader + 12) >> 4) * 4 : 8;
  const port = (at: number) => (hasPorts ? `:${ip.getUint16(ipHeader + at)}` : '');
  const flagBits = protocol === 6 ? ip.getUint8(ipHeader + 13) : 0;
  const result: PacketView = {
    from: ipText(packet.subarray(12, 16)) + port(0),
    to: ipText(packet.subarray(16, 20)) + port(2),
    protocol,
    flags: (Object.keys(FLAG_BITS) as TcpFlag[]).filter((flag) => flagBits & FLAG_BITS[flag]),
    ttl: ip.getUint8(8),
    length: packet.length,
    payload: packet.slice(ipHeader + l4Header),
    ipChecksumRight: checksum(packet.subarray(0, ipHeader)) === 0,
    transportChecksum: hasPorts ? judgeTransport(packet, (vnet.getUint8(0) & 1) !== 0) : 'none',
    gsoSize: vnet.getUint16(4, true),
  };
  if (protocol === 1) {
    const icmp = packet.subarray(ipHeader);
    result.icmp = {
      type: icmp[0],
      code: icmp[1],
      checksumRight: checksum(icmp) === 0,
      quoted: icmp.slice(8),
    };
  }
  return result;
}

function judgeTransport(packet: Uint8Array, partial: boolean): PacketView['transportChecksum'] {
  const ipHeader = (packet[0] & 15) * 4;
  const at = ipHeader + checkOffset(packet[9])!;
  const stored = (packet[at] << 8) | packet[at + 1];
  if (partial) {
    // Only its value modulo 0xffff counts: whoever finishes it adds to it.
    const expected = ~checksum(pseudoHeader(packet)) & 0xffff;
    return stored % 0xffff === expected % 0xffff ? 'partial' : 'wrong';
  }
  if (packet[9] === 17 && stored === 0) return 'none';
  const sum = checksum(concat(pseudoHeader(packet), packet.subarray(ipHeader)));
  return sum === 0 ? 'right' : 'wrong';
}

/** What the transport checksum field should hold. */
function transportChecksum(packet: Uint8Array): number {
  const ipHeader = (packet[0] & 15) * 4;
  const at = checkOffset(packet[9])!;
  const segment = packet.slice(ipHeader);
  segment[at] = 0;
  segment[at + 1] = 0;
  return checksum(concat(pseudoHeader(packet), segment));
}

function pseudoHeader(packet: Uint8Array): Uint8Array {
  const length = packet.length - (packet[0] & 15) * 4;
  return concat(packet.subarray(12, 20), Uint8Array.of(0, packet[9], length >> 8, length & 0xff));
}

/** RFC 1071 by the book: big-endian halves, carries folded at the end, complement. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return 0xffff - sum;
}

const checkOffset = (protocol: number): number | undefined =>
  protocol === 6 ? 16 : protocol === 17 ? 6 : undefined;

function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function split(endpoint: string): [string, number] {
  const [ip, port] = endpoint.split(':');
  return [ip!, Number(port ?? 0)];
}

const ipBytes = (text: string): number[] => text.split('.').map(Number);
const ipText = (bytes: Uint8Array): string => [...bytes].join('.');

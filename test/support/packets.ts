/**
 * Packets for tests: built from plain values, and read back into plain values. Slow and obvious on purpose, byte by
 * byte in network order and sharing no code with src/, so that it can judge src/.
 */
import { isIPv4, isIPv6 } from 'node:net';

export interface PacketSpec {
  /** "ip:port" or "[ip6]:port" of sender and receiver; no port for protocols without. */
  from: string;
  to: string;
  protocol?: 'tcp' | 'udp' | 'sctp' | 'icmp' | number;
  /** TCP flags, e.g. ['SYN', 'ACK']. */
  flags?: TcpFlag[];
  seq?: number;
  ack?: number;
  /** TCP options; as many bytes as whole words. */
  tcpOptions?: Uint8Array;
  payload?: Uint8Array;
  /** IPv4 options, or IPv6 extension headers (then `extensions` says of which kind the first is). */
  options?: Uint8Array;
  /** Next-header value of the first extension header in `options`, which hold their own next-header values. */
  extensions?: number;
  ttl?: number;
  id?: number;
  /** UDP checksum left out (zero). */
  noChecksum?: boolean;
  /** Transport checksum left to the receiver, as CHECKSUM_PARTIAL does. */
  partial?: boolean;
  /** Payload bytes of each segment of a GSO super-packet; implies `partial`. */
  gsoSize?: number;
  /** Fragment field: offset in units of 8 bytes, and whether more follow. IPv4 only. */
  fragment?: { offset: number; more: boolean };
}

export type TcpFlag = keyof typeof FLAG_BITS;
const FLAG_BITS = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;
const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17, sctp: 132 } as const;
const L4_HEADER_BYTES: Record<number, number> = { 6: 20, 17: 8, 132: 12 };
const GSO_TYPES: Record<string, number> = { '6 4': 1, '6 6': 4, '17 4': 5, '17 6': 5 };
export const VNET_BYTES = 10;

/** The frame of a packet: virtio-net header, then the packet with right checksums. */
export function frame(spec: PacketSpec): Uint8Array {
  const [srcIp, srcPort] = split(spec.from);
  const [dstIp, dstPort] = split(spec.to);
  const version = isIPv4(srcIp) ? 4 : 6;
  const protocol = typeof spec.protocol === 'number' ? spec.protocol : PROTOCOLS[spec.protocol ?? 'tcp'];
  const payload = spec.payload ?? new Uint8Array(0);
  const options = spec.options ?? new Uint8Array(0);
  const tcpOptions = spec.tcpOptions ?? new Uint8Array(0);
  const l4Header = (L4_HEADER_BYTES[protocol] ?? 0) + tcpOptions.length;
  const ipHeader = (version === 4 ? 20 : 40) + options.length;
  const total = ipHeader + l4Header + payload.length;
  const bytes = new Uint8Array(VNET_BYTES + total);
  const ip = new DataView(bytes.buffer, VNET_BYTES);

  if (version === 4) {
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
  } else {
    ip.setUint32(0, 0x60012345); // a flow label, which must come through
    ip.setUint16(4, total - 40);
    ip.setUint8(6, spec.extensions ?? protocol);
    ip.setUint8(7, spec.ttl ?? 64);
    bytes.set(ipBytes(srcIp), VNET_BYTES + 8);
    bytes.set(ipBytes(dstIp), VNET_BYTES + 24);
    bytes.set(options, VNET_BYTES + 40);
  }

  bytes.set(payload, VNET_BYTES + ipHeader + l4Header);
  if (l4Header > 0) {
    ip.setUint16(ipHeader, srcPort);
    ip.setUint16(ipHeader + 2, dstPort);
  }
  if (protocol === 6) {
    ip.setUint32(ipHeader + 4, spec.seq ?? 1000);
    ip.setUint32(ipHeader + 8, spec.ack ?? 0);
    ip.setUint8(ipHeader + 12, (l4Header / 4) << 4);
    bytes.set(tcpOptions, VNET_BYTES + ipHeader + 20);
    ip.setUint8(
      ipHeader + 13,
      (spec.flags ?? ['ACK']).reduce((bits, flag) => bits | FLAG_BITS[flag], 0),
    );
    ip.setUint16(ipHeader + 14, 65535);
  } else if (protocol === 17) {
    ip.setUint16(ipHeader + 4, 8 + payload.length);
  } else if (protocol === 132) {
    ip.setUint32(ipHeader + 8, crc32c(bytes.subarray(VNET_BYTES + ipHeader)), true);
  }
  const checkAt = checkOffset(protocol);
  if (checkAt === undefined || (spec.noChecksum && protocol === 17)) return bytes;

  const packet = bytes.subarray(VNET_BYTES);
  if (spec.partial || spec.gsoSize !== undefined) {
    ip.setUint16(ipHeader + checkAt, ~checksum(pseudoHeader(packet, ipHeader, protocol)) & 0xffff);
    const vnet = new DataView(bytes.buffer, 0, VNET_BYTES);
    vnet.setUint8(0, 1);
    vnet.setUint16(6, ipHeader, true);
    vnet.setUint16(8, checkAt, true);
    if (spec.gsoSize !== undefined) {
      vnet.setUint8(1, GSO_TYPES[`${protocol} ${version}`]);
      vnet.setUint16(2, ipHeader + l4Header, true);
      vnet.setUint16(4, spec.gsoSize, true);
    }
  } else {
    const sum = checksum(concat(pseudoHeader(packet, ipHeader, protocol), packet.subarray(ipHeader)));
    ip.setUint16(ipHeader + checkAt, protocol === 17 && sum === 0 ? 0xffff : sum);
  }
  return bytes;
}

export interface IcmpErrorSpec {
  /** Addresses without ports. */
  from: string;
  to: string;
  type: number;
  code: number;
  /** The second word of the header: an MTU, a pointer, a length of the quote. */
  rest?: number;
  /** As much of the packet that failed as is quoted, from its IP header on, and extensions behind it. */
  quoted: Uint8Array;
  /** As in PacketSpec, of the packet that carries the error. */
  options?: Uint8Array;
  extensions?: number;
  ttl?: number;
}

/** The frame of an ICMP or ICMPv6 error with right checksums. */
export function icmpError({ type, code, rest = 0, quoted, ...outer }: IcmpErrorSpec): Uint8Array {
  const protocol = isIPv4(outer.from) ? 1 : 58;
  const header = Uint8Array.of(type, code, 0, 0, rest >>> 24, rest >>> 16, rest >>> 8, rest);
  const bytes = frame({ ...outer, protocol, payload: concat(header, quoted) });
  const packet = bytes.subarray(VNET_BYTES);
  const ipHeader = packet.length - header.length - quoted.length;
  const pseudo = protocol === 1 ? new Uint8Array(0) : pseudoHeader(packet, ipHeader, protocol);
  const sum = checksum(concat(pseudo, packet.subarray(ipHeader)));
  packet.set([sum >> 8, sum & 0xff], ipHeader + 2);
  return bytes;
}

export interface PacketView {
  from: string;
  to: string;
  protocol: number;
  flags: TcpFlag[];
  seq: number;
  ack: number;
  ttl: number;
  length: number;
  payload: Uint8Array;
  /** Always true for IPv6, which has none. */
  ipChecksumRight: boolean;
  transportChecksum: 'right' | 'wrong' | 'partial' | 'none';
  gsoSize: number;
  icmp?: { type: number; code: number; checksumRight: boolean; quoted: Uint8Array };
}

/** Reads a frame that came out; judges its checksums by computing them in full. */
export function view(bytes: Uint8Array): PacketView {
  const vnet = new DataView(bytes.buffer, bytes.byteOffset, VNET_BYTES);
  const packet = bytes.subarray(VNET_BYTES);
  const ip = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const isV4 = packet[0] >> 4 === 4;
  const { ipHeader, protocol } = isV4
    ? { ipHeader: (packet[0] & 15) * 4, protocol: packet[9] }
    : walk(packet);
  const hasPorts = protocol in L4_HEADER_BYTES;
  const l4Header = protocol === 6 ? (packet[ipHeader + 12] >> 4) * 4 : (L4_HEADER_BYTES[protocol] ?? 8);
  const address = (at: number) => ipText(packet.subarray(at, at + (isV4 ? 4 : 16)));
  const end = (at: number, port: number) => {
    if (!hasPorts) return address(at);
    return isV4 ? `${address(at)}:${ip.getUint16(port)}` : `[${address(at)}]:${ip.getUint16(port)}`;
  };
  const flagBits = protocol === 6 ? packet[ipHeader + 13] : 0;
  const result: PacketView = {
    from: end(isV4 ? 12 : 8, ipHeader),
    to: end(isV4 ? 16 : 24, ipHeader + 2),
    protocol,
    flags: (Object.keys(FLAG_BITS) as TcpFlag[]).filter((flag) => flagBits & FLAG_BITS[flag]),
    seq: protocol === 6 ? ip.getUint32(ipHeader + 4) : 0,
    ack: protocol === 6 ? ip.getUint32(ipHeader + 8) : 0,
    ttl: packet[isV4 ? 8 : 7],
    length: packet.length,
    payload: packet.slice(ipHeader + l4Header),
    ipChecksumRight: !isV4 || checksum(packet.subarray(0, ipHeader)) === 0,
    transportChecksum: judgeTransport(packet, ipHeader, protocol, (vnet.getUint8(0) & 1) !== 0),
    gsoSize: vnet.getUint16(4, true),
  };
  if (protocol === 1 || protocol === 58) {
    const icmp = packet.subarray(ipHeader);
    const covered = protocol === 1 ? icmp : concat(pseudoHeader(packet, ipHeader, 58), icmp);
    result.icmp = {
      type: icmp[0],
      code: icmp[1],
      checksumRight: checksum(covered) === 0,
      quoted: icmp.slice(8),
    };
  }
  return result;
}

function judgeTransport(
  packet: Uint8Array,
  ipHeader: number,
  protocol: number,
  partial: boolean,
): PacketView['transportChecksum'] {
  if (protocol === 132) {
    const stored = new DataView(packet.buffer, packet.byteOffset).getUint32(ipHeader + 8, true);
    return stored === crc32c(packet.subarray(ipHeader)) ? 'right' : 'wrong';
  }
  const offset = checkOffset(protocol);
  if (offset === undefined) return 'none';
  const stored = (packet[ipHeader + offset] << 8) | packet[ipHeader + offset + 1];
  const pseudo = pseudoHeader(packet, ipHeader, protocol);
  if (partial) {
    // Only its value modulo 0xffff counts: whoever finishes it adds to it.
    const expected = ~checksum(pseudo) & 0xffff;
    return stored % 0xffff === expected % 0xffff ? 'partial' : 'wrong';
  }
  if (protocol === 17 && stored === 0) return 'none';
  return checksum(concat(pseudo, packet.subarray(ipHeader))) === 0 ? 'right' : 'wrong';
}

/** Behind the extension headers of an IPv6 packet. */
function walk(packet: Uint8Array): { ipHeader: number; protocol: number } {
  let at = 40;
  let next = packet[6];
  while ([0, 43, 60].includes(next)) {
    next = packet[at];
    at += 8 + packet[at + 1] * 8;
  }
  return { ipHeader: at, protocol: next };
}

function pseudoHeader(packet: Uint8Array, ipHeader: number, protocol: number): Uint8Array {
  const length = packet.length - ipHeader;
  const addresses = packet[0] >> 4 === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  return concat(addresses, Uint8Array.of(0, 0, length >> 8, length & 0xff, 0, 0, 0, protocol));
}

/** RFC 1071 by the book: big-endian halves, carries folded at the end, complement. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return 0xffff - sum;
}

/** RFC 9260 appendix A bit by bit, the checksum field taken as zero; to be stored little-endian. */
export function crc32c(sctp: Uint8Array): number {
  let crc = 0xffffffff;
  for (const [i, given] of sctp.entries()) {
    crc ^= i >= 8 && i < 12 ? 0 : given;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const checkOffset = (protocol: number): number | undefined =>
  protocol === 6 ? 16 : protocol === 17 ? 6 : undefined;

function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function split(endpoint: string): [string, number] {
  if (isIPv6(endpoint)) return [endpoint, 0];
  const [, ip, port] = /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(endpoint) ?? [];
  return [ip, Number(port ?? 0)];
}

function ipBytes(text: string): number[] {
  if (isIPv4(text)) return text.split('.').map(Number);
  const [head, tail] = text.split('::');
  const groups = (part: string | undefined) => (part ? part.split(':') : []);
  const before = groups(head);
  const behind = groups(tail);
  const zeros = Array(8 - before.length - behind.length).fill('0');
  return [...before, ...zeros, ...behind].flatMap((group) => [
    Number.parseInt(group, 16) >> 8,
    Number.parseInt(group, 16) & 255,
  ]);
}

function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return [...bytes].join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] << 8) | bytes[i * 2 + 1]).toString(16));
  // RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equals, becomes "::".
  let [start, length] = [0, 1];
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (groups[end] === '0') end++;
    if (end - i > length) [start, length] = [i, end - i];
  }
  if (length < 2) return groups.join(':');
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + length).join(':')}`;
}

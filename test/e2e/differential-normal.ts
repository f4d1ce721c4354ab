// What may differ between the kernel's output and flowpin's, and nothing else. Each normalisation has its reason:
//
//   TTL, hop limit     set to 0, quoted ones too: a packet crosses one router at the kernel, but flowpin's node routes it
//                      twice, into the device and out of it
//   IPv4 checksum      judged (a wrong one is told in the line), then set to 0: it covers the TTL
//   SNAT address, port become the client's own: the kernel masquerades to the node's address, flowpin to one of its pool,
//                      and it draws the port; which of them a flow gets is checked when the endpoint first sees it
//   transport checksum judged, then set to 0 in packets that hold the SNAT address: it covers address and port. Else compared
//   ICMP checksum      judged, then set to 0: it covers the quote
//   identification     of IPv4 packets that the peer itself made (errors): the kernel counts, flowpin writes 0; the flow label
//                      of IPv6 ones: the kernel makes one up, flowpin has none
//   fragments          put together first, in whatever order and sizes they come: nf_conntrack reassembles a datagram before
//                      it translates it and cuts it again behind, flowpin translates every fragment as it comes

import { checksum, frame, type PacketView, VNET_BYTES, view } from '../support/packets.js';
import { type Cast, ERRORS, type ErrorKind, PORTS, type Side } from './differential-script.js';
import { at } from './nodeport-lab.js';

export interface Normal {
  /** For people, and for what is expected of departures: who to whom, and what. */
  readonly line: string;
  /** All of it, in hexadecimal. */
  readonly hex: string;
}

/** Byte offsets within an IP packet. */
const IPV4 = { id: [4, 6], ttl: 8, check: 10, src: 12, dst: 16, addressBytes: 4 } as const;
const IPV6 = { flowLabel: [1, 4], ttl: 7, check: undefined, src: 8, dst: 24, addressBytes: 16 } as const;

/** Those, and which transport header is where, behind IPv4 options or IPv6 extension headers. */
function layoutOf(packet: Uint8Array) {
  if (packet[0]! >> 4 === 4) return { ...IPV4, transport: (packet[0]! & 15) * 4, protocol: packet[9]! };
  let transport = 40;
  let protocol = packet[6]!;
  while (EXTENSIONS.includes(protocol)) {
    protocol = packet[transport]!;
    transport += 8 + packet[transport + 1]! * 8;
  }
  return { ...IPV6, transport, protocol };
}

/** Hop-by-hop and destination options. */
const EXTENSIONS = [0, 60];

/** Byte offset of the checksum within a transport header, by protocol. */
const TRANSPORT_CHECK: Record<number, number> = { 6: 16, 17: 6 };
const ICMP_BYTES = 8;

export const isIcmp = (given: Uint8Array): boolean =>
  [1, 58].includes(layoutOf(given.subarray(VNET_BYTES)).protocol);

/**
 * A packet that came out, without what may differ.
 * @param side where it came out
 * @param isOwn whether the peer itself made the packet
 */
export function normalise(given: Uint8Array, side: Side, cast: Cast, isOwn: boolean): Normal {
  const packet = given.slice(VNET_BYTES);
  const { transport } = layoutOf(packet);
  const before = view(given);
  if (isOwn) packet.fill(0, ...(packet[0]! >> 4 === 4 ? IPV4.id : IPV6.flowLabel));
  level(packet, cast);
  if (isIcmp(given)) {
    packet.fill(0, transport + 2, transport + 4);
    level(packet.subarray(transport + ICMP_BYTES), cast);
  }
  const normalFrame = new Uint8Array([...given.subarray(0, VNET_BYTES), ...packet]);
  return { line: lineOf(view(normalFrame), before, cast, side), hex: Buffer.from(packet).toString('hex') };
}

/** The same without its source address. */
export function withoutSource(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  const { src, addressBytes } = layoutOf(bytes);
  return bytes.fill(0, src, src + addressBytes).toString('hex');
}

/** Levels the fields of one IP packet, in place; of a quote as much as there is. */
function level(packet: Uint8Array, cast: Cast): void {
  const { ttl, check, protocol, src, dst, addressBytes, transport } = layoutOf(packet);
  packet[ttl] = 0;
  if (check !== undefined) packet.fill(0, check, check + 2);
  const snat = bytesOf(cast.seen);
  const client = bytesOf(at(cast.client, cast.clientPort));
  const isMasqueraded = cast.seen !== at(cast.client, cast.clientPort);
  let holdsSnat = false;
  for (const [address, port] of [
    [src, transport],
    [dst, transport + 2],
  ] as const) {
    if (!same(packet.subarray(address, address + addressBytes), snat.address)) continue;
    holdsSnat = isMasqueraded;
    packet.set(client.address, address);
    if (same(packet.subarray(port, port + 2), snat.port)) packet.set(client.port, port);
  }
  const checkAt = transport + (TRANSPORT_CHECK[protocol] ?? packet.length);
  if (holdsSnat) packet.fill(0, checkAt, checkAt + 2);
}

const KINDS = Object.keys(ERRORS) as ErrorKind[];

function lineOf(packet: PacketView, before: PacketView, cast: Cast, side: Side): string {
  const words = [`${side}: ${nameOf(packet.from, cast)} > ${nameOf(packet.to, cast, side)}`];
  if (packet.icmp) {
    const { type, code, checksumRight, quoted } = before.icmp!;
    const kind = KINDS.find((name) => ERRORS[name][cast.family].slice(0, 2).join() === `${type},${code}`);
    words.push(kind ?? `ICMP ${type}.${code}`, quoteOf(packet.icmp.quoted, quoted, cast));
    if (!checksumRight) words.push('ICMP CHECKSUM WRONG');
  } else {
    words.push(packet.protocol === 17 ? 'UDP' : packet.flags.join(' '));
    if (packet.payload.length > 0) words.push(`${packet.payload.length} bytes`);
  }
  if (!before.ipChecksumRight) words.push('IP CHECKSUM WRONG');
  if (before.transportChecksum !== 'right' && !packet.icmp)
    words.push(`checksum ${before.transportChecksum}`);
  return words.join(' ');
}

/** Who to whom is quoted; whether the quoted header's checksum is right and, if all is quoted, the transport's. */
function quoteOf(normal: Uint8Array, before: Uint8Array, cast: Cast): string {
  const { transport, check } = layoutOf(normal);
  const isV4 = check !== undefined;
  const length = new DataView(before.buffer, before.byteOffset).getUint16(isV4 ? 2 : 4);
  const whole = before.length >= (isV4 ? length : 40 + length);
  const { from, to } = quotedPacket(normal);
  const words = [`${nameOf(from, cast)} > ${nameOf(to, cast)}`, whole ? 'whole' : `${normal.length} bytes`];
  if (isV4 && checksum(before.subarray(0, transport)) !== 0) words.push('IP CHECKSUM WRONG');
  if (whole && view(framed(before)).transportChecksum === 'wrong') words.push('CHECKSUM WRONG');
  return `(${words.join(', ')})`;
}

/** What is quoted, read as far as it goes: with zeros behind a quote that is too short for ports. */
export const quotedPacket = (quote: Uint8Array): PacketView =>
  view(framed(new Uint8Array([...quote, ...new Uint8Array(TCP_BYTES)])));

const TCP_BYTES = 20;
const framed = (packet: Uint8Array) => new Uint8Array([...new Uint8Array(VNET_BYTES), ...packet]);

/**
 * Who that is; with its port if it is not the expected one.
 * @param receivedAt for an address without port: the side where a packet to it comes out
 */
function nameOf(end: string, cast: Cast, receivedAt: Side = 'client'): string {
  const { host, port } = splitEnd(end);
  const { client, vip, emptyVip, endpoint, node, routers } = cast;
  const names: [string, string][] = [
    [client, 'client'],
    [vip, 'vip'],
    [emptyVip, 'empty'],
    [endpoint, 'endpoint'],
    ...node.map((address): [string, string] => [address, 'node']),
    [routers.client, 'client router'],
    [routers.endpoint, 'endpoint router'],
  ];
  const isClientPort = port === String(cast.clientPort);
  const ofHairpin = port === '' ? receivedAt : isClientPort ? 'client' : 'endpoint';
  const isHairpin = cast.hairpin && host === client;
  const name = isHairpin ? ofHairpin : (names.find(([address]) => address === host)?.[1] ?? host);
  return port === '' || isClientPort || EXPECTED_PORTS.includes(Number(port)) ? name : `${name}:${port}`;
}

const EXPECTED_PORTS: readonly number[] = Object.values(PORTS).flatMap(({ service, endpoint }) => [
  service,
  endpoint,
]);

/** Of "ip", "ip:port" and "[ip6]:port". */
function splitEnd(end: string): { host: string; port: string } {
  const [, v6, v6port] = /^\[(.*)\]:(\d+)$/.exec(end) ?? [];
  if (v6 !== undefined) return { host: v6, port: v6port ?? '' };
  const [host = '', port = ''] = end.split(/:(?=\d+$)/);
  return end.includes('.') ? { host, port } : { host: end, port: '' };
}

/** As they stand in a packet, address and port of "ip:port". */
function bytesOf(end: string): { address: Uint8Array; port: Uint8Array } {
  const packet = frame({ from: end, to: end, protocol: 'udp' }).subarray(VNET_BYTES);
  const { src, addressBytes, transport } = layoutOf(packet);
  return { address: packet.slice(src, src + addressBytes), port: packet.slice(transport, transport + 2) };
}

const same = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

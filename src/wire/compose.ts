/** Whole packets from plain values: for tools that ask the pipeline a question. Nothing here runs for traffic. */
import { addressWords } from './address.js';
import { half, portsWord, word } from './byte-order.js';
import { sumBytes } from './checksum.js';
import { IPV4, PROTOCOL } from './ipv4.js';
import { IPV6 } from './ipv6.js';
import { SCTP, sctpChecksum } from './sctp.js';
import { TCP, TCP_FLAG } from './tcp.js';
import { UDP } from './udp.js';
import { VNET } from './virtio-net.js';

export interface FirstPacket {
  /** Canonical addresses of one family. */
  readonly src: string;
  readonly dst: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly sport: number;
  readonly dport: number;
}

/** Any packet of a connection; what is left out is as in its first one. */
export interface PacketFields extends FirstPacket {
  /** TCP: bits of TCP_FLAG, sequence and acknowledgement number. */
  readonly flags?: number;
  readonly seq?: number;
  readonly ack?: number;
  /** Of TCP and UDP. */
  readonly payload?: Uint8Array;
}

const NO_PAYLOAD = new Uint8Array(0);
const TTL = 64;
/** An SCTP INIT chunk without parameters (RFC 9260 section 3.3.2). */
const INIT_CHUNK_BYTES = 20;
const L4_BYTES = { TCP: TCP.SIZE, UDP: UDP.SIZE, SCTP: SCTP.SIZE + INIT_CHUNK_BYTES } as const;

/**
 * The first packet of a connection as a client sends it: a TCP SYN, an empty UDP datagram, an SCTP INIT.
 * @returns a frame: an empty virtio-net header, then the packet with right checksums
 */
export const composeFirstPacket = (first: FirstPacket): Uint8Array => composePacket(first);

/** @returns a frame: an empty virtio-net header, then the packet with right checksums */
export function composePacket(packet: PacketFields): Uint8Array {
  const { src, dst, protocol, sport, dport, payload = NO_PAYLOAD } = packet;
  const addresses = [...addressWords(src), ...addressWords(dst)];
  const isIpv4 = addresses.length === 2;
  const headerBytes = isIpv4 ? IPV4.SIZE : IPV6.SIZE;
  const l4Bytes = L4_BYTES[protocol] + payload.length;
  // Behind room that brings the packet to a multiple of 4, so that it can be written through words.
  const lead = 2;
  const at = lead + VNET.SIZE;
  const memory = new ArrayBuffer((at + headerBytes + l4Bytes + 3) & ~3);
  const bytes = new Uint8Array(memory);
  const halves = new Uint16Array(memory);
  const words = new Int32Array(memory);
  const l4 = at + headerBytes;

  words.set(addresses, (at + (isIpv4 ? IPV4.SRC : IPV6.SRC)) >> 2);
  if (isIpv4) {
    bytes[at] = 0x45;
    halves[(at + IPV4.TOTAL_LENGTH) >> 1] = half(headerBytes + l4Bytes);
    bytes[at + IPV4.TTL] = TTL;
    bytes[at + IPV4.PROTOCOL] = PROTOCOL[protocol];
    halves[(at + IPV4.CHECK) >> 1] = ~sumBytes(bytes, at, headerBytes);
  } else {
    bytes[at] = 0x60;
    halves[(at + IPV6.PAYLOAD_LENGTH) >> 1] = half(l4Bytes);
    bytes[at + IPV6.NEXT_HEADER] = PROTOCOL[protocol];
    bytes[at + IPV6.HOP_LIMIT] = TTL;
  }

  words[l4 >> 2] = portsWord(half(sport), half(dport));
  const pseudo = sumBytes(new Uint8Array(Int32Array.from(addresses).buffer), 0, addresses.length * 4);
  const checksum = () => ~sumBytes(bytes, l4, l4Bytes, pseudo + half(PROTOCOL[protocol]) + half(l4Bytes));
  if (protocol === 'TCP') {
    bytes[l4 + TCP.DATA_OFFSET] = (TCP.SIZE / 4) << 4;
    bytes[l4 + TCP.FLAGS] = packet.flags ?? TCP_FLAG.SYN;
    words[(l4 + TCP.SEQ) >> 2] = word(packet.seq ?? 0);
    words[(l4 + TCP.ACK) >> 2] = word(packet.ack ?? 0);
    bytes.set(payload, l4 + TCP.SIZE);
    halves[(l4 + TCP.CHECK) >> 1] = checksum();
  } else if (protocol === 'UDP') {
    halves[(l4 + UDP.LENGTH) >> 1] = half(l4Bytes);
    bytes.set(payload, l4 + UDP.SIZE);
    halves[(l4 + UDP.CHECK) >> 1] = checksum() & 0xffff || 0xffff;
  } else {
    bytes[l4 + SCTP.SIZE] = 1;
    bytes[l4 + SCTP.SIZE + 3] = INIT_CHUNK_BYTES;
    words[(l4 + SCTP.CHECK) >> 2] = sctpChecksum(bytes, l4, l4 + l4Bytes);
  }
  return bytes.subarray(lead, l4 + l4Bytes);
}

/**
 * What the side exits share: the IP header of a packet that flowpin itself sends back to the sender of the packet in a
 * slot, in that packet's place.
 */
import { half } from '../wire/byte-order.js';
import { sumBytes } from '../wire/checksum.js';
import { FAMILY } from '../wire/family.js';
import { ICMPV4 } from '../wire/icmpv4.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import { VNET } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { frameAt, packetAt, RECORD, recordAt, type Slot } from './packet.js';

const TTL = 64;

/** Bytes of an IP header without options, by family. */
export const IP_HEADER_BYTES = [IPV4.SIZE, IPV6.SIZE] as const;

/**
 * Writes virtio-net and IP header over what is there: one plain packet, checksums complete, from the address that was
 * asked for to the one that asked. The payload behind the IP header is the caller's.
 * @param payloadBytes length behind the IP header
 * @param tos of an IPv4 header
 */
export function answerHeader(
  cx: WorkerContext,
  slot: Slot,
  protocol: number,
  payloadBytes: number,
  tos = 0,
): void {
  const { bytes, halves, words, lengths } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  const family = records[record + RECORD.FAMILY];
  const at = packetAt(slot);
  const headerBytes = IP_HEADER_BYTES[family];
  const { addressWords } = cx.flows[family];
  bytes.fill(0, frameAt(slot), at + headerBytes);
  lengths[slot] = VNET.SIZE + headerBytes + payloadBytes;

  const src = (at + (family === FAMILY.V4 ? IPV4.SRC : IPV6.SRC)) >> 2;
  const tuple = record + RECORD.TUPLE;
  for (let i = 0; i < addressWords; i++) {
    words[src + i] = records[tuple + addressWords + i];
    words[src + addressWords + i] = records[tuple + i];
  }
  if (family === FAMILY.V4) {
    bytes[at + IPV4.VERSION_IHL] = 0x45;
    bytes[at + IPV4.TOS] = tos;
    halves[(at + IPV4.TOTAL_LENGTH) >> 1] = half(headerBytes + payloadBytes);
    bytes[at + IPV4.TTL] = TTL;
    bytes[at + IPV4.PROTOCOL] = protocol;
    halves[(at + IPV4.CHECK) >> 1] = ~sumBytes(bytes, at, headerBytes);
  } else {
    bytes[at + IPV6.VERSION] = 0x60;
    halves[(at + IPV6.PAYLOAD_LENGTH) >> 1] = half(payloadBytes);
    bytes[at + IPV6.NEXT_HEADER] = protocol;
    bytes[at + IPV6.HOP_LIMIT] = TTL;
  }
}

/**
 * The checksum over the payload behind the header that `answerHeader` wrote, and the pseudo-header before it (RFC 9293
 * section 3.1, RFC 8200 section 8.1); its own field must hold zero. @returns the half to store
 */
export function answerChecksum(
  cx: WorkerContext,
  slot: Slot,
  protocol: number,
  payloadBytes: number,
): number {
  const { bytes } = cx.slab;
  const family = cx.records[recordAt(slot) + RECORD.FAMILY];
  const at = packetAt(slot);
  const headerBytes = IP_HEADER_BYTES[family];
  const { addressWords } = cx.flows[family];
  const src = at + (family === FAMILY.V4 ? IPV4.SRC : IPV6.SRC);
  const pseudo = sumBytes(bytes, src, addressWords * 8, half(protocol) + half(payloadBytes));
  return ~sumBytes(bytes, at + headerBytes, payloadBytes, pseudo) & 0xffff;
}

/**
 * Completes an ICMP or ICMPv6 message whose body lies behind the place of a plain IP header and of its own first four bytes:
 * both headers, and the checksum.
 * @param length of the message, header included
 * @param tos of an IPv4 header
 */
export function answerIcmp(
  cx: WorkerContext,
  slot: Slot,
  type: number,
  code: number,
  length: number,
  tos: number,
): void {
  const { bytes, halves } = cx.slab;
  const family = cx.records[recordAt(slot) + RECORD.FAMILY];
  const icmp = packetAt(slot) + IP_HEADER_BYTES[family];
  const isV4 = family === FAMILY.V4;
  answerHeader(cx, slot, isV4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6, length, tos);
  bytes[icmp + ICMPV4.TYPE] = type;
  bytes[icmp + ICMPV4.CODE] = code;
  halves[(icmp + ICMPV4.CHECK) >> 1] = 0;
  halves[(icmp + ICMPV4.CHECK) >> 1] = isV4
    ? ~sumBytes(bytes, icmp, length)
    : answerChecksum(cx, slot, PROTOCOL.ICMPV6, length);
}

/** The folded sum of the ICMP message in `slot` that a right checksum makes 0xffff: with a pseudo-header for ICMPv6 (RFC 4443 section 2.3). */
export function icmpSum(cx: WorkerContext, slot: Slot): number {
  const { bytes } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  const at = packetAt(slot);
  const icmp = records[record + RECORD.L4];
  const length = at + records[record + RECORD.LENGTH] - icmp;
  if (records[record + RECORD.FAMILY] === FAMILY.V4) return sumBytes(bytes, icmp, length);
  const addresses = sumBytes(bytes, at + IPV6.SRC, 32, half(PROTOCOL.ICMPV6) + half(length));
  return sumBytes(bytes, icmp, length, addresses);
}

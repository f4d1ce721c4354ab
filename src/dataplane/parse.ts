/**
 * Step 2: bounds checks once, then the packet's tuple and offsets into its record. After None, every later step
 * may read the IP and transport header of the slot freely.
 */
import { FAMILY } from '../wire/family.js';
import { IPV4, ipv4Fits, ipv4HeaderBytes, ipv4IsFragment, ipv4TotalLength, PROTOCOL } from '../wire/ipv4.js';
import {
  IPV6,
  IPV6_BAD_EXTENSION,
  IPV6_FRAGMENT,
  ipv6Fits,
  ipv6Protocol,
  ipv6TotalLength,
  ipv6Transport,
} from '../wire/ipv6.js';
import { SCTP, sctpChecksum, sctpFirstChunk, sctpFits } from '../wire/sctp.js';
import { TCP, tcpFits } from '../wire/tcp.js';
import { UDP, udpFits } from '../wire/udp.js';
import { VNET, VNET_FLAG } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { frameAt, packetAt, RECORD, recordAt, type Slot } from './packet.js';
import { DropReason } from './verdict.js';

/** @returns None; Fragment: then `parseFragment` goes on; or why the packet in `slot` cannot be looked at */
export function parse(cx: WorkerContext, slot: Slot): DropReason {
  const { bytes, lengths } = cx.slab;
  const at = packetAt(slot);
  const end = frameAt(slot) + lengths[slot];
  if (end - at < IPV4.SIZE) return DropReason.ShortRead;
  const version = bytes[at] >>> 4;
  if (version === 4) return parseIpv4(cx, slot, at, end);
  if (version === 6) return parseIpv6(cx, slot, at, end);
  return DropReason.NotIp;
}

function parseIpv4(cx: WorkerContext, slot: Slot, at: number, end: number): DropReason {
  const { bytes, words } = cx.slab;
  const { records } = cx;
  if (!ipv4Fits(bytes, at, end)) return DropReason.BadIpHeader;
  const tuple = recordAt(slot) + RECORD.TUPLE;
  records[tuple] = words[(at + IPV4.SRC) >> 2];
  records[tuple + 1] = words[(at + IPV4.DST) >> 2];
  if (bytes[at + IPV4.TTL] === 0) return DropReason.TtlZero;
  if (ipv4IsFragment(bytes, at)) return DropReason.Fragment;
  const length = ipv4TotalLength(bytes, at);
  return parseTransport(
    cx,
    slot,
    FAMILY.V4,
    at + ipv4HeaderBytes(bytes, at),
    length,
    bytes[at + IPV4.PROTOCOL],
    tuple + 2,
  );
}

function parseIpv6(cx: WorkerContext, slot: Slot, at: number, end: number): DropReason {
  const { bytes, words } = cx.slab;
  const { records } = cx;
  if (!ipv6Fits(bytes, at, end)) return DropReason.BadIpHeader;
  const tuple = recordAt(slot) + RECORD.TUPLE;
  for (let i = 0; i < 8; i++) records[tuple + i] = words[((at + IPV6.SRC) >> 2) + i];
  if (bytes[at + IPV6.HOP_LIMIT] === 0) return DropReason.TtlZero;
  const length = ipv6TotalLength(bytes, at);
  const l4 = ipv6Transport(bytes, at, at + length);
  if (l4 === IPV6_FRAGMENT) return DropReason.Fragment;
  if (l4 === IPV6_BAD_EXTENSION) return DropReason.BadIpv6Extension;
  return parseTransport(cx, slot, FAMILY.V6, l4, length, ipv6Protocol(bytes, at, l4), tuple + 8);
}

/** @param ports where the ports word of the tuple belongs in the record */
function parseTransport(
  cx: WorkerContext,
  slot: Slot,
  family: number,
  l4: number,
  length: number,
  protocol: number,
  ports: number,
): DropReason {
  const { bytes, words } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  const at = packetAt(slot);
  const end = at + length;
  records[record + RECORD.FAMILY] = family;
  records[record + RECORD.L4] = l4;
  records[record + RECORD.LENGTH] = length;
  records[record + RECORD.PROTOCOL] = protocol;
  records[record + RECORD.TCP_FLAGS] = 0;
  records[record + RECORD.PARTIAL] = 0;
  records[ports] = 0;

  if (protocol === PROTOCOL.TCP) {
    if (!tcpFits(bytes, l4, end)) return DropReason.BadTcpHeader;
    records[record + RECORD.TCP_FLAGS] = bytes[l4 + TCP.FLAGS];
    records[ports] = words[l4 >> 2];
    return parsePartialChecksum(cx, slot, l4 - at, TCP.CHECK);
  }
  if (protocol === PROTOCOL.UDP) {
    if (!udpFits(bytes, l4, end)) return DropReason.BadUdpLength;
    records[ports] = words[l4 >> 2];
    return parsePartialChecksum(cx, slot, l4 - at, UDP.CHECK);
  }
  if (protocol === PROTOCOL.SCTP) {
    if (!sctpFits(bytes, l4, end)) return DropReason.BadSctpHeader;
    // What the kernel would fill in on the way out is an internet checksum, which SCTP has not.
    if (bytes[frameAt(slot) + VNET.FLAGS] & VNET_FLAG.NEEDS_CSUM) return DropReason.BadPartialChecksum;
    // `translate` computes the CRC anew and would make a damaged packet look whole.
    if (words[(l4 + SCTP.CHECK) >> 2] !== sctpChecksum(bytes, l4, end)) return DropReason.BadSctpChecksum;
    records[record + RECORD.SCTP_CHUNK] = sctpFirstChunk(bytes, l4, end);
    records[ports] = words[l4 >> 2];
  }
  return DropReason.None;
}

/** Reads NEEDS_CSUM: the checksum it speaks of must be the one of the transport header that was just parsed. */
function parsePartialChecksum(cx: WorkerContext, slot: Slot, headerBytes: number, check: number): DropReason {
  const { bytes, halves } = cx.slab;
  const frame = frameAt(slot);
  if ((bytes[frame + VNET.FLAGS] & VNET_FLAG.NEEDS_CSUM) === 0) return DropReason.None;
  if (halves[(frame + VNET.CSUM_START) >> 1] !== headerBytes) return DropReason.BadPartialChecksum;
  if (halves[(frame + VNET.CSUM_OFFSET) >> 1] !== check) return DropReason.BadPartialChecksum;
  cx.records[recordAt(slot) + RECORD.PARTIAL] = 1;
  return DropReason.None;
}

/**
 * Step 2: bounds checks once, then the packet's tuple and offsets into its record. After None, every later step
 * may read the IP and transport header of the slot freely.
 */
import { IPV4, ipv4Fits, ipv4HeaderBytes, ipv4IsFragment, ipv4TotalLength, PROTOCOL } from '../wire/ipv4.js';
import { TCP, tcpFits } from '../wire/tcp.js';
import { UDP, udpFits } from '../wire/udp.js';
import { VNET, VNET_FLAG } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { frameAt, packetAt, RECORD, recordAt, type Slot } from './packet.js';
import { DropReason } from './verdict.js';

/** @returns None, or why the packet in `slot` cannot be looked at */
export function parse(cx: WorkerContext, slot: Slot): DropReason {
  const { bytes, words, lengths } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  const frame = frameAt(slot);
  const at = packetAt(slot);
  const end = frame + lengths[slot];

  if (end - at < IPV4.SIZE) return DropReason.ShortRead;
  const version = bytes[at] >>> 4;
  if (version !== 4) return version === 6 ? DropReason.Ipv6 : DropReason.NotIp;
  if (!ipv4Fits(bytes, at, end)) return DropReason.BadIpv4Header;

  const length = ipv4TotalLength(bytes, at);
  const protocol = bytes[at + IPV4.PROTOCOL];
  const l4 = at + ipv4HeaderBytes(bytes, at);
  records[record + RECORD.L4] = l4;
  records[record + RECORD.LENGTH] = length;
  records[record + RECORD.PROTOCOL] = protocol;
  records[record + RECORD.SRC] = words[(at + IPV4.SRC) >> 2];
  records[record + RECORD.DST] = words[(at + IPV4.DST) >> 2];
  records[record + RECORD.PORTS] = 0;
  records[record + RECORD.TCP_FLAGS] = 0;
  records[record + RECORD.PARTIAL] = 0;
  if (ipv4IsFragment(bytes, at)) return DropReason.Fragment;

  let check = 0;
  if (protocol === PROTOCOL.TCP) {
    if (!tcpFits(bytes, l4, at + length)) return DropReason.BadTcpHeader;
    records[record + RECORD.TCP_FLAGS] = bytes[l4 + TCP.FLAGS];
    check = TCP.CHECK;
  } else if (protocol === PROTOCOL.UDP) {
    if (!udpFits(bytes, l4, at + length)) return DropReason.BadUdpLength;
    check = UDP.CHECK;
  } else {
    return DropReason.None;
  }
  records[record + RECORD.PORTS] = words[l4 >> 2];
  return parsePartialChecksum(cx, slot, l4 - at, check);
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

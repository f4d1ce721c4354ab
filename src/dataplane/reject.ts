/**
 * Side exit: answers the sender of the packet in a slot with ICMP "port unreachable", in place. That is what
 * kube-proxy's REJECT rules do for every protocol (iptables' default --reject-with icmp-port-unreachable); a TCP
 * client gets ECONNREFUSED from it at once.
 */
import { half } from '../wire/byte-order.js';
import { sumBytes } from '../wire/checksum.js';
import { ICMPV4, ICMPV4_TYPE, ICMPV4_UNREACHABLE } from '../wire/icmpv4.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { VNET } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { frameAt, packetAt, RECORD, recordAt, type Slot } from './packet.js';

/** "as much of the original datagram as possible without the length exceeding 576 bytes" (RFC 1812, 4.3.2.3). */
const ICMP_PACKET_BYTES_MAX = 576;
const HEADERS_BYTES = IPV4.SIZE + ICMPV4.SIZE;
const TTL = 64;

/** Replaces the packet in `slot` by the answer, from the address that was asked for to the one that asked. */
export function reject(cx: WorkerContext, slot: Slot): void {
  const { bytes, halves, words, lengths } = cx.slab;
  const record = recordAt(slot);
  const frame = frameAt(slot);
  const at = packetAt(slot);
  const quoted = Math.min(cx.records[record + RECORD.LENGTH], ICMP_PACKET_BYTES_MAX - HEADERS_BYTES);
  const icmp = at + IPV4.SIZE;

  bytes.copyWithin(at + HEADERS_BYTES, at, at + quoted);
  bytes.fill(0, frame, at + HEADERS_BYTES); // also the virtio-net header: one plain packet, checksums complete
  bytes[at + IPV4.VERSION_IHL] = 0x45;
  halves[(at + IPV4.TOTAL_LENGTH) >> 1] = half(HEADERS_BYTES + quoted);
  bytes[at + IPV4.TTL] = TTL;
  bytes[at + IPV4.PROTOCOL] = PROTOCOL.ICMP;
  words[(at + IPV4.SRC) >> 2] = cx.records[record + RECORD.DST];
  words[(at + IPV4.DST) >> 2] = cx.records[record + RECORD.SRC];
  halves[(at + IPV4.CHECK) >> 1] = ~sumBytes(bytes, at, IPV4.SIZE);

  bytes[icmp + ICMPV4.TYPE] = ICMPV4_TYPE.DESTINATION_UNREACHABLE;
  bytes[icmp + ICMPV4.CODE] = ICMPV4_UNREACHABLE.PORT;
  halves[(icmp + ICMPV4.CHECK) >> 1] = ~sumBytes(bytes, icmp, ICMPV4.SIZE + quoted);
  lengths[slot] = VNET.SIZE + HEADERS_BYTES + quoted;
}

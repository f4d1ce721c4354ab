/**
 * Side exit: answers the sender of the packet in a slot with ICMP "port unreachable", in place. That is what
 * kube-proxy's REJECT rules do for every protocol (iptables' default --reject-with icmp-port-unreachable, and icmp6's);
 * a TCP client gets ECONNREFUSED from it at once.
 */
import { sumBytes } from '../wire/checksum.js';
import { FAMILY } from '../wire/family.js';
import { ICMPV4, ICMPV4_TYPE, ICMPV4_UNREACHABLE } from '../wire/icmpv4.js';
import { ICMPV6, ICMPV6_TYPE, ICMPV6_UNREACHABLE } from '../wire/icmpv6.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { answerChecksum, answerHeader, IP_HEADER_BYTES } from './answer.js';
import type { WorkerContext } from './context.js';
import { packetAt, RECORD, recordAt, type Slot } from './packet.js';

/**
 * The longest error, by family: "as much of the original datagram as possible without the length exceeding" 576 bytes
 * (RFC 1812, 4.3.2.3), or the minimum MTU of 1280 (RFC 4443, 2.4(c)).
 */
const ERROR_BYTES_MAX = [576, 1280] as const;

/**
 * An error's precedence is that of network control (RFC 1812, 4.3.2.5), its type of service the packet's (RFC 1349, 5.1);
 * the kernel's icmp_send writes the same. IPv6 has no such rule.
 */
const INTERNETWORK_CONTROL = 0xc0;
const TYPE_OF_SERVICE = 0x1e;

/** Replaces the packet in `slot` by the answer, from the address that was asked for to the one that asked. */
export function reject(cx: WorkerContext, slot: Slot): void {
  const { bytes, halves } = cx.slab;
  const record = recordAt(slot);
  const family = cx.records[record + RECORD.FAMILY];
  const at = packetAt(slot);
  const icmp = at + IP_HEADER_BYTES[family];
  const quoted = Math.min(
    cx.records[record + RECORD.LENGTH],
    ERROR_BYTES_MAX[family] - IP_HEADER_BYTES[family] - ICMPV4.SIZE,
  );
  const length = ICMPV4.SIZE + quoted;

  bytes.copyWithin(icmp + ICMPV4.SIZE, at, at + quoted);
  bytes.fill(0, icmp, icmp + ICMPV4.SIZE);
  if (family === FAMILY.V4) {
    const tos = INTERNETWORK_CONTROL | (bytes[at + IPV4.TOS] & TYPE_OF_SERVICE);
    answerHeader(cx, slot, PROTOCOL.ICMP, length, tos);
    bytes[icmp + ICMPV4.TYPE] = ICMPV4_TYPE.DESTINATION_UNREACHABLE;
    bytes[icmp + ICMPV4.CODE] = ICMPV4_UNREACHABLE.PORT;
    halves[(icmp + ICMPV4.CHECK) >> 1] = ~sumBytes(bytes, icmp, length);
  } else {
    answerHeader(cx, slot, PROTOCOL.ICMPV6, length);
    bytes[icmp + ICMPV6.TYPE] = ICMPV6_TYPE.DESTINATION_UNREACHABLE;
    bytes[icmp + ICMPV6.CODE] = ICMPV6_UNREACHABLE.PORT;
    halves[(icmp + ICMPV6.CHECK) >> 1] = answerChecksum(cx, slot, PROTOCOL.ICMPV6, length);
  }
}

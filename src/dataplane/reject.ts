/**
 * Side exit: answers the sender of the packet in a slot with ICMP "destination unreachable", in place. "Port unreachable" is
 * what kube-proxy's REJECT rules answer for every protocol (iptables' default --reject-with icmp-port-unreachable, and
 * icmp6's); a TCP client gets ECONNREFUSED from it at once. "Prohibited" is for a flow that there is no room for.
 */

import { COUNTER } from '../table/counters.js';
import { ADDRESS_FLAG } from '../table/layout.js';
import { ADDRESS_WORDS, FAMILY } from '../wire/family.js';
import { ICMPV4, ICMPV4_TYPE, ICMPV4_UNREACHABLE } from '../wire/icmpv4.js';
import { ICMPV6_TYPE, ICMPV6_UNREACHABLE } from '../wire/icmpv6.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { answerIcmp, IP_HEADER_BYTES } from './answer.js';
import type { WorkerContext } from './context.js';
import { addressFlags } from './match.js';
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

const ERROR_TYPE = [ICMPV4_TYPE.DESTINATION_UNREACHABLE, ICMPV6_TYPE.DESTINATION_UNREACHABLE] as const;

/** Why there is no way to the destination; the codes are by family. */
export const UNREACHABLE = {
  PORT: [ICMPV4_UNREACHABLE.PORT, ICMPV6_UNREACHABLE.PORT],
  PROHIBITED: [ICMPV4_UNREACHABLE.PROHIBITED, ICMPV6_UNREACHABLE.PROHIBITED],
} as const;

/**
 * Replaces the packet in `slot` by the answer, from the address that was asked for to the one that asked; or by nothing, when
 * that one has had too many.
 * @param codes one of UNREACHABLE
 */
export function reject(cx: WorkerContext, slot: Slot, codes: readonly number[]): void {
  if (!mayAnswer(cx, slot, codes)) {
    cx.slab.lengths[slot] = 0;
    cx.counters[COUNTER.ICMP_SUPPRESSED]++;
    return;
  }
  const { bytes } = cx.slab;
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
  const tos = family === FAMILY.V4 ? INTERNETWORK_CONTROL | (bytes[at + IPV4.TOS] & TYPE_OF_SERVICE) : 0;
  answerIcmp(cx, slot, ERROR_TYPE[family], codes[family], length, tos);
}

/**
 * A TCP client is always refused, since it would wait a second for its next SYN; no RST of a closed port is limited either. Nor is
 * what the node itself gets, as over the kernel's loopback device (icmpv4_xrlim_allow).
 */
function mayAnswer(cx: WorkerContext, slot: Slot, codes: readonly number[]): boolean {
  const record = recordAt(slot);
  if (codes === UNREACHABLE.PORT && cx.records[record + RECORD.PROTOCOL] === PROTOCOL.TCP) return true;
  const src = record + RECORD.TUPLE;
  if (addressFlags(cx, record, src) & ADDRESS_FLAG.LOCAL) return true;
  const family = cx.records[record + RECORD.FAMILY];
  return cx.icmpLimit.allows(cx.records, src, ADDRESS_WORDS[family], family, cx.nowMs);
}

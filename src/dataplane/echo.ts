/**
 * Side exit, with --answer-ping only: answers an ICMP echo request to an address of ours, in place (RFC 792, RFC 4443 section
 * 4.2). It says that the proxy knows the address, and nothing of any endpoint. The node's own addresses are the kernel's to answer.
 */
import { TABLE_FLAG } from '../table/layout.js';
import { FAMILY } from '../wire/family.js';
import { ICMPV4, ICMPV4_TYPE } from '../wire/icmpv4.js';
import { ICMPV6, ICMPV6_TYPE } from '../wire/icmpv6.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { VNET, VNET_FLAG } from '../wire/virtio-net.js';
import { answerIcmp, IP_HEADER_BYTES, icmpSum } from './answer.js';
import type { WorkerContext } from './context.js';
import { frameAt, packetAt, RECORD, recordAt, type Slot } from './packet.js';
import { DropReason } from './verdict.js';

const REQUEST = [ICMPV4_TYPE.ECHO_REQUEST, ICMPV6_TYPE.ECHO_REQUEST] as const;
const REPLY = [ICMPV4_TYPE.ECHO_REPLY, ICMPV6_TYPE.ECHO_REPLY] as const;
const ICMP = [PROTOCOL.ICMP, PROTOCOL.ICMPV6] as const;

/** Whether the packet in `slot` is an echo request, and such are to be answered. */
export function asksForEcho(cx: WorkerContext, slot: Slot): boolean {
  const { records } = cx;
  const { bytes } = cx.slab;
  const record = recordAt(slot);
  const family = records[record + RECORD.FAMILY];
  const icmp = records[record + RECORD.L4];
  return (
    (cx.table.flags & TABLE_FLAG.ANSWER_PING) !== 0 &&
    records[record + RECORD.PROTOCOL] === ICMP[family] &&
    packetAt(slot) + records[record + RECORD.LENGTH] - icmp >= ICMPV4.SIZE &&
    bytes[icmp + ICMPV4.TYPE] === REQUEST[family] &&
    bytes[icmp + ICMPV4.CODE] === 0
  );
}

/** Replaces the request in `slot` by the reply. @returns None, or why it gets none */
export function answerEcho(cx: WorkerContext, slot: Slot): DropReason {
  const { bytes } = cx.slab;
  const record = recordAt(slot);
  const family = cx.records[record + RECORD.FAMILY];
  const at = packetAt(slot);
  const request = cx.records[record + RECORD.L4];
  const length = at + cx.records[record + RECORD.LENGTH] - request;
  const wrong = verifyRequest(cx, slot, request - at);
  if (wrong !== DropReason.None) return wrong;
  // Options and extension headers are not repeated: the reply begins behind a plain header.
  const reply = at + IP_HEADER_BYTES[family];
  bytes.copyWithin(reply, request, request + length);
  answerIcmp(cx, slot, REPLY[family], 0, length, family === FAMILY.V4 ? bytes[at + IPV4.TOS] : 0);
  return DropReason.None;
}

/** The reply's checksum is made anew, so a request that was damaged must not get one. */
function verifyRequest(cx: WorkerContext, slot: Slot, headerBytes: number): DropReason {
  const { bytes, halves } = cx.slab;
  const frame = frameAt(slot);
  if ((bytes[frame + VNET.FLAGS] & VNET_FLAG.NEEDS_CSUM) === 0)
    return icmpSum(cx, slot) === 0xffff ? DropReason.None : DropReason.BadIcmpChecksum;
  // Left to the device by a sender on this host: there is nothing to verify yet.
  const isItsOwn =
    halves[(frame + VNET.CSUM_START) >> 1] === headerBytes &&
    halves[(frame + VNET.CSUM_OFFSET) >> 1] === ICMPV6.CHECK;
  return isItsOwn ? DropReason.None : DropReason.BadPartialChecksum;
}

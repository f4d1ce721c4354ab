/**
 * ICMP and ICMPv6 errors about our own packets (nf_conntrack's RELATED; RFC 5508 REQ-3 to REQ-7). Which flow does the
 * quoted packet belong to, and the error as whoever sent that packet has to see it:
 *
 *        error about a packet to the endpoint             error about a reply to the client
 *   in   router -> SNAT   quote: SNAT -> endpoint         router -> VIP        quote: VIP -> client
 *   out  router -> client quote: client -> VIP            router -> endpoint   quote: endpoint -> SNAT
 *
 * The quote becomes what it was before `translate`, with all of its checksums; the outer destination is its source. The
 * outer source stays the router's, so that traceroute and operators see who speaks; an end of the flow itself is shown
 * as the other end knows it (the endpoint as the VIP, the client as the SNAT address). nf_nat is stricter about hiding:
 * nf_nat_icmp_reply_translation gives every error that address, the routers' too. Type, code, MTU and ICMP extensions stay
 * as they are, and the flow is neither refreshed nor ended by an error (REQ-6).
 */
import { DIRECTION, ENTRY, STATUS } from '../conntrack/entry.js';
import { type FlowRef, NO_FLOW } from '../conntrack/flow-table.js';
import { swapPorts } from '../wire/byte-order.js';
import { fold, inverseDelta, sumBytes, updateChecksum, wordDelta } from '../wire/checksum.js';
import { FAMILY } from '../wire/family.js';
import { ICMPV4, ICMPV4_TYPE, ICMPV4_UNREACHABLE, icmpv4IsError, icmpv4QuoteBytes } from '../wire/icmpv4.js';
import { ICMPV6, ICMPV6_TYPE, icmpv6IsError, icmpv6QuoteBytes } from '../wire/icmpv6.js';
import { IPV4, ipv4HeaderBytes, ipv4TotalLength, PROTOCOL } from '../wire/ipv4.js';
import {
  IPV6,
  IPV6_BAD_EXTENSION,
  IPV6_FRAGMENT,
  ipv6Protocol,
  ipv6TotalLength,
  ipv6Transport,
} from '../wire/ipv6.js';
import { SCTP, sctpPortsDelta } from '../wire/sctp.js';
import { TCP } from '../wire/tcp.js';
import { UDP } from '../wire/udp.js';
import { VNET, VNET_FLAG } from '../wire/virtio-net.js';
import { icmpSum } from './answer.js';
import type { WorkerContext } from './context.js';
import { frameAt, packetAt, RECORD, recordAt, type Slot } from './packet.js';
import { refused } from './pin.js';
import { DropReason } from './verdict.js';

/** Ports are the first four bytes of a TCP, UDP and SCTP header; an error quotes at least eight (RFC 792). */
const PORTS_BYTES = 4;

/** What an error with extensions quotes at least (RFC 4884 section 4.4): a smaller length field is no such field. */
const QUOTE_BYTES_MIN = 128;

/** Offset of the fragment offset's upper five bits, without the flags. */
const FRAGMENT_OFFSET_HIGH = 0x1f;

/**
 * @returns the flow that the ICMP error in `slot` is about, in the direction that the error travels; NO_FLOW when it is no
 *   error, or about a packet of no flow; or a drop reason (see `refusalOf`), to be heeded if the packet is for us
 */
export function relatedFlow(cx: WorkerContext, slot: Slot): FlowRef {
  const { records } = cx;
  const { words } = cx.slab;
  const record = recordAt(slot);
  const family = records[record + RECORD.FAMILY];
  const isV4 = family === FAMILY.V4;
  records[record + RECORD.QUOTED_L4] = 0;
  if (!isIcmpError(cx, slot)) return NO_FLOW;
  const unreadable = isV4 ? parseQuotedIpv4(cx, slot) : parseQuotedIpv6(cx, slot);
  if (unreadable !== DropReason.None) return refused(unreadable);

  // The quoted packet's reverse is the tuple that replies to it have, and that the flow is found by.
  const flows = cx.flows[family];
  const { entries, addressWords } = flows;
  const { reply } = cx.pools[family];
  const src = addressesOfQuote(cx, slot);
  for (let i = 0; i < addressWords; i++) {
    reply[i] = words[src + addressWords + i];
    reply[addressWords + i] = words[src + i];
  }
  reply[2 * addressWords] = swapPorts(words[records[record + RECORD.QUOTED_L4] >> 2]);
  const flow = flows.find(reply, 0, records[record + RECORD.QUOTED_PROTOCOL]);
  if (flow === NO_FLOW) return NO_FLOW;
  const entry = flows.entryOf(flow);
  if (entries[entry + ENTRY.EXPIRES] <= cx.nowSec) return NO_FLOW;
  // The tuple that stands in for an abandoned flow's client has never been on a packet.
  if (entries[entry] & STATUS.ABANDONED && (flow & 1) === DIRECTION.ORIGINAL) return NO_FLOW;

  // An error goes to the sender of what it quotes: anything else is a forgery (nf_conntrack_inet_error checks it too).
  const dst = record + RECORD.TUPLE + addressWords;
  for (let i = 0; i < addressWords; i++) {
    if (records[dst + i] !== words[src + i]) return refused(DropReason.StrayIcmpError);
  }
  return verifyError(cx, slot, flow);
}

/** Whether the packet in `slot` is an error that a flow may be told of, whatever it quotes. */
export function isIcmpError(cx: WorkerContext, slot: Slot): boolean {
  const { records } = cx;
  const { bytes } = cx.slab;
  const record = recordAt(slot);
  const isV4 = records[record + RECORD.FAMILY] === FAMILY.V4;
  if (records[record + RECORD.PROTOCOL] !== (isV4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6)) return false;
  const icmp = records[record + RECORD.L4];
  if (packetAt(slot) + records[record + RECORD.LENGTH] - icmp < ICMPV4.SIZE) return false;
  return isV4 ? icmpv4IsError(bytes[icmp]) : icmpv6IsError(bytes[icmp]);
}

/** REQ-3a: both checksums before the packet is believed; the quoted transport checksum is not looked at (3c). */
function verifyError(cx: WorkerContext, slot: Slot, flow: FlowRef): FlowRef {
  const { bytes } = cx.slab;
  if (bytes[frameAt(slot) + VNET.FLAGS] & VNET_FLAG.NEEDS_CSUM) return refused(DropReason.BadPartialChecksum);
  if (icmpSum(cx, slot) !== 0xffff) return refused(DropReason.BadIcmpChecksum);
  if (cx.records[recordAt(slot) + RECORD.FAMILY] === FAMILY.V4) {
    const quoted = quoteAt(cx, slot);
    if (sumBytes(bytes, quoted, ipv4HeaderBytes(bytes, quoted)) !== 0xffff)
      return refused(DropReason.BadQuote);
  }
  return flow;
}

/** Whether the error says that the endpoint of `flow` cannot be reached at all. @param flow as `relatedFlow` answered it */
export function isUnreachable(cx: WorkerContext, slot: Slot, flow: FlowRef): boolean {
  const { bytes } = cx.slab;
  const record = recordAt(slot);
  const icmp = cx.records[record + RECORD.L4];
  if ((flow & 1) === DIRECTION.ORIGINAL) return false;
  if (cx.records[record + RECORD.FAMILY] === FAMILY.V6)
    return bytes[icmp] === ICMPV6_TYPE.DESTINATION_UNREACHABLE;
  return (
    bytes[icmp] === ICMPV4_TYPE.DESTINATION_UNREACHABLE &&
    bytes[icmp + ICMPV4.CODE] !== ICMPV4_UNREACHABLE.FRAGMENTATION_NEEDED
  );
}

/** Rewrites the error in `slot` for the sender of the packet that it is about. @param flow as `relatedFlow` answered it */
export function translateRelated(cx: WorkerContext, slot: Slot, flow: FlowRef): void {
  const { halves } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  translateQuote(cx, slot, flow);
  translateOuter(cx, slot, flow);
  const check = (records[record + RECORD.L4] + ICMPV4.CHECK) >> 1;
  halves[check] = 0;
  halves[check] = ~icmpSum(cx, slot);
}

/** The quote becomes the packet as its sender sent it: it has the flow's other tuple. */
function translateQuote(cx: WorkerContext, slot: Slot, flow: FlowRef): void {
  const { words, halves } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  const family = records[record + RECORD.FAMILY];
  const flows = cx.flows[family];
  const { entries, addressWords } = flows;
  const entry = flows.entryOf(flow);
  const sent = flows.tupleOf(entry, (flow & 1) ^ 1);
  const src = addressesOfQuote(cx, slot);
  for (let i = 0; i < 2 * addressWords; i++) words[src + i] = entries[sent + i];
  const l4 = records[record + RECORD.QUOTED_L4];
  const portsWere = words[l4 >> 2];
  words[l4 >> 2] = entries[sent + 2 * addressWords];

  // What was done to the packet is undone: the same that `translate` does to a packet that travels as the error does.
  const deltas = entries[entry + ENTRY.DELTAS];
  const back = (flow & 1) === DIRECTION.REPLY;
  const addresses = back ? inverseDelta(deltas & 0xffff) : deltas & 0xffff;
  const all = back ? inverseDelta(deltas >>> 16) : deltas >>> 16;
  const quoted = quoteAt(cx, slot);
  if (family === FAMILY.V4) {
    const ipCheck = (quoted + IPV4.CHECK) >> 1;
    halves[ipCheck] = updateChecksum(halves[ipCheck], addresses);
  }

  const end = quoteEnd(cx, slot);
  const protocol = records[record + RECORD.QUOTED_PROTOCOL];
  if (protocol === PROTOCOL.SCTP) {
    if (end - l4 < SCTP.SIZE) return;
    const length = quotedTotalLength(cx, slot) - (l4 - quoted);
    words[(l4 + SCTP.CHECK) >> 2] ^= sctpPortsDelta(portsWere, words[l4 >> 2], length);
    return;
  }
  const isUdp = protocol === PROTOCOL.UDP;
  const at = l4 + (isUdp ? UDP.CHECK : TCP.CHECK);
  if (end - at < 2) return;
  const check = halves[at >> 1];
  if (!isUdp) halves[at >> 1] = updateChecksum(check, all);
  else if (check !== 0) halves[at >> 1] = updateChecksum(check, all) || 0xffff; // RFC 768: zero is "no checksum"
}

/** To the sender of the quoted packet; from where it came, or, if that is an end of the flow, as the other end knows it. */
function translateOuter(cx: WorkerContext, slot: Slot, flow: FlowRef): void {
  const { words, halves } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  const family = records[record + RECORD.FAMILY];
  const flows = cx.flows[family];
  const { entries, addressWords } = flows;
  const entry = flows.entryOf(flow);
  const seen = flows.tupleOf(entry, flow & 1);
  const sent = flows.tupleOf(entry, (flow & 1) ^ 1);
  const at = packetAt(slot);
  const src = (at + (family === FAMILY.V4 ? IPV4.SRC : IPV6.SRC)) >> 2;
  let isEnd = true;
  for (let i = 0; i < addressWords; i++) if (words[src + i] !== entries[seen + i]) isEnd = false;

  let sum = 0;
  for (let i = 0; i < addressWords; i++) {
    const from = isEnd ? entries[sent + addressWords + i] : words[src + i];
    const to = entries[sent + i];
    sum += wordDelta(words[src + i], from) + wordDelta(words[src + addressWords + i], to);
    words[src + i] = from;
    words[src + addressWords + i] = to;
  }
  if (family === FAMILY.V4) {
    const ipCheck = (at + IPV4.CHECK) >> 1;
    halves[ipCheck] = updateChecksum(halves[ipCheck], fold(sum));
  }
}

/**
 * Bounds of the quote, checked once. After None the quoted IP header and ports may be read, and the record tells where the
 * transport header is and of which protocol.
 */
function parseQuotedIpv4(cx: WorkerContext, slot: Slot): DropReason {
  const { bytes } = cx.slab;
  const quoted = quoteAt(cx, slot);
  const end = quoteEnd(cx, slot);
  if (end - quoted < IPV4.SIZE) return DropReason.ShortQuote;
  const headerBytes = ipv4HeaderBytes(bytes, quoted);
  if (bytes[quoted] >>> 4 !== 4 || headerBytes < IPV4.SIZE) return DropReason.BadQuote;
  // Only what is not the first fragment has no ports.
  const fragment = quoted + IPV4.FLAGS_FRAGMENT;
  if ((bytes[fragment] & FRAGMENT_OFFSET_HIGH) !== 0 || bytes[fragment + 1] !== 0)
    return DropReason.QuotedFragment;
  return noteQuote(cx, slot, quoted + headerBytes, bytes[quoted + IPV4.PROTOCOL], end);
}

/** A quoted fragment header ends it, the first fragment's too: only the sender of a packet makes such, and we drop them. */
function parseQuotedIpv6(cx: WorkerContext, slot: Slot): DropReason {
  const { bytes } = cx.slab;
  const quoted = quoteAt(cx, slot);
  const end = quoteEnd(cx, slot);
  if (end - quoted < IPV6.SIZE) return DropReason.ShortQuote;
  if (bytes[quoted] >>> 4 !== 6) return DropReason.BadQuote;
  const l4 = ipv6Transport(bytes, quoted, end);
  if (l4 === IPV6_FRAGMENT) return DropReason.QuotedFragment;
  if (l4 === IPV6_BAD_EXTENSION) return DropReason.BadQuote;
  return noteQuote(cx, slot, l4, ipv6Protocol(bytes, quoted, l4), end);
}

function noteQuote(cx: WorkerContext, slot: Slot, l4: number, protocol: number, end: number): DropReason {
  const record = recordAt(slot);
  if (end - l4 < PORTS_BYTES) return DropReason.ShortQuote;
  cx.records[record + RECORD.QUOTED_L4] = l4;
  cx.records[record + RECORD.QUOTED_PROTOCOL] = protocol;
  return DropReason.None;
}

/** Byte offset of the quoted packet. */
const quoteAt = (cx: WorkerContext, slot: Slot): number =>
  cx.records[recordAt(slot) + RECORD.L4] + ICMPV4.SIZE;

/** Byte behind the quote: the end of the packet, or where ICMP extensions begin. */
function quoteEnd(cx: WorkerContext, slot: Slot): number {
  const { bytes } = cx.slab;
  const record = recordAt(slot);
  const icmp = cx.records[record + RECORD.L4];
  const isV4 = cx.records[record + RECORD.FAMILY] === FAMILY.V4;
  const stated = isV4 ? icmpv4QuoteBytes(bytes, icmp) : icmpv6QuoteBytes(bytes, icmp);
  const end = packetAt(slot) + cx.records[record + RECORD.LENGTH];
  return stated < QUOTE_BYTES_MIN ? end : Math.min(end, icmp + ICMPV6.SIZE + stated);
}

/** Length of the quoted packet as it was, whether all of it is quoted or not; no bound of anything that is there. */
function quotedTotalLength(cx: WorkerContext, slot: Slot): number {
  const { bytes } = cx.slab;
  const quoted = quoteAt(cx, slot);
  const isV4 = cx.records[recordAt(slot) + RECORD.FAMILY] === FAMILY.V4;
  return isV4 ? ipv4TotalLength(bytes, quoted) : ipv6TotalLength(bytes, quoted);
}

/** Word offset of the quoted packet's addresses: source, then destination. */
const addressesOfQuote = (cx: WorkerContext, slot: Slot): number =>
  (quoteAt(cx, slot) + (cx.records[recordAt(slot) + RECORD.FAMILY] === FAMILY.V4 ? IPV4.SRC : IPV6.SRC)) >> 2;

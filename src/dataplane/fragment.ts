/**
 * Fragments: only the first of a datagram has ports. It goes the way of a whole packet, and its fate becomes that of the
 * others, which are found by source, destination and identification. Nothing is reassembled: the transport checksum
 * covers the datagram, and what a translation adds to it is known without the rest of the payload.
 */
import { ENTRY } from '../conntrack/entry.js';
import { type FlowRef, NO_FLOW } from '../conntrack/flow-table.js';
import { Added, DATAGRAM, FATE, KEY, NO_PLACE, type Place } from '../conntrack/fragments.js';
import { COUNTER } from '../table/counters.js';
import { ADDRESS_WORDS, FAMILY } from '../wire/family.js';
import { IPV4, ipv4HeaderBytes, ipv4TotalLength, PROTOCOL } from '../wire/ipv4.js';
import {
  IPV6,
  IPV6_FRAGMENT_HEADER,
  ipv6FirstTransport,
  ipv6FragmentHeader,
  ipv6Protocol,
  ipv6TotalLength,
} from '../wire/ipv6.js';
import { sctpFits } from '../wire/sctp.js';
import { TCP, tcpFits } from '../wire/tcp.js';
import { UDP } from '../wire/udp.js';
import { GSO, VNET, VNET_FLAG } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { frameAt, packetAt, RECORD, recordAt, type Slot } from './packet.js';
import { pinFind } from './pin.js';
import { isAbandoned } from './retry.js';
import { DropReason } from './verdict.js';

/** The longest datagram: IPv4 header and payload, or what follows the IPv6 header. */
const DATAGRAM_BYTES_MAX = 65_535;

/** Where TCP's flags would be overwritten: a fragment that begins inside the header (RFC 1858 section 3.2.1). */
const TCP_OVERWRITE_OFFSET = 8;

/**
 * What every fragment has: goes on where `parse` answered Fragment, so addresses are in the tuple and the IP header fits.
 * Leaves the datagram's key and the fragment's range in `cx.fragments`, and L4 at the first byte behind the IP headers.
 */
export function parseFragment(cx: WorkerContext, slot: Slot): DropReason {
  const { bytes, halves, words } = cx.slab;
  const { records, fragments } = cx;
  const record = recordAt(slot);
  const at = packetAt(slot);
  const frame = frameAt(slot);
  const isV4 = bytes[at] >>> 4 === 4;
  const family = isV4 ? FAMILY.V4 : FAMILY.V6;
  const addressWords = ADDRESS_WORDS[family];
  const length = isV4 ? ipv4TotalLength(bytes, at) : ipv6TotalLength(bytes, at);
  const header = isV4
    ? at + IPV4.FLAGS_FRAGMENT - IPV6_FRAGMENT_HEADER.OFFSET
    : ipv6FragmentHeader(bytes, at);
  const l4 = isV4 ? at + ipv4HeaderBytes(bytes, at) : header + IPV6_FRAGMENT_HEADER.SIZE;
  const protocol = isV4 ? bytes[at + IPV4.PROTOCOL] : bytes[header];
  const field =
    (bytes[header + IPV6_FRAGMENT_HEADER.OFFSET] << 8) | bytes[header + IPV6_FRAGMENT_HEADER.OFFSET + 1];
  const start = isV4 ? (field & 0x1fff) << 3 : field & 0xfff8;
  const end = start + length - (l4 - at);
  const more = (field & (isV4 ? 0x2000 : 1)) !== 0;

  records[record + RECORD.FAMILY] = family;
  records[record + RECORD.L4] = l4;
  records[record + RECORD.LENGTH] = length;
  records[record + RECORD.PROTOCOL] = protocol;
  records[record + RECORD.TCP_FLAGS] = 0;
  records[record + RECORD.PARTIAL] = 0;
  const tuple = record + RECORD.TUPLE;
  records[tuple + 2 * addressWords] = 0;

  // A sender finishes the checksum and segments before it fragments, so a fragment has neither left to do.
  if ((bytes[frame + VNET.FLAGS] & VNET_FLAG.NEEDS_CSUM) !== 0) return DropReason.BadPartialChecksum;
  if (bytes[frame + VNET.GSO_TYPE] !== GSO.NONE) return DropReason.BadFragment;
  if (end === start || (more && (end & 7) !== 0)) return DropReason.BadFragment;
  if (end + l4 - at - (isV4 ? 0 : IPV6.SIZE + IPV6_FRAGMENT_HEADER.SIZE) > DATAGRAM_BYTES_MAX) {
    return DropReason.OversizedFragment;
  }
  if (protocol === PROTOCOL.TCP && start === TCP_OVERWRITE_OFFSET) return DropReason.TinyFragment;

  const { key } = fragments;
  key.fill(0);
  for (let i = 0; i < addressWords; i++) {
    key[KEY.SRC + i] = records[tuple + i];
    key[KEY.DST + i] = records[tuple + addressWords + i];
  }
  key[KEY.ID] = isV4 ? halves[(at + IPV4.ID) >> 1] : words[(header + IPV6_FRAGMENT_HEADER.ID) >> 2];
  // With IPv6 only the first fragment's next header counts (RFC 8200 section 4.5).
  key[KEY.KIND] = isV4 ? protocol : 1 << 8;
  fragments.start = start;
  fragments.end = end;
  fragments.more = more;
  return DropReason.None;
}

export const isFirst = (cx: WorkerContext): boolean => cx.fragments.start === 0;

/** The place of the datagram that the fragment in hand belongs to. */
export function datagramOf(cx: WorkerContext): Place {
  const place = cx.fragments.find(cx.nowMs);
  return place === NO_PLACE ? cx.fragments.begin(cx.nowMs) : place;
}

export const fateOf = (cx: WorkerContext, place: Place): number => cx.fragments.words[place + DATAGRAM.FATE];

/**
 * Whether the fragment in hand may join those that went before it. Those that are held are asked only when it is their turn;
 * what passes is not ours to judge.
 */
export function fitsDatagram(cx: WorkerContext, place: Place): DropReason {
  const { fragments } = cx;
  const fate = fateOf(cx, place);
  if (fate === FATE.REFUSED) return DropReason.Fragment;
  if (fate === FATE.PASSED || (fate === FATE.WAITING && !isFirst(cx))) return DropReason.None;
  const added = fragments.add(place);
  if (added === Added.New) return DropReason.None;
  if (added === Added.Duplicate) return DropReason.DuplicateFragment;
  if (added === Added.Complete) {
    // The place is kept while this fragment is in hand; nothing comes between.
    if (fragments.words[place + DATAGRAM.HELD] === 0) fragments.remove(place);
    return DropReason.None;
  }
  fragments.settle(place, FATE.REFUSED, cx.nowMs);
  return added === Added.Overlap ? DropReason.OverlappingFragment : DropReason.FragmentNoRoom;
}

/** The transport header of a first fragment, as `parse` does it for a whole packet; lengths are those of the whole. */
export function parseFirst(cx: WorkerContext, slot: Slot): DropReason {
  const { bytes, words } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  const at = packetAt(slot);
  const end = at + records[record + RECORD.LENGTH];
  const isV4 = records[record + RECORD.FAMILY] === FAMILY.V4;
  if (!isV4) {
    const fragment = records[record + RECORD.L4] - IPV6_FRAGMENT_HEADER.SIZE;
    const found = ipv6FirstTransport(bytes, fragment, end);
    if (found < 0) return DropReason.BadIpv6Extension;
    records[record + RECORD.L4] = found;
    records[record + RECORD.PROTOCOL] = ipv6Protocol(bytes, at, found);
  }
  const l4 = records[record + RECORD.L4];
  const protocol = records[record + RECORD.PROTOCOL];
  const ports = record + RECORD.TUPLE + 2 * ADDRESS_WORDS[isV4 ? FAMILY.V4 : FAMILY.V6];
  if (protocol === PROTOCOL.TCP) {
    if (!tcpFits(bytes, l4, end)) return DropReason.TinyFragment;
    records[record + RECORD.TCP_FLAGS] = bytes[l4 + TCP.FLAGS];
  } else if (protocol === PROTOCOL.UDP) {
    if (end - l4 < UDP.SIZE) return DropReason.TinyFragment;
    if (((bytes[l4 + UDP.LENGTH] << 8) | bytes[l4 + UDP.LENGTH + 1]) < UDP.SIZE)
      return DropReason.BadUdpLength;
  } else {
    if (protocol === PROTOCOL.SCTP) {
      if (!sctpFits(bytes, l4, end)) return DropReason.TinyFragment;
      records[ports] = words[l4 >> 2];
    }
    return DropReason.UnsupportedFragment;
  }
  records[ports] = words[l4 >> 2];
  return DropReason.None;
}

/** The outcome of the first fragment in `slot` becomes that of its datagram. */
export function noteFate(cx: WorkerContext, slot: Slot, place: Place): void {
  const { records, fragments } = cx;
  const record = recordAt(slot);
  const counter = records[record + RECORD.OUTCOME];
  if (counter === COUNTER.PASSED) {
    fragments.settle(place, FATE.PASSED, cx.nowMs);
    return;
  }
  if (counter === COUNTER.HANDED_OFF) {
    fragments.settle(place, FATE.ELSEWHERE + records[record + RECORD.OWNER], cx.nowMs);
    return;
  }
  const flows = cx.flows[records[record + RECORD.FAMILY]];
  const protocol = records[record + RECORD.PROTOCOL];
  const flow = counter === COUNTER.FORWARDED ? flows.find(records, record + RECORD.TUPLE, protocol) : NO_FLOW;
  if (flow === NO_FLOW) {
    fragments.settle(place, FATE.REFUSED, cx.nowMs);
    return;
  }
  const ports = records[record + RECORD.TUPLE + 2 * flows.addressWords];
  fragments.follow(place, ports, protocol, flows.entries[flows.entryOf(flow) + ENTRY.DELTAS]);
  fragments.settle(place, FATE.FLOW, cx.nowMs);
}

/** @returns the flow that translated the first fragment, if it still does so the same way, or NO_FLOW */
export function flowOfFirst(cx: WorkerContext, slot: Slot, place: Place): FlowRef {
  const { records } = cx;
  const { words } = cx.fragments;
  const record = recordAt(slot);
  const flows = cx.flows[records[record + RECORD.FAMILY]];
  records[record + RECORD.TUPLE + 2 * flows.addressWords] = words[place + DATAGRAM.PORTS];
  records[record + RECORD.PROTOCOL] = words[place + DATAGRAM.PROTOCOL];
  const flow = pinFind(cx, slot);
  if (flow === NO_FLOW) return NO_FLOW;
  // A flow of the same tuple that began meanwhile has another source or endpoint, and so other deltas.
  if (flows.entries[flows.entryOf(flow) + ENTRY.DELTAS] !== words[place + DATAGRAM.DELTAS]) return NO_FLOW;
  return isAbandoned(cx, slot, flow) ? NO_FLOW : flow;
}

/** Copies the fragment in `slot` until the first of its datagram comes. @returns whether there was room */
export function hold(cx: WorkerContext, slot: Slot, place: Place): boolean {
  const { lengths, bytes } = cx.slab;
  const lost = cx.fragments.hold(place, bytes, frameAt(slot), lengths[slot]);
  if (lost < 0) return false;
  lengths[slot] = 0;
  endHeld(cx, lost, DropReason.FragmentNoRoom);
  return true;
}

/** Puts a held fragment whose first one has come into `slot`, as if it had been read now. @returns false: there is none */
export function nextHeld(cx: WorkerContext, slot: Slot): boolean {
  const length = cx.fragments.release(cx.slab.bytes, frameAt(slot));
  if (length === 0) return false;
  cx.slab.lengths[slot] = length;
  cx.counters[COUNTER.HELD]--;
  return true;
}

/** Drops the held fragments whose time is over. */
export function giveUpHeld(cx: WorkerContext): void {
  if (cx.fragments.heldCount > 0) endHeld(cx, cx.fragments.expire(cx.nowMs), DropReason.FragmentTimeout);
}

function endHeld(cx: WorkerContext, count: number, reason: DropReason): void {
  cx.counters[COUNTER.HELD] -= count;
  cx.counters[COUNTER.DROPPED + reason] += count;
}

/**
 * The fast path: packets of known flows with nothing special about them, which is almost every packet. What `process` does
 * with such a packet, in loops over the batch in place of a dozen calls for each: what a loop needs is loaded once, and
 * the memory of all flows is on its way before the first is used.
 *
 *   1  findPlain   IPv4 or IPv6 without extension headers, no fragment, TCP or UDP: what it is, and the hash of its tuple
 *   2  locate      the flow of each tuple: one probe of the index, one look at the entry
 *   3  forward     in the order of the slots: if the flow still is what was found, its age, counts, headers and checksums;
 *                  everything else, and every doubt, goes to `process`, which begins from the packet
 *
 * `process` is complete without this file and decides everything; test/dataplane/hits.test.ts compares the two byte by byte.
 */
import { DIRECTION, ENTRY, STATUS } from '../conntrack/entry.js';
import { hashTuple, NO_FLOW } from '../conntrack/flow-table.js';
import { TCP_STATE } from '../conntrack/tcp-state.js';
import { TIMEOUT } from '../conntrack/timeouts.js';
import { COUNTER, ENDPOINT_ROW, endpointRow } from '../table/counters.js';
import { ENDPOINT_STATE } from '../table/layout.js';
import { half, swapPorts } from '../wire/byte-order.js';
import { inverseDelta, updateChecksum, updatePartialChecksum } from '../wire/checksum.js';
import { ADDRESS_WORDS, FAMILY, TUPLE_WORDS } from '../wire/family.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import { TCP, TCP_FLAG } from '../wire/tcp.js';
import { UDP } from '../wire/udp.js';
import { VNET, VNET_FLAG } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { frameAt, PLAIN, packetAt, RECORD, recordAt } from './packet.js';
import { process } from './pipeline.js';

/** Segments that may change the state of a connection, or begin it anew. */
const NOT_ORDINARY = TCP_FLAG.SYN | TCP_FLAG.FIN | TCP_FLAG.RST;

/** The bits of STATUS that make a flow ordinary, and what they are: the state byte of a UDP flow is no state. */
const ORDINARY_TCP_MASK = STATUS.LIVE | STATUS.ABANDONED | STATUS.STATE_MASK | STATUS.PROTOCOL_MASK;
const ORDINARY_TCP = STATUS.LIVE | (TCP_STATE.ESTABLISHED << STATUS.STATE_SHIFT) | PROTOCOL.TCP;
const ORDINARY_UDP_MASK = STATUS.LIVE | STATUS.ABANDONED | STATUS.PROTOCOL_MASK;
const ORDINARY_UDP = STATUS.LIVE | PROTOCOL.UDP;

/** By family: where in a packet the tuple begins, in words. It ends with the ports, which follow the addresses. */
const TUPLE_AT = [IPV4.SRC >> 2, IPV6.SRC >> 2] as const;

/** Takes `count` packets of the slab through the pipeline; each has its outcome noted. */
export function forward(cx: WorkerContext, count: number): void {
  const { plain, located } = cx;
  findPlain(cx, count);
  locate(cx, count);
  for (let slot = 0; slot < count; ) {
    const next = located[slot] === NO_FLOW ? slot : forwardRun(cx, slot, count);
    if (next === slot) {
      located[slot] = NO_FLOW;
      cx.hashed = plain[slot] === 0 ? -1 : slot;
      process(cx, slot++);
    } else {
      slot = next;
    }
  }
  cx.hashed = -1;
}

/**
 * Forwards ordinary packets of one family, from the one in slot `from` on, whose flow is located. Nothing is called in this
 * loop that is not inlined, so that what it works with stays in registers: a call might change any of it.
 * @returns the first slot that is not forwarded, `count` at most
 */
function forwardRun(cx: WorkerContext, from: number, count: number): number {
  const { slab, records, plain, located, nowSec, timeouts } = cx;
  const { words, halves } = slab;
  const { states } = cx.table;
  const familyBit = plain[from] & PLAIN.FAMILY;
  const family = familyBit >>> PLAIN.FAMILY_SHIFT;
  const { entries, floats, entryWords } = cx.flows[family];
  const addressWords = ADDRESS_WORDS[family];
  const tupleWords = TUPLE_WORDS[family];
  const tupleAt = TUPLE_AT[family];
  for (let slot = from; slot < count; slot++) {
    const flow = located[slot];
    const packet = plain[slot];
    if (flow === NO_FLOW || (packet & PLAIN.FAMILY) !== familyBit) return slot;
    const at = (flow >> 1) * entryWords;
    const direction = flow & 1;
    const isTcp = (packet & PLAIN.TCP) !== 0;
    let status = entries[at];
    const ordinary = isTcp
      ? (status & ORDINARY_TCP_MASK) === ORDINARY_TCP
      : (status & ORDINARY_UDP_MASK) === ORDINARY_UDP &&
        // Between the first answer and the stream `touch` looks at the clock.
        ((status & STATUS.ASSURED) !== 0 || ((status & STATUS.SEEN_REPLY) | direction) === 0);
    if (!ordinary || entries[at + ENTRY.EXPIRES] <= nowSec) return slot;
    const endpoint = entries[at + ENTRY.ENDPOINT];
    if (endpoint >= states.length || states[endpoint] !== ENDPOINT_STATE.LIVE) return slot;
    const original = at + ENTRY.ORIGINAL;
    const own = original + direction * tupleWords;
    const other = original + (direction ^ 1) * tupleWords;
    const ip = packetAt(slot) >> 2;
    const tuple = ip + tupleAt;
    // A slot before this one may have ended the flow and given its entry to another; and a hash is only a hash.
    let differ =
      (entries[own] ^ words[tuple]) |
      (entries[own + 1] ^ words[tuple + 1]) |
      (entries[own + 2] ^ words[tuple + 2]);
    for (let i = 3; i < tupleWords; i++) differ |= entries[own + i] ^ words[tuple + i];
    if (differ !== 0) return slot;

    let timeout: number;
    if (isTcp) {
      if (direction === DIRECTION.REPLY) status |= STATUS.SEEN_REPLY;
      const seenReply = (status & STATUS.SEEN_REPLY) !== 0;
      if (seenReply) status |= STATUS.ASSURED;
      // As `acknowledge` in pin.ts.
      status &= ~((packet & PLAIN.ACK) << (direction ^ 1));
      status |= ((packet >>> 1) & PLAIN.ACK) << direction;
      const owed = !seenReply || (status & STATUS.UNACKED_MASK) !== 0;
      timeout = owed ? TIMEOUT.TCP_UNACKNOWLEDGED : TIMEOUT.TCP + TCP_STATE.ESTABLISHED;
      entries[at] = status;
    } else {
      timeout = (status & STATUS.ASSURED) !== 0 ? TIMEOUT.UDP_STREAM : TIMEOUT.UDP;
    }
    entries[at + ENTRY.EXPIRES] = nowSec + timeouts[timeout];
    const length = packet & PLAIN.LENGTH;
    entries[at + ENTRY.PACKETS + direction]++;
    floats[((at + ENTRY.BYTES) >> 1) + direction] += length;

    for (let i = 0; i < addressWords; i++) {
      words[tuple + i] = entries[other + addressWords + i];
      words[tuple + addressWords + i] = entries[other + i];
    }
    const l4 = tuple + 2 * addressWords;
    words[l4] = swapPorts(entries[other + 2 * addressWords]);

    const deltas = entries[at + ENTRY.DELTAS];
    const isReply = direction === DIRECTION.REPLY;
    const addresses = isReply ? inverseDelta(deltas & 0xffff) : deltas & 0xffff;
    const all = isReply ? inverseDelta(deltas >>> 16) : deltas >>> 16;
    if (family === FAMILY.V4) {
      const ipCheck = (ip << 1) + (IPV4.CHECK >> 1);
      halves[ipCheck] = updateChecksum(halves[ipCheck], addresses);
    }
    const l4Check = (l4 << 1) + ((isTcp ? TCP.CHECK : UDP.CHECK) >> 1);
    const check = halves[l4Check];
    if ((packet & PLAIN.PARTIAL) !== 0) halves[l4Check] = updatePartialChecksum(check, addresses);
    else if (isTcp) halves[l4Check] = updateChecksum(check, all);
    else if (check !== 0) halves[l4Check] = updateChecksum(check, all) || 0xffff;
    const record = recordAt(slot);
    records[record + RECORD.OUTCOME] = COUNTER.FORWARDED;
    records[record + RECORD.LENGTH] = length;
    records[record + RECORD.ROW] = endpointRow(endpoint) + direction * ENDPOINT_ROW.PACKETS_REPLY;
  }
  return count;
}

/**
 * Loop 1: what each packet is, see PLAIN, and the hash of a plain one's tuple. A header is read word by word: one load for
 * what has to be asked of several fields.
 */
function findPlain(cx: WorkerContext, count: number): void {
  const { bytes, words, halves, lengths } = cx.slab;
  const { plain, hashes, flows } = cx;
  const { seed } = flows[FAMILY.V4]; // the same for both families
  for (let slot = 0; slot < count; slot++) {
    plain[slot] = 0;
    const frame = frameAt(slot);
    const ip = packetAt(slot) >> 2;
    const room = lengths[slot] - VNET.SIZE;
    if (room < IPV4.SIZE + UDP.SIZE) continue;
    const first = words[ip];
    let family: number = FAMILY.V4;
    let length: number;
    let protocol: number;
    if ((first & 0xff) === 0x45) {
      const hop = words[ip + (IPV4.TTL >> 2)];
      if ((hop & 0xff) === 0 || (words[ip + (IPV4.FLAGS_FRAGMENT >> 2)] & IPV4_FRAGMENT_WORD) !== 0) continue;
      length = half(first >>> 16);
      protocol = (hop >>> 8) & 0xff;
    } else {
      const hop = words[ip + (IPV6.PAYLOAD_LENGTH >> 2)];
      if ((first & 0xf0) !== 0x60 || hop >>> 24 === 0) continue;
      family = FAMILY.V6;
      length = IPV6.SIZE + half(hop & 0xffff);
      protocol = (hop >>> 16) & 0xff;
    }
    if (length > room || length > PLAIN.LENGTH) continue;
    const tuple = ip + TUPLE_AT[family];
    const tupleWords = TUPLE_WORDS[family];
    const l4 = tuple + tupleWords - 1;
    const l4Bytes = length - ((l4 - ip) << 2);
    let packet = length | (family << PLAIN.FAMILY_SHIFT);
    if (protocol === PROTOCOL.UDP) {
      const udpLength = half(words[l4 + (UDP.LENGTH >> 2)] & 0xffff);
      if (udpLength < UDP.SIZE || udpLength > l4Bytes) continue;
    } else {
      if (protocol !== PROTOCOL.TCP || l4Bytes < TCP.SIZE) continue;
      const control = words[l4 + (TCP.DATA_OFFSET >> 2)];
      const header = (control & 0xf0) >>> 2;
      const flags = control >>> 8;
      if (header < TCP.SIZE || header > l4Bytes || (flags & NOT_ORDINARY) !== 0) continue;
      packet |= PLAIN.TCP;
      if ((flags & TCP_FLAG.ACK) !== 0) packet |= l4Bytes > header ? PLAIN.ACK | PLAIN.DATA : PLAIN.ACK;
    }
    if ((bytes[frame + VNET.FLAGS] & VNET_FLAG.NEEDS_CSUM) !== 0) {
      if (halves[(frame + VNET.CSUM_START) >> 1] !== (l4 - ip) << 2) continue;
      const check = protocol === PROTOCOL.TCP ? TCP.CHECK : UDP.CHECK;
      if (halves[(frame + VNET.CSUM_OFFSET) >> 1] !== check) continue;
      packet |= PLAIN.PARTIAL;
    }
    plain[slot] = packet;
    hashes[slot] = hashTuple(seed, words, tuple, tupleWords, protocol);
  }
}

/** "More fragments" and the fragment offset, in the word that begins with the identification. */
const IPV4_FRAGMENT_WORD = 0xff3f << 16;

/**
 * Loop 2: the flow that probably is the one of each plain packet, or NO_FLOW. In two short loops, because a processor waits
 * for many memory accesses at once if it can see that far ahead: the index, then the entries.
 */
function locate(cx: WorkerContext, count: number): void {
  const { plain, located, hashes, statuses } = cx;
  const [flows4, flows6] = cx.flows;
  for (let slot = 0; slot < count; slot++) {
    const packet = plain[slot];
    const flows = (packet & PLAIN.FAMILY) === 0 ? flows4 : flows6;
    located[slot] = packet === 0 ? NO_FLOW : flows.candidate(hashes[slot]);
  }
  for (let slot = 0; slot < count; slot++) {
    const flow = located[slot];
    if (flow === NO_FLOW) continue;
    const flows = (plain[slot] & PLAIN.FAMILY) === 0 ? flows4 : flows6;
    statuses[slot] = flows.entries[flows.entryOf(flow)];
  }
}

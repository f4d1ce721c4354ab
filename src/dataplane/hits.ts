/**
 * The fast path: packets of known flows with nothing special about them, which is almost every packet. What `process` does
 * with such a packet, in three loops over the batch in place of a dozen calls for each: what a loop needs is loaded once, and
 * the memory of all flows is on its way before the first is used.
 *
 *   1  findPlain   IPv4 or IPv6 without extension headers, no fragment, TCP or UDP: offsets and tuple into the record
 *   2  locate      the flow of each tuple: one probe of the index, one look at the entry
 *   3  forward     in the order of the slots: if the flow still is what was found, its age, counts, headers and checksums;
 *                  everything else, and every doubt, goes to `process`, which begins from the packet
 *
 * `process` is complete without this file and decides everything; test/dataplane/hits.test.ts compares the two byte by byte.
 */
import { DIRECTION, ENTRY, STATUS } from '../conntrack/entry.js';
import { NO_FLOW } from '../conntrack/flow-table.js';
import { TCP_STATE } from '../conntrack/tcp-state.js';
import { TIMEOUT } from '../conntrack/timeouts.js';
import { COUNTER, ENDPOINT_ROW, endpointRow } from '../table/counters.js';
import { ENDPOINT_STATE } from '../table/layout.js';
import { swapPorts } from '../wire/byte-order.js';
import { inverseDelta, updateChecksum, updatePartialChecksum } from '../wire/checksum.js';
import { FAMILY } from '../wire/family.js';
import { IPV4, ipv4Fits, ipv4HeaderBytes, ipv4IsFragment, ipv4TotalLength, PROTOCOL } from '../wire/ipv4.js';
import { IPV6, ipv6Fits, ipv6TotalLength } from '../wire/ipv6.js';
import { TCP, TCP_FLAG, tcpFits } from '../wire/tcp.js';
import { UDP, udpFits } from '../wire/udp.js';
import { VNET, VNET_FLAG } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { frameAt, packetAt, RECORD, recordAt } from './packet.js';
import { process } from './pipeline.js';

/** Segments that may change the state of a connection, or begin it anew. */
const NOT_ORDINARY = TCP_FLAG.SYN | TCP_FLAG.FIN | TCP_FLAG.RST;

/** RECORD.ACKNOWLEDGES: UNACKED for a segment with ACK, and in the bit above it whether it has data of its own. */
const ACK_ONLY = STATUS.UNACKED;
const ACK_OF_DATA = STATUS.UNACKED | (STATUS.UNACKED << 1);

/** The bits of STATUS that make a flow ordinary, and what they are: the state byte of a UDP flow is no state. */
const ORDINARY_TCP_MASK = STATUS.LIVE | STATUS.ABANDONED | STATUS.STATE_MASK | STATUS.PROTOCOL_MASK;
const ORDINARY_TCP = STATUS.LIVE | (TCP_STATE.ESTABLISHED << STATUS.STATE_SHIFT) | PROTOCOL.TCP;
const ORDINARY_UDP_MASK = STATUS.LIVE | STATUS.ABANDONED | STATUS.PROTOCOL_MASK;
const ORDINARY_UDP = STATUS.LIVE | PROTOCOL.UDP;

/** Takes `count` packets of the slab through the pipeline; each has its outcome noted. */
export function forward(cx: WorkerContext, count: number): void {
  findPlain(cx, count);
  locate(cx, count);
  const { slab, records, located, counters, flows, nowSec, table, timeouts } = cx;
  const { words, halves } = slab;
  for (let slot = 0; slot < count; slot++) {
    const flow = located[slot];
    const record = recordAt(slot);
    const family = records[record + RECORD.FAMILY];
    const { entries, floats, tupleWords, entryWords } = flows[family];
    const at = (flow >> 1) * entryWords;
    const isUdp = records[record + RECORD.PROTOCOL] === PROTOCOL.UDP;
    const direction = flow & 1;
    let status = flow === NO_FLOW ? 0 : entries[at];
    const ordinary = isUdp
      ? (status & ORDINARY_UDP_MASK) === ORDINARY_UDP &&
        // Between the first answer and the stream `touch` looks at the clock.
        ((status & STATUS.ASSURED) !== 0 || ((status & STATUS.SEEN_REPLY) | direction) === 0)
      : (status & ORDINARY_TCP_MASK) === ORDINARY_TCP;
    if (
      !ordinary ||
      entries[at + ENTRY.EXPIRES] <= nowSec ||
      table.stateOf(entries[at + ENTRY.ENDPOINT]) !== ENDPOINT_STATE.LIVE
    ) {
      located[slot] = NO_FLOW;
      process(cx, slot);
      continue;
    }
    const own = at + ENTRY.ORIGINAL + direction * tupleWords;
    const other = at + ENTRY.ORIGINAL + (direction ^ 1) * tupleWords;
    const tuple = record + RECORD.TUPLE;
    // A slot before this one may have ended the flow and given its entry to another.
    let differ =
      (entries[own] ^ records[tuple]) |
      (entries[own + 1] ^ records[tuple + 1]) |
      (entries[own + 2] ^ records[tuple + 2]);
    for (let i = 3; i < tupleWords; i++) differ |= entries[own + i] ^ records[tuple + i];
    if (differ !== 0) {
      located[slot] = NO_FLOW;
      process(cx, slot);
      continue;
    }

    let timeout: number;
    if (isUdp) {
      timeout = (status & STATUS.ASSURED) !== 0 ? TIMEOUT.UDP_STREAM : TIMEOUT.UDP;
    } else {
      if (direction === DIRECTION.REPLY) status |= STATUS.SEEN_REPLY;
      const seenReply = (status & STATUS.SEEN_REPLY) !== 0;
      if (seenReply) status |= STATUS.ASSURED;
      // As `acknowledge` in pin.ts.
      const acknowledges = records[record + RECORD.ACKNOWLEDGES];
      status &= ~((acknowledges & STATUS.UNACKED) << (direction ^ 1));
      status |= ((acknowledges >>> 1) & STATUS.UNACKED) << direction;
      const owed = !seenReply || (status & STATUS.UNACKED_MASK) !== 0;
      timeout = owed ? TIMEOUT.TCP_UNACKNOWLEDGED : TIMEOUT.TCP + TCP_STATE.ESTABLISHED;
    }
    entries[at] = status;
    entries[at + ENTRY.EXPIRES] = nowSec + timeouts[timeout];
    const length = records[record + RECORD.LENGTH];
    entries[at + ENTRY.PACKETS + direction]++;
    floats[((at + ENTRY.BYTES) >> 1) + direction] += length;
    const row = endpointRow(entries[at + ENTRY.ENDPOINT]) + direction * ENDPOINT_ROW.PACKETS_REPLY;
    counters[row + ENDPOINT_ROW.PACKETS_ORIGINAL]++;
    counters[row + ENDPOINT_ROW.BYTES_ORIGINAL] += length;

    const packet = packetAt(slot);
    const l4 = records[record + RECORD.L4];
    const addressWords = (tupleWords - 1) >> 1;
    const src = (packet + (family === FAMILY.V4 ? IPV4.SRC : IPV6.SRC)) >> 2;
    for (let i = 0; i < addressWords; i++) {
      words[src + i] = entries[other + addressWords + i];
      words[src + addressWords + i] = entries[other + i];
    }
    words[l4 >> 2] = swapPorts(entries[other + 2 * addressWords]);

    const deltas = entries[at + ENTRY.DELTAS];
    const isReply = direction === DIRECTION.REPLY;
    const addresses = isReply ? inverseDelta(deltas & 0xffff) : deltas & 0xffff;
    const all = isReply ? inverseDelta(deltas >>> 16) : deltas >>> 16;
    if (family === FAMILY.V4) {
      const ipCheck = (packet + IPV4.CHECK) >> 1;
      halves[ipCheck] = updateChecksum(halves[ipCheck], addresses);
    }
    const l4Check = (l4 + (isUdp ? UDP.CHECK : TCP.CHECK)) >> 1;
    const check = halves[l4Check];
    if (records[record + RECORD.PARTIAL] === 1) halves[l4Check] = updatePartialChecksum(check, addresses);
    else if (!isUdp) halves[l4Check] = updateChecksum(check, all);
    else if (check !== 0) halves[l4Check] = updateChecksum(check, all) || 0xffff;
    records[record + RECORD.OUTCOME] = COUNTER.FORWARDED;
  }
}

/** Loop 1: fills the records of plain packets; `located` says of each slot whether it is one. */
function findPlain(cx: WorkerContext, count: number): void {
  const { bytes, words, halves, lengths } = cx.slab;
  const { records, located } = cx;
  for (let slot = 0; slot < count; slot++) {
    const record = recordAt(slot);
    const frame = frameAt(slot);
    const at = packetAt(slot);
    const end = frame + lengths[slot];
    const tuple = record + RECORD.TUPLE;
    located[slot] = NO_FLOW;
    records[record + RECORD.FAMILY] = FAMILY.V4; // whatever it is: the third loop looks at it
    let l4: number;
    let length: number;
    let protocol: number;
    let ports: number;
    if (bytes[at] >>> 4 === 4) {
      if (!ipv4Fits(bytes, at, end) || ipv4IsFragment(bytes, at) || bytes[at + IPV4.TTL] === 0) continue;
      l4 = at + ipv4HeaderBytes(bytes, at);
      length = ipv4TotalLength(bytes, at);
      protocol = bytes[at + IPV4.PROTOCOL];
      ports = tuple + 2;
      records[tuple] = words[(at + IPV4.SRC) >> 2];
      records[tuple + 1] = words[(at + IPV4.DST) >> 2];
    } else {
      if (!ipv6Fits(bytes, at, end) || bytes[at + IPV6.HOP_LIMIT] === 0) continue;
      l4 = at + IPV6.SIZE;
      length = ipv6TotalLength(bytes, at);
      protocol = bytes[at + IPV6.NEXT_HEADER];
      ports = tuple + 8;
      records[record + RECORD.FAMILY] = FAMILY.V6;
      for (let i = 0; i < 8; i++) records[tuple + i] = words[((at + IPV6.SRC) >> 2) + i];
    }
    let check: number;
    if (protocol === PROTOCOL.TCP) {
      if (!tcpFits(bytes, l4, at + length)) continue;
      const flags = bytes[l4 + TCP.FLAGS];
      if ((flags & NOT_ORDINARY) !== 0) continue;
      const isData = at + length - l4 > (bytes[l4 + TCP.DATA_OFFSET] >>> 4) << 2;
      records[record + RECORD.ACKNOWLEDGES] =
        (flags & TCP_FLAG.ACK) === 0 ? 0 : isData ? ACK_OF_DATA : ACK_ONLY;
      check = TCP.CHECK;
    } else {
      if (protocol !== PROTOCOL.UDP || !udpFits(bytes, l4, at + length)) continue;
      check = UDP.CHECK;
    }
    const partial = bytes[frame + VNET.FLAGS] & VNET_FLAG.NEEDS_CSUM;
    if (partial !== 0) {
      if (halves[(frame + VNET.CSUM_START) >> 1] !== l4 - at) continue;
      if (halves[(frame + VNET.CSUM_OFFSET) >> 1] !== check) continue;
    }
    records[record + RECORD.L4] = l4;
    records[record + RECORD.LENGTH] = length;
    records[record + RECORD.PROTOCOL] = protocol;
    records[record + RECORD.PARTIAL] = partial;
    records[ports] = words[l4 >> 2];
    located[slot] = PLAIN;
  }
}

/** A plain packet whose flow has not been looked for. */
const PLAIN = -2;

/**
 * Loop 2: `located` becomes the flow that probably is the one of each plain packet, or NO_FLOW. In three short loops, because
 * a processor waits for many memory accesses at once if it can see that far ahead: hashes, then the index, then entries.
 */
function locate(cx: WorkerContext, count: number): void {
  const { records, located, hashes, statuses } = cx;
  const [flows4, flows6] = cx.flows;
  for (let slot = 0; slot < count; slot++) {
    if (located[slot] !== PLAIN) continue;
    const record = recordAt(slot);
    const flows = records[record + RECORD.FAMILY] === FAMILY.V4 ? flows4 : flows6;
    hashes[slot] = flows.hash(records, record + RECORD.TUPLE, records[record + RECORD.PROTOCOL]);
  }
  for (let slot = 0; slot < count; slot++) {
    if (located[slot] !== PLAIN) continue;
    const flows = records[recordAt(slot) + RECORD.FAMILY] === FAMILY.V4 ? flows4 : flows6;
    located[slot] = flows.candidate(hashes[slot]);
  }
  for (let slot = 0; slot < count; slot++) {
    const flow = located[slot];
    if (flow === NO_FLOW) continue;
    const flows = records[recordAt(slot) + RECORD.FAMILY] === FAMILY.V4 ? flows4 : flows6;
    statuses[slot] = flows.entries[flows.entryOf(flow)];
  }
}

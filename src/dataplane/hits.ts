/**
 * The fast path: packets of known flows with nothing special about them, which is almost every packet. What `process` does
 * with such a packet, in loops over the batch in place of a dozen calls for each: what a loop needs is at hand, and the
 * memory of all flows is on its way before the first is used.
 *
 *   1  findPlain   what each packet is, and the hash of its tuple: see plain.ts
 *   2  locate      the flow of each tuple: one probe of the index, one look at the entry
 *   3  forwardRun  in the order of the slots: if the flow still is what was found, its age, counts, headers and checksums;
 *                  everything else, and every doubt, goes to `process`, which begins from the packet
 *
 * `process` is complete without this file and decides everything; test/dataplane/hits.test.ts compares the two byte by byte.
 *
 * These are closures, made once a worker, because V8 compiles a function that was made once with what it closes over as constants:
 * the addresses and lengths of the arrays stand in the machine code. Loops inside of loops undo that
 * (docs/decisions/0017-the-fast-path-is-made-for-its-worker.md).
 */
import { DIRECTION, ENTRY, ENTRY_SHIFT, STATUS } from '../conntrack/entry.js';
import { type FlowRef, INDEX, NO_FLOW, PROBES_MAX } from '../conntrack/flow-table.js';
import { TCP_STATE } from '../conntrack/tcp-state.js';
import { TIMEOUT } from '../conntrack/timeouts.js';
import { COUNTER, ENDPOINT_ROW, endpointRow } from '../table/counters.js';
import { ENDPOINT_STATE } from '../table/layout.js';
import { swapPorts } from '../wire/byte-order.js';
import { updateChecksum, updatePartialChecksum } from '../wire/checksum.js';
import { FAMILY } from '../wire/family.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import { TCP } from '../wire/tcp.js';
import { UDP } from '../wire/udp.js';
import type { WorkerContext } from './context.js';
import { PLAIN, packetAt, RECORD, recordAt, slotOf } from './packet.js';
import { process } from './pipeline.js';
import { findPlainOf, SEEN } from './plain.js';

/** The bits of STATUS that make a flow ordinary, and what they are: the state byte of a UDP flow is no state. */
const ORDINARY_TCP_MASK = STATUS.LIVE | STATUS.ABANDONED | STATUS.STATE_MASK | STATUS.PROTOCOL_MASK;
const ORDINARY_TCP = STATUS.LIVE | (TCP_STATE.ESTABLISHED << STATUS.STATE_SHIFT) | PROTOCOL.TCP;
const ORDINARY_UDP_MASK = STATUS.LIVE | STATUS.ABANDONED | STATUS.PROTOCOL_MASK;
const ORDINARY_UDP = STATUS.LIVE | PROTOCOL.UDP;

/** @returns what takes the packets in slots 0 to `count` - 1 through the pipeline; each has its outcome noted then */
export function forwardOf(cx: WorkerContext): (count: number) => void {
  const { plain, located } = cx;
  const findPlain = findPlainOf(cx);
  const locate = locateOf(cx);
  const forwardRun = forwardRunOf(cx);

  // tidy: made once a worker
  return function forward(count) {
    const seen = findPlain(count);
    located.fill(NO_FLOW);
    if ((seen & SEEN.V4) !== 0) locate(count, FAMILY.V4);
    if ((seen & SEEN.V6) !== 0) locate(count, FAMILY.V6);
    for (let slot = 0; slot < count; ) {
      const next = located[slot] === NO_FLOW ? slot : forwardRun(slot, count);
      if (next === slot) {
        located[slot] = NO_FLOW;
        cx.hashed = plain[slot] === 0 ? -1 : slot;
        process(cx, slot++);
      } else {
        slot = next;
      }
    }
    cx.hashed = -1;
  };
}

/** Word offset of a flow's entry. The mask takes nothing away: V8 learns by it that sums with the offset need no check. */
const entryOf = (flow: FlowRef, shift: number): number => ((flow >> 1) << shift) & 0x7ffffff0;

/**
 * @returns what notes the flow of each plain packet of a family, almost certainly the right one, or NO_FLOW. In two short loops,
 *   because a processor waits for many memory accesses at once if it can see that far ahead: the index, then the entries.
 */
function locateOf(cx: WorkerContext): (count: number, family: number) => void {
  const { plain, located, hashes } = cx;
  const [flows4, flows6] = cx.flows;

  // tidy: made once a worker
  return function locate(count, family) {
    const { index, indexMask, entries } = family === FAMILY.V4 ? flows4 : flows6;
    const familyBit = family << PLAIN.FAMILY_SHIFT;
    const entryShift = ENTRY_SHIFT[family];
    for (let i = 0, step = 0; i < count; ) {
      const slot = slotOf(i);
      const packet = plain[slot];
      if (packet === 0 || (packet & PLAIN.FAMILY) !== familyBit) {
        i++;
        continue;
      }
      const hash = hashes[slot];
      const at = ((hash + step) & indexMask) * INDEX.SIZE;
      const reference = index[at + INDEX.REFERENCE];
      if (reference !== 0 && index[at + INDEX.HASH] !== hash && step < PROBES_MAX) {
        step++;
        continue;
      }
      located[slot] = reference - 1;
      step = 0;
      i++;
    }
    let touched = 0;
    for (let i = 0; i < count; i++) {
      const slot = slotOf(i);
      const flow = located[slot];
      if (flow === NO_FLOW || (plain[slot] & PLAIN.FAMILY) !== familyBit) continue;
      touched |= entries[entryOf(flow, entryShift)];
    }
    cx.touched = touched;
  };
}

/**
 * @returns what forwards ordinary packets of one family, from the one in slot `from` on, whose flow is located, and answers with
 *   the first slot that is not forwarded, `count` at most
 */
function forwardRunOf(cx: WorkerContext): (from: number, count: number) => number {
  const { records, plain, located, timeouts } = cx;
  const { words, halves } = cx.slab;
  const [flows4, flows6] = cx.flows;

  // tidy: made once a worker
  return function forwardRun(from, count) {
    // `| 0`: as the processor's integers, not as V8 passes numbers around.
    const nowSec = cx.nowSec | 0;
    const end = count | 0;
    const { states } = cx.table;
    const familyBit = plain[from] & PLAIN.FAMILY;
    const isV6 = familyBit !== 0;
    const { entries, floats } = isV6 ? flows6 : flows4;
    const entryShift = ENTRY_SHIFT[isV6 ? FAMILY.V6 : FAMILY.V4];
    const tupleAt = (isV6 ? IPV6.SRC : IPV4.SRC) >> 2;
    const addressWords = (isV6 ? IPV6.DST - IPV6.SRC : IPV4.DST - IPV4.SRC) >> 2;
    const tupleWords = 2 * addressWords + 1;
    for (let i = from | 0; i < end; i++) {
      const slot = slotOf(i);
      const flow = located[slot];
      const packet = plain[slot];
      if (flow === NO_FLOW || (packet & PLAIN.FAMILY) !== familyBit) return i;
      const at = entryOf(flow, entryShift);
      const direction = flow & 1;
      const isTcp = (packet & PLAIN.TCP) !== 0;
      let status = entries[at];
      const ordinary = isTcp
        ? (status & ORDINARY_TCP_MASK) === ORDINARY_TCP
        : (status & ORDINARY_UDP_MASK) === ORDINARY_UDP &&
          // Between the first answer and the stream `touch` looks at the clock.
          ((status & STATUS.ASSURED) !== 0 || ((status & STATUS.SEEN_REPLY) | direction) === 0);
      if (!ordinary || entries[at + ENTRY.EXPIRES] <= nowSec) return i;
      const endpoint = entries[at + ENTRY.ENDPOINT];
      if (endpoint >= states.length || states[endpoint] !== ENDPOINT_STATE.LIVE) return i;
      const own = at + ENTRY.ORIGINAL + direction * tupleWords;
      const other = at + ENTRY.ORIGINAL + (direction ^ 1) * tupleWords;
      const ip = packetAt(slot) >> 2;
      const tuple = ip + tupleAt;
      const l4 = tuple + 2 * addressWords;
      // A slot before this one may have ended the flow and given its entry to another; and a hash is only a hash.
      let differ =
        (entries[own] ^ words[tuple]) |
        (entries[own + addressWords] ^ words[tuple + addressWords]) |
        (entries[own + 2 * addressWords] ^ words[l4]);
      if (isV6) differ |= restDiffers(entries, own, words, tuple);
      if (differ !== 0) return i;

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
      const packets = at + ENTRY.PACKETS + direction;
      entries[packets] = (entries[packets] + 1) | 0;
      floats[((at + ENTRY.BYTES) >> 1) + direction] += length;

      words[tuple] = entries[other + addressWords];
      words[tuple + addressWords] = entries[other];
      words[l4] = swapPorts(entries[other + 2 * addressWords]);
      const deltas = entries[at + ENTRY.DELTAS] ^ -direction; // of a reply both are `inverseDelta`
      const addresses = deltas & 0xffff;
      const all = deltas >>> 16;
      if (isV6) {
        writeRest(entries, other, words, tuple);
      } else {
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
  };
}

/** Of two IPv6 tuples: not 0 if any of those words of the addresses differ that come behind the first. */
const restDiffers = (a: Int32Array, at: number, b: Int32Array, from: number): number =>
  (a[at + 1] ^ b[from + 1]) |
  (a[at + 2] ^ b[from + 2]) |
  (a[at + 3] ^ b[from + 3]) |
  (a[at + 5] ^ b[from + 5]) |
  (a[at + 6] ^ b[from + 6]) |
  (a[at + 7] ^ b[from + 7]);

/** The same words of an IPv6 packet's addresses, from the reverse of the tuple at `other`. */
const writeRest = (entries: Int32Array, other: number, words: Int32Array, tuple: number): void => {
  words[tuple + 1] = entries[other + 5];
  words[tuple + 2] = entries[other + 6];
  words[tuple + 3] = entries[other + 7];
  words[tuple + 5] = entries[other + 1];
  words[tuple + 6] = entries[other + 2];
  words[tuple + 7] = entries[other + 3];
};

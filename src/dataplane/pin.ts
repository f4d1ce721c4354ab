/**
 * Step 4: bind a flow to its endpoint. `pinFind` is the conntrack lookup, `pinCreate` the NAT set-up of a new flow
 * in both directions; a flow keeps its endpoint for as long as it lives, unless its Service says otherwise.
 */
import { DIRECTION, ENTRY, STATUS } from '../conntrack/entry.js';
import { type FlowRef, type FlowTable, NO_FLOW } from '../conntrack/flow-table.js';
import { shardOf, stirWords } from '../conntrack/owner.js';
import { nextSctpState, SCTP_STATE } from '../conntrack/sctp-state.js';
import { nextTcpState, TCP_STATE, tcpReopens } from '../conntrack/tcp-state.js';
import { TIMEOUT } from '../conntrack/timeouts.js';
import { COUNTER, ENDPOINT_ROW, endpointRow } from '../table/counters.js';
import { ENDPOINT, ENDPOINT_STATE } from '../table/layout.js';
import { sportHalf, swapPorts } from '../wire/byte-order.js';
import { fold, wordDelta } from '../wire/checksum.js';
import { PROTOCOL } from '../wire/ipv4.js';
import { TCP_FLAG, tcpHeaderBytes } from '../wire/tcp.js';
import type { WorkerContext } from './context.js';
import { packetAt, RECORD, recordAt, type Slot } from './packet.js';
import { DropReason } from './verdict.js';

/** A datagram flow that is still answered after so many seconds is a stream (nf_conntrack_proto_udp.c). */
const UDP_STREAM_AFTER_SEC = 2;

/** @returns the flow of the packet in `slot`, or NO_FLOW: it is new, or not ours */
export function pinFind(cx: WorkerContext, slot: Slot): FlowRef {
  const { records } = cx;
  const record = recordAt(slot);
  const flows = cx.flows[records[record + RECORD.FAMILY]];
  const protocol = records[record + RECORD.PROTOCOL];
  const hash = slot === cx.hashed ? cx.hashes[slot] : flows.hash(records, record + RECORD.TUPLE, protocol);
  records[record + RECORD.HASH] = hash;
  const flow = flows.findHashed(hash, records, record + RECORD.TUPLE, protocol);
  if (flow === NO_FLOW) return NO_FLOW;
  const at = flows.entryOf(flow);
  const status = flows.entries[at];
  const state = (status & STATUS.STATE_MASK) >>> STATUS.STATE_SHIFT;
  // The tuple that stands in for the client's: a packet that has it by chance is not of this flow.
  if (status & STATUS.ABANDONED && (flow & 1) === DIRECTION.ORIGINAL) return NO_FLOW;
  const over = flows.entries[at + ENTRY.EXPIRES] <= cx.nowSec; // expired, only not reaped yet
  const reopens =
    protocol === PROTOCOL.TCP && tcpReopens(state, flow & 1, records[record + RECORD.TCP_FLAGS]);
  if (!over && !reopens && !isStale(cx, flows, flow, protocol)) return flow;
  flows.remove(flow);
  return NO_FLOW;
}

/**
 * A datagram to an endpoint that serves no longer begins a new flow, also when no endpoint is left; what that endpoint
 * still sends comes through. (kube-proxy deletes such entries from outside: pkg/proxy/conntrack/cleanup.go.)
 */
function isStale(cx: WorkerContext, flows: FlowTable, flow: FlowRef, protocol: number): boolean {
  if (protocol !== PROTOCOL.UDP || (flow & 1) === DIRECTION.REPLY) return false;
  return cx.table.stateOf(flows.entries[flows.entryOf(flow) + ENTRY.ENDPOINT]) !== ENDPOINT_STATE.LIVE;
}

/**
 * Whether the TCP flow's endpoint is gone and its Service wants such connections reset by now. Then the flow is closed:
 * segments of both sides are answered with RST, until a SYN begins anew.
 */
export function pinEnds(cx: WorkerContext, slot: Slot, flow: FlowRef): boolean {
  const { records } = cx;
  const record = recordAt(slot);
  if (records[record + RECORD.PROTOCOL] !== PROTOCOL.TCP) return false;
  if ((records[record + RECORD.TCP_FLAGS] & TCP_FLAG.RST) !== 0) return false; // never an RST for an RST
  const flows = cx.flows[records[record + RECORD.FAMILY]];
  const at = flows.entryOf(flow);
  const state = cx.table.stateOf(flows.entries[at + ENTRY.ENDPOINT]);
  if (state <= 0 || state > cx.nowSec) return false;
  const status = flows.entries[at] & ~STATUS.STATE_MASK;
  flows.entries[at] = status | (TCP_STATE.CLOSE << STATUS.STATE_SHIFT);
  flows.entries[at + ENTRY.EXPIRES] = cx.nowSec + cx.timeouts[TIMEOUT.TCP + TCP_STATE.CLOSE];
  return true;
}

/**
 * Pins the flow of the packet in `slot` to the endpoint that `match` chose, masqueraded if it said so.
 * Fails closed: without an entry the packet is dropped, never sent on untranslated.
 * @returns a reference to the flow, or a drop reason as a negative number (-reason - 1, so never NO_FLOW)
 */
export function pinCreate(cx: WorkerContext, slot: Slot): FlowRef {
  const { records, table } = cx;
  const record = recordAt(slot);
  const family = records[record + RECORD.FAMILY];
  const protocol = records[record + RECORD.PROTOCOL];
  const flows = cx.flows[family];
  const pool = cx.pools[family];
  let at = flows.allocate();
  if (at < 0) {
    cx.evictionsLeft -= flows.evict(cx.nowSec, cx.evictionsLeft);
    at = flows.allocate();
    if (at < 0) return refused(DropReason.FlowTableFull);
    cx.counters[COUNTER.FLOWS_EVICTED]++;
  }

  const { entries, addressWords } = flows;
  const tuple = record + RECORD.TUPLE;
  const ports = records[tuple + 2 * addressWords];
  const endpoint = records[record + RECORD.ENDPOINT];
  const endpointPort = table.words[endpoint + ENDPOINT.PORT];
  for (let i = 0; i < addressWords; i++) pool.reply[i] = table.words[endpoint + i];
  const masquerade = records[record + RECORD.MASQUERADE] === 1;
  const shard = shardOf(stirWords(records, tuple, addressWords), sportHalf(ports));
  const found = masquerade
    ? pool.draw(flows, cx.random, shard, endpointPort, protocol)
    : pool.keep(flows, cx.random, shard, records, tuple, sportHalf(ports), endpointPort, protocol);
  if (!found) return refused(DropReason.SnatExhausted);

  entries[at + ENTRY.EXPIRES] = cx.nowSec + 1; // `touch` sets the real one with this same packet
  entries[at + ENTRY.ENDPOINT] = table.words[endpoint + ENDPOINT.ID];
  for (let i = ENTRY.PACKETS; i < ENTRY.ORIGINAL; i++) entries[at + i] = 0;
  const original = flows.tupleOf(at, DIRECTION.ORIGINAL);
  const reply = flows.tupleOf(at, DIRECTION.REPLY);
  for (let i = 0; i < flows.tupleWords; i++) {
    entries[original + i] = records[tuple + i];
    entries[reply + i] = pool.reply[i];
  }
  entries[at + ENTRY.DELTAS] = deltasOf(entries, original, reply, addressWords);

  const began = protocol === PROTOCOL.UDP ? (cx.nowSec & 0xff) << STATUS.STATE_SHIFT : 0;
  const status = protocol | began | STATUS.DST_NAT | (masquerade ? STATUS.SRC_NAT : 0);
  const flow = flows.confirm(at, status, records[record + RECORD.HASH], pool.reply[flows.tupleWords]);
  if (flow === NO_FLOW) return refused(DropReason.FlowTableFull);
  cx.counters[COUNTER.FLOWS_CREATED]++;
  return flow;
}

/** What rewriting the original tuple to the reverse of the reply tuple adds to checksums: see ENTRY.DELTAS. */
function deltasOf(entries: Int32Array, original: number, reply: number, addressWords: number): number {
  let sum = 0;
  for (let i = 0; i < addressWords; i++) {
    sum += wordDelta(entries[original + i], entries[reply + addressWords + i]);
    sum += wordDelta(entries[original + addressWords + i], entries[reply + i]);
  }
  const addresses = fold(sum);
  const ports = 2 * addressWords;
  const all = fold(addresses + wordDelta(entries[original + ports], swapPorts(entries[reply + ports])));
  return addresses | (all << 16);
}

/** The drop reason that was answered instead of a flow, and the other way round. */
export const refusalOf = (answer: FlowRef): DropReason => (-answer - 1) as DropReason;
export const refused = (reason: DropReason): FlowRef => -reason - 1;

/**
 * A packet of `flow` was seen: its state, its age and its counts; those of its endpoint are noted for `reinject`.
 * @param begins whether the flow began with it
 */
export function touch(cx: WorkerContext, slot: Slot, flow: FlowRef, begins: boolean): void {
  const { records } = cx;
  const record = recordAt(slot);
  const flows = cx.flows[records[record + RECORD.FAMILY]];
  const { entries, floats } = flows;
  const direction = flow & 1;
  const at = flows.entryOf(flow);

  let status = entries[at];
  if (direction === DIRECTION.REPLY) status |= STATUS.SEEN_REPLY;
  const protocol = records[record + RECORD.PROTOCOL];
  const before = (status & STATUS.STATE_MASK) >>> STATUS.STATE_SHIFT;
  const seenReply = (status & STATUS.SEEN_REPLY) !== 0;
  let sec: number;
  if (protocol === PROTOCOL.TCP) {
    const state = nextTcpState(before, direction, records[record + RECORD.TCP_FLAGS]);
    status = (status & ~STATUS.STATE_MASK) | (state << STATUS.STATE_SHIFT);
    if ((records[record + RECORD.TCP_FLAGS] & TCP_FLAG.ACK) !== 0)
      status = acknowledge(cx, slot, status, direction);
    if (state === TCP_STATE.ESTABLISHED && seenReply) status |= STATUS.ASSURED;
    const owed = (status & STATUS.UNACKED_MASK) !== 0 || (state === TCP_STATE.ESTABLISHED && !seenReply);
    sec = cx.timeouts[TIMEOUT.TCP + state];
    if (owed) sec = Math.min(sec, cx.timeouts[TIMEOUT.TCP_UNACKNOWLEDGED]);
  } else if (protocol === PROTOCOL.SCTP) {
    const state = nextSctpState(before, direction, records[record + RECORD.SCTP_CHUNK]);
    status = (status & ~STATUS.STATE_MASK) | (state << STATUS.STATE_SHIFT);
    if (state === SCTP_STATE.ESTABLISHED && seenReply) status |= STATUS.ASSURED;
    sec = cx.timeouts[TIMEOUT.SCTP + state];
  } else {
    if (seenReply && ((cx.nowSec - before) & 0xff) > UDP_STREAM_AFTER_SEC) status |= STATUS.ASSURED;
    sec = cx.timeouts[(status & STATUS.ASSURED) !== 0 ? TIMEOUT.UDP_STREAM : TIMEOUT.UDP];
  }
  entries[at] = status;
  entries[at + ENTRY.EXPIRES] = cx.nowSec + sec;

  const length = records[record + RECORD.LENGTH];
  entries[at + ENTRY.PACKETS + direction]++;
  floats[((at + ENTRY.BYTES) >> 1) + direction] += length;
  const row = endpointRow(entries[at + ENTRY.ENDPOINT]) + direction * ENDPOINT_ROW.PACKETS_REPLY;
  records[record + RECORD.ROW] = begins ? -row : row;
}

/**
 * A segment with ACK settles what the other side has sent, and has data of its own to be acknowledged. nf_conntrack compares
 * sequence numbers, for which an entry has no room; here any ACK settles all. That errs only where more was sent since, and
 * whoever sent it sends it again.
 */
function acknowledge(cx: WorkerContext, slot: Slot, status: number, direction: number): number {
  const record = recordAt(slot);
  const l4 = cx.records[record + RECORD.L4];
  const headerBytes = tcpHeaderBytes(cx.slab.bytes, l4);
  const isData = packetAt(slot) + cx.records[record + RECORD.LENGTH] - l4 > headerBytes;
  const settled = status & ~(STATUS.UNACKED << (direction ^ 1));
  return isData ? settled | (STATUS.UNACKED << direction) : settled;
}

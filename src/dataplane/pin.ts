/**
 * Step 4: bind a flow to its endpoint. `pinFind` is the conntrack lookup, `pinCreate` the NAT set-up of a new flow
 * in both directions; a flow keeps its endpoint for as long as it lives, whatever becomes of the table.
 */
import { DIRECTION, ENTRY, STATUS, TUPLE, tupleAt } from '../conntrack/entry.js';
import { type FlowRef, NO_FLOW } from '../conntrack/flow-table.js';
import { nextTcpState, TCP_STATE, tcpMayBegin, tcpReopens } from '../conntrack/tcp-state.js';
import { TCP_TIMEOUT_SEC, TIMEOUT_SEC } from '../conntrack/timeouts.js';
import { COUNTER, ENDPOINT_ROW, endpointRow } from '../table/counters.js';
import { ENDPOINT } from '../table/layout.js';
import { portsWord } from '../wire/byte-order.js';
import { fold, wordDelta } from '../wire/checksum.js';
import { PROTOCOL } from '../wire/ipv4.js';
import type { WorkerContext } from './context.js';
import { RECORD, recordAt, type Slot } from './packet.js';
import { DropReason } from './verdict.js';

/** @returns the flow of the packet in `slot`, or NO_FLOW: it is new, or not ours */
export function pinFind(cx: WorkerContext, slot: Slot): FlowRef {
  const { records, flows } = cx;
  const record = recordAt(slot);
  const flow = flows.find(
    records[record + RECORD.SRC],
    records[record + RECORD.DST],
    records[record + RECORD.PORTS],
    records[record + RECORD.PROTOCOL],
  );
  if (flow === NO_FLOW) return NO_FLOW;
  const at = (flow >> 1) * ENTRY.WORDS;
  const state = (flows.entries[at] & STATUS.TCP_STATE_MASK) >>> STATUS.TCP_STATE_SHIFT;
  const over = flows.entries[at + ENTRY.EXPIRES] <= cx.nowSec; // expired, only not reaped yet
  if (!over && !tcpReopens(state, flow & 1, records[record + RECORD.TCP_FLAGS])) return flow;
  flows.remove(flow);
  return NO_FLOW;
}

/**
 * Pins the flow of the packet in `slot` to the endpoint that `match` chose, with a source from the SNAT pool.
 * Fails closed: without an entry the packet is dropped, never sent on untranslated.
 * @returns a reference to the flow, or a drop reason as a negative number (-reason - 1, so never NO_FLOW)
 */
export function pinCreate(cx: WorkerContext, slot: Slot): FlowRef {
  const { records, flows, pool, table } = cx;
  const record = recordAt(slot);
  const protocol = records[record + RECORD.PROTOCOL];
  const src = records[record + RECORD.SRC];
  const dst = records[record + RECORD.DST];
  const ports = records[record + RECORD.PORTS];
  if (protocol === PROTOCOL.TCP && !tcpMayBegin(records[record + RECORD.TCP_FLAGS])) {
    return refused(DropReason.TcpInvalid);
  }

  const endpointAt = records[record + RECORD.ENDPOINT];
  const endpoint = table.words[endpointAt + ENDPOINT.ADDRESS];
  const endpointPort = table.words[endpointAt + ENDPOINT.PORT];
  const at = flows.allocate();
  if (at < 0) return refused(DropReason.FlowTableFull);
  if (!pool.draw(flows, cx.random, endpoint, endpointPort, protocol))
    return refused(DropReason.SnatExhausted);

  const { entries } = flows;
  entries[at + ENTRY.EXPIRES] = cx.nowSec + 1; // `touch` sets the real one with this same packet
  entries[at + ENTRY.ENDPOINT] = table.words[endpointAt + ENDPOINT.ID];
  entries.fill(0, at + ENTRY.PACKETS, at + ENTRY.ORIGINAL);
  const original = tupleAt(at, DIRECTION.ORIGINAL);
  entries[original + TUPLE.SRC] = src;
  entries[original + TUPLE.DST] = dst;
  entries[original + TUPLE.PORTS] = ports;
  const reply = tupleAt(at, DIRECTION.REPLY);
  entries[reply + TUPLE.SRC] = endpoint;
  entries[reply + TUPLE.DST] = pool.address;
  entries[reply + TUPLE.PORTS] = portsWord(endpointPort, pool.port);

  const addresses = fold(wordDelta(src, pool.address) + wordDelta(dst, endpoint));
  const all = fold(addresses + wordDelta(ports, portsWord(pool.port, endpointPort)));
  entries[at + ENTRY.DELTAS] = addresses | (all << 16);

  const flow = flows.confirm(at, protocol | STATUS.SRC_NAT | STATUS.DST_NAT);
  if (flow === NO_FLOW) return refused(DropReason.FlowTableFull);
  cx.counters[COUNTER.FLOWS_CREATED]++;
  cx.counters[endpointRow(entries[at + ENTRY.ENDPOINT]) + ENDPOINT_ROW.FLOWS_CREATED]++;
  return flow;
}

/** The drop reason that `pinCreate` answered instead of a flow. */
export const refusalOf = (answer: FlowRef): DropReason => (-answer - 1) as DropReason;
const refused = (reason: DropReason): FlowRef => -reason - 1;

/** A packet of `flow` was seen: its state, its age and its counts. */
export function touch(cx: WorkerContext, slot: Slot, flow: FlowRef): void {
  const { records, flows, counters } = cx;
  const { entries, floats } = flows;
  const record = recordAt(slot);
  const direction = flow & 1;
  const at = (flow >> 1) * ENTRY.WORDS;

  let status = entries[at];
  if (direction === DIRECTION.REPLY) status |= STATUS.SEEN_REPLY;
  let timeoutSec: number;
  if (records[record + RECORD.PROTOCOL] === PROTOCOL.TCP) {
    const before = (status & STATUS.TCP_STATE_MASK) >>> STATUS.TCP_STATE_SHIFT;
    const state = nextTcpState(before, direction, records[record + RECORD.TCP_FLAGS]);
    status = (status & ~STATUS.TCP_STATE_MASK) | (state << STATUS.TCP_STATE_SHIFT);
    if (state === TCP_STATE.ESTABLISHED && status & STATUS.SEEN_REPLY) status |= STATUS.ASSURED;
    timeoutSec = TCP_TIMEOUT_SEC[state];
  } else {
    if (status & STATUS.SEEN_REPLY) status |= STATUS.ASSURED;
    timeoutSec = status & STATUS.SEEN_REPLY ? TIMEOUT_SEC.udpTimeoutStream : TIMEOUT_SEC.udpTimeout;
  }
  entries[at] = status;
  entries[at + ENTRY.EXPIRES] = cx.nowSec + timeoutSec;

  const length = records[record + RECORD.LENGTH];
  entries[at + ENTRY.PACKETS + direction]++;
  floats[((at + ENTRY.BYTES) >> 1) + direction] += length;
  const row = endpointRow(entries[at + ENTRY.ENDPOINT]) + direction * ENDPOINT_ROW.PACKETS_REPLY;
  counters[row + ENDPOINT_ROW.PACKETS_ORIGINAL]++;
  counters[row + ENDPOINT_ROW.BYTES_ORIGINAL] += length;
}

/**
 * Retry of a connection that cannot be made, at packet level: userspace mode's way with a dead endpoint
 * (pkg/proxy/userspace, proxysocket.go: TryConnectEndpoints), without ending the client's connection.
 *
 * The client's SYN is kept until the endpoint answers it. An RST, an ICMP unreachable, or silence for 250 ms, then
 * 500 ms, 1 s, 2 s, sends the kept SYN to another endpoint than those already tried; the client sees one connection. The
 * endpoint that failed is avoided for a while (penalty box) unless all are. What an abandoned endpoint still says never
 * reaches the client: its flow stays behind as ABANDONED and is answered with RST.
 *
 * Bounds: so many SYNs kept, four endpoints a connection, and a budget of retries over all connections. All of it is this
 * worker's own memory but the penalties, which all workers share.
 */
import { DIRECTION, ENTRY, STATUS } from '../conntrack/entry.js';
import { type FlowRef, type FlowTable, NO_FLOW } from '../conntrack/flow-table.js';
import { TCP_STATE } from '../conntrack/tcp-state.js';
import { TIMEOUT } from '../conntrack/timeouts.js';
import { COUNTER } from '../table/counters.js';
import { PORT_FLAG } from '../table/layout.js';
import { swapPorts } from '../wire/byte-order.js';
import { PROTOCOL } from '../wire/ipv4.js';
import { TCP_FLAG } from '../wire/tcp.js';
import { PENALTY_TICKS, tickOf } from './avoid.js';
import type { WorkerContext } from './context.js';
import { match } from './match.js';
import { frameAt, packetAt, RECORD, recordAt, SLOTS, type Slot } from './packet.js';
import { pinCreate, touch } from './pin.js';
import { translate } from './translate.js';
import { Match } from './verdict.js';

/** Connections that wait for an endpoint's answer, at most; others are made without a second chance. */
export const PENDING_MAX = 4096;
/** A SYN with its virtio-net header: 10 + 40 + 60 bytes and some extension headers. A longer one is not kept. */
const FRAME_BYTES_MAX = 192;

/** How long each endpoint has to answer, in milliseconds (proxysocket.go: EndpointDialTimeouts). */
const PATIENCE_MS = Int32Array.of(250, 500, 1000, 2000);
const ATTEMPTS_MAX = PATIENCE_MS.length;

/** Retries allowed: one for five connections, and ten a second besides (Envoy's and Finagle's retry budgets). */
const BUDGET_PER_RETRY = 5;
const BUDGET_PER_SECOND = 10 * BUDGET_PER_RETRY;
const BUDGET_MAX = 100 * BUDGET_PER_RETRY;

/** A connection that waits; offsets into its words. */
const PENDING = {
  /** Reference of its flow in the original direction; NO_FLOW: the place is free. */
  FLOW: 0,
  LENGTH: 1,
  /** Endpoints tried so far. */
  ATTEMPTS: 2,
  /** When the endpoint's time is up: the low 32 bits of the millisecond, compared by difference. */
  DUE: 3,
  /** Ids of the endpoints tried. */
  TRIED: 4,
  /** Copy of the packet's record. */
  RECORD: 4 + ATTEMPTS_MAX,
  SIZE: 4 + ATTEMPTS_MAX + RECORD.SIZE,
} as const;

export class RetryTable {
  readonly words = new Int32Array(PENDING_MAX * PENDING.SIZE).fill(NO_FLOW);
  readonly frames = new Uint8Array(PENDING_MAX * FRAME_BYTES_MAX);
  readonly free = Int32Array.from({ length: PENDING_MAX }, (_, i) => PENDING_MAX - 1 - i);
  freeCount = PENDING_MAX;
  /** By family and number of the flow's entry: the connection that waits + 1; 0: none does. */
  readonly byEntry: readonly Int32Array[];
  /** By endpoint id: tick until which it is avoided; shared by all workers. */
  readonly penalties: Int32Array;
  /** Endpoints that the connection in hand has tried; `choose` avoids them. */
  readonly tried = new Int32Array(ATTEMPTS_MAX);
  triedCount = 0;
  budget = BUDGET_MAX;
  budgetMs = 0;
  /** No connection's time is up before. */
  nextDueMs = Number.MAX_SAFE_INTEGER;
  /** The record of the slot in hand, while `match` is asked about another packet. */
  readonly kept = new Int32Array(RECORD.SIZE);

  constructor(flows: readonly FlowTable[], penalties: Int32Array) {
    this.byEntry = flows.map(({ capacity }) => new Int32Array(capacity));
    this.penalties = penalties;
  }
}

const NO_PENDING = -1;

/** Keeps the SYN in `slot`, not translated yet, if its Service wants it tried again. @param flow just created for it */
export function keepSyn(cx: WorkerContext, slot: Slot, flow: FlowRef): void {
  const { retry, records } = cx;
  const record = recordAt(slot);
  const port = records[record + RECORD.PORT];
  // The entry may have been that of a connection whose client gave up and began anew.
  const earlier = retry.byEntry[records[record + RECORD.FAMILY]][flow >> 1] - 1;
  if (earlier >= 0) forget(cx, earlier);
  if ((cx.table.words[port] & PORT_FLAG.RETRY) === 0) return;
  if ((records[record + RECORD.TCP_FLAGS] & (TCP_FLAG.SYN | TCP_FLAG.ACK)) !== TCP_FLAG.SYN) return;
  const length = cx.slab.lengths[slot];
  retry.budget = Math.min(BUDGET_MAX, retry.budget + 1);
  if (retry.freeCount === 0 || length > FRAME_BYTES_MAX) return;

  const pending = retry.free[--retry.freeCount];
  const at = pending * PENDING.SIZE;
  const { words } = retry;
  words[at + PENDING.LENGTH] = length;
  words[at + PENDING.ATTEMPTS] = 0;
  for (let i = 0; i < RECORD.SIZE; i++) words[at + PENDING.RECORD + i] = records[record + i];
  words[at + PENDING.RECORD + RECORD.L4] -= packetAt(slot);
  const frame = frameAt(slot);
  for (let i = 0; i < length; i++) retry.frames[pending * FRAME_BYTES_MAX + i] = cx.slab.bytes[frame + i];
  waitFor(cx, pending, flow);
}

/**
 * Looks at an answer to a SYN that is kept. @param flow of the packet in `slot`
 * @returns true when the answer was a refusal and the slot now holds the SYN on its way to another endpoint
 */
export function answered(cx: WorkerContext, slot: Slot, flow: FlowRef): boolean {
  const { records } = cx;
  const record = recordAt(slot);
  if ((flow & 1) === DIRECTION.ORIGINAL || records[record + RECORD.PROTOCOL] !== PROTOCOL.TCP) return false;
  const pending = pendingOf(cx, records[record + RECORD.FAMILY], flow);
  if (pending === NO_PENDING) return false;
  if ((records[record + RECORD.TCP_FLAGS] & TCP_FLAG.RST) === 0) {
    const at = pending * PENDING.SIZE;
    cx.retry.penalties[cx.retry.words[at + PENDING.TRIED + cx.retry.words[at + PENDING.ATTEMPTS] - 1]] = 0;
    forget(cx, pending);
    return false;
  }
  return failed(cx, slot, pending);
}

/**
 * The endpoint of a flow cannot be reached, as an ICMP error said.
 * @returns true when the slot now holds the SYN on its way to another endpoint
 */
export function unreachable(cx: WorkerContext, slot: Slot, flow: FlowRef): boolean {
  const pending = pendingOf(cx, cx.records[recordAt(slot) + RECORD.FAMILY], flow);
  return pending !== NO_PENDING && failed(cx, slot, pending);
}

/**
 * Puts the SYNs whose endpoint has let its time pass into free slots behind the batch, on their way to another endpoint.
 * @param count slots in use @returns slots in use now
 */
export function retryDue(cx: WorkerContext, count: number): number {
  const { retry } = cx;
  if (cx.nowMs < retry.nextDueMs) return count;
  const now = Math.floor(cx.nowMs);
  let used = count;
  retry.nextDueMs = Number.MAX_SAFE_INTEGER;
  for (let pending = 0; pending < PENDING_MAX; pending++) {
    const at = pending * PENDING.SIZE;
    if (retry.words[at] === NO_FLOW) continue;
    const leftMs = (retry.words[at + PENDING.DUE] - now) | 0;
    if (leftMs <= 0 && used < SLOTS) {
      // The record of a slot behind the batch belongs to nobody, so that `failed` may use it.
      if (failed(cx, used, pending) && cx.slab.lengths[used] > 0) {
        cx.records[recordAt(used++) + RECORD.OUTCOME] = COUNTER.INJECTED;
      }
    } else {
      retry.nextDueMs = Math.min(retry.nextDueMs, now + leftMs);
    }
  }
  return used;
}

/** Whether the packet in `slot` is from an endpoint that was given up. */
export function isAbandoned(cx: WorkerContext, slot: Slot, flow: FlowRef): boolean {
  const flows = cx.flows[cx.records[recordAt(slot) + RECORD.FAMILY]];
  return (flows.entries[flows.entryOf(flow)] & STATUS.ABANDONED) !== 0;
}

/** The endpoint did not take the connection. @returns whether another one is tried, from `slot` */
function failed(cx: WorkerContext, slot: Slot, pending: number): boolean {
  const { retry, records } = cx;
  const at = pending * PENDING.SIZE;
  const attempts = retry.words[at + PENDING.ATTEMPTS];
  const record = recordAt(slot);
  const family = retry.words[at + PENDING.RECORD + RECORD.FAMILY];
  const flows = cx.flows[family];
  if (!isWaiting(cx, flows, retry.words[at])) {
    forget(cx, pending);
    return false;
  }
  retry.penalties[retry.words[at + PENDING.TRIED + attempts - 1]] = tickOf(cx.nowMs) + PENALTY_TICKS;
  if (attempts === ATTEMPTS_MAX || !spend(cx)) {
    forget(cx, pending);
    return false;
  }

  retry.triedCount = attempts;
  for (let i = 0; i < attempts; i++) retry.tried[i] = retry.words[at + PENDING.TRIED + i];
  for (let i = 0; i < RECORD.SIZE; i++) {
    retry.kept[i] = records[record + i];
    records[record + i] = retry.words[at + PENDING.RECORD + i];
  }
  records[record + RECORD.L4] += packetAt(slot);
  const found = match(cx, slot);
  retry.triedCount = 0;
  if (found !== Match.Endpoint || flows.count === flows.capacity) {
    for (let i = 0; i < RECORD.SIZE; i++) records[record + i] = retry.kept[i];
    forget(cx, pending);
    return false;
  }

  abandon(cx, family, retry.words[at]);
  const length = retry.words[at + PENDING.LENGTH];
  const frame = frameAt(slot);
  for (let i = 0; i < length; i++) cx.slab.bytes[frame + i] = retry.frames[pending * FRAME_BYTES_MAX + i];
  cx.slab.lengths[slot] = length;
  const flow = pinCreate(cx, slot);
  if (flow < 0) {
    // The pool is exhausted towards this endpoint: the client's own next SYN begins anew.
    cx.slab.lengths[slot] = 0;
    release(cx, pending);
    return true;
  }
  waitFor(cx, pending, flow);
  touch(cx, slot, flow, true);
  translate(cx, slot, flow);
  cx.counters[COUNTER.RETRIES]++;
  return true;
}

/** Whether the client still wants the connection: its flow has neither ended meanwhile nor been closed by it. */
function isWaiting(cx: WorkerContext, flows: FlowTable, flow: FlowRef): boolean {
  const at = flows.entryOf(flow);
  const status = flows.entries[at];
  const state = (status & STATUS.STATE_MASK) >>> STATUS.STATE_SHIFT;
  return (
    (status & STATUS.LIVE) !== 0 &&
    state === TCP_STATE.SYN_SENT &&
    flows.entries[at + ENTRY.EXPIRES] > cx.nowSec
  );
}

/** The connection waits for the endpoint that `match` chose last. */
function waitFor(cx: WorkerContext, pending: number, flow: FlowRef): void {
  const { retry } = cx;
  const { words } = retry;
  const at = pending * PENDING.SIZE;
  const family = words[at + PENDING.RECORD + RECORD.FAMILY];
  const flows = cx.flows[family];
  const attempts = words[at + PENDING.ATTEMPTS];
  const dueMs = Math.ceil(cx.nowMs + PATIENCE_MS[attempts]);
  // The entry may have been that of a connection whose flow ended while it waited: its time is up now.
  const earlier = pendingOf(cx, family, flow);
  if (earlier !== NO_PENDING && earlier !== pending) forget(cx, earlier);
  words[at] = flow;
  words[at + PENDING.ATTEMPTS] = attempts + 1;
  words[at + PENDING.TRIED + attempts] = flows.entries[flows.entryOf(flow) + ENTRY.ENDPOINT];
  words[at + PENDING.DUE] = dueMs | 0;
  retry.byEntry[family][flow >> 1] = pending + 1;
  retry.nextDueMs = Math.min(retry.nextDueMs, dueMs);
}

/** @returns the connection that waits on this flow, or NO_PENDING */
const pendingOf = (cx: WorkerContext, family: number, flow: FlowRef): number =>
  cx.retry.byEntry[family][flow >> 1] - 1;

function forget(cx: WorkerContext, pending: number): void {
  const { retry } = cx;
  const at = pending * PENDING.SIZE;
  retry.byEntry[retry.words[at + PENDING.RECORD + RECORD.FAMILY]][retry.words[at] >> 1] = 0;
  release(cx, pending);
}

function release(cx: WorkerContext, pending: number): void {
  const { retry } = cx;
  retry.words[pending * PENDING.SIZE] = NO_FLOW;
  retry.free[retry.freeCount++] = pending;
}

/**
 * The flow's client goes elsewhere; its endpoint stays known for as long as it may repeat a SYN-ACK. The record keeps the
 * reply tuple; in the place of the client's it gets the reverse of that, which no packet of ours has.
 */
function abandon(cx: WorkerContext, family: number, flow: FlowRef): void {
  const flows = cx.flows[family];
  const { entries, addressWords, tupleWords } = flows;
  const { reply } = cx.pools[family];
  const endpointId = entries[flows.entryOf(flow) + ENTRY.ENDPOINT];
  const from = flows.tupleOf(flows.entryOf(flow), DIRECTION.REPLY);
  for (let i = 0; i < tupleWords; i++) reply[i] = entries[from + i];
  cx.retry.byEntry[family][flow >> 1] = 0;
  flows.remove(flow);

  const at = flows.allocate(); // the entry that was just given back
  const original = flows.tupleOf(at, DIRECTION.ORIGINAL);
  const back = flows.tupleOf(at, DIRECTION.REPLY);
  for (let i = 0; i < addressWords; i++) {
    entries[original + i] = reply[addressWords + i];
    entries[original + addressWords + i] = reply[i];
  }
  entries[original + 2 * addressWords] = swapPorts(reply[2 * addressWords]);
  for (let i = 0; i < tupleWords; i++) entries[back + i] = reply[i];
  entries[at + ENTRY.EXPIRES] = cx.nowSec + cx.timeouts[TIMEOUT.TCP + TCP_STATE.SYN_RECV];
  entries[at + ENTRY.ENDPOINT] = endpointId;
  flows.confirm(
    at,
    PROTOCOL.TCP | STATUS.ABANDONED,
    flows.hash(entries, original, PROTOCOL.TCP),
    flows.hash(entries, back, PROTOCOL.TCP),
  );
}

/** Takes one retry out of the budget. @returns false when there is none */
function spend(cx: WorkerContext): boolean {
  const { retry } = cx;
  const gained = Math.floor(((cx.nowMs - retry.budgetMs) * BUDGET_PER_SECOND) / 1000);
  if (gained > 0) {
    retry.budget = Math.min(BUDGET_MAX, retry.budget + gained);
    retry.budgetMs = cx.nowMs;
  }
  if (retry.budget < BUDGET_PER_RETRY) return false;
  retry.budget -= BUDGET_PER_RETRY;
  return true;
}

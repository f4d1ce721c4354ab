/**
 * What may not begin a flow, whatever Service it is for. Asked for packets of no known flow only: a flow's own packets were
 * vetted with its first. What is not for us at all goes on as it is, and meets the kernel's own checks behind the device.
 */
import { tcpMayBegin } from '../conntrack/tcp-state.js';
import { ADDRESS_FLAG, FRONTEND, wholeAddressKey } from '../table/layout.js';
import { NO_FRONTEND } from '../table/service-table.js';
import { dportHalf, sportHalf } from '../wire/byte-order.js';
import { ADDRESS_WORDS, FAMILY } from '../wire/family.js';
import { PROTOCOL } from '../wire/ipv4.js';
import type { WorkerContext } from './context.js';
import { RECORD, recordAt, type Slot } from './packet.js';
import { DropReason } from './verdict.js';

/** Notes in the record, and @returns, why the packet in `slot` may begin no flow; None when it may. */
export function vet(cx: WorkerContext, slot: Slot): DropReason {
  const reason = findFault(cx, slot);
  cx.records[recordAt(slot) + RECORD.UNFIT] = reason;
  return reason;
}

function findFault(cx: WorkerContext, slot: Slot): DropReason {
  const { records } = cx;
  const record = recordAt(slot);
  const src = record + RECORD.TUPLE;
  const family = records[record + RECORD.FAMILY];
  const count = ADDRESS_WORDS[family];
  if (isMartian(records, src, family)) return DropReason.MartianSource;
  if (isLand(records, src, count)) return DropReason.Land;
  if (isOurs(cx, records, src, family)) return DropReason.OwnSource;
  const isTcp = records[record + RECORD.PROTOCOL] === PROTOCOL.TCP;
  return isTcp && !tcpMayBegin(records[record + RECORD.TCP_FLAGS]) ? DropReason.TcpInvalid : DropReason.None;
}

/**
 * Sources that no answer reaches: unspecified, multicast, broadcast, IPv6 loopback and IPv4-mapped, as the kernel's
 * ip_route_input_slow, ip6_rcv_core and ip6_forward know them. 127.0.0.0/8 is none of them: only this node can have sent
 * it, to a NodePort of its own. Nor is the rest of 240.0.0.0/4, which Linux forwards.
 */
function isMartian(words: Int32Array, at: number, family: number): boolean {
  const first = words[at];
  if (family === FAMILY.V4) return first === 0 || first === -1 || (first & 0xf0) === 0xe0;
  if ((first & 0xff) === 0xff) return true;
  if ((first | words[at + 1]) !== 0) return false;
  const third = words[at + 2];
  const last = words[at + 3];
  return third === IPV4_MAPPED || (third === 0 && (last === 0 || last === LAST_IS_1));
}

/** ::ffff:0:0/96 and ::1, in the words that differ from zero. */
const IPV4_MAPPED = 0xffff_0000 | 0;
const LAST_IS_1 = 0x0100_0000;

/** From and to the same address and port: translated, its answers would come back as the question. */
function isLand(words: Int32Array, at: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (words[at + i] !== words[at + count + i]) return false;
  const ports = words[at + 2 * count];
  return sportHalf(ports) === dportHalf(ports);
}

/**
 * Whether an address has nobody but Services behind it: what is sent there comes into the device, so nothing that flowpin
 * sends may be addressed to it. A Service's address that the node has too is not among them.
 */
function isOurs({ table }: WorkerContext, words: Int32Array, at: number, family: number): boolean {
  const found = table.find(words, at, ADDRESS_WORDS[family], wholeAddressKey(family));
  return found !== NO_FRONTEND && (table.words[found + FRONTEND.KIND] & ADDRESS_FLAG.REJECT_UNSERVED) !== 0;
}

/**
 * ICMP errors about our own packets: which flow does the embedded packet belong to? (nf_conntrack's RELATED.)
 */
import { type FlowRef, NO_FLOW } from '../conntrack/flow-table.js';
import { swapPorts } from '../wire/byte-order.js';
import { FAMILY } from '../wire/family.js';
import { ICMPV4, ICMPV4_TYPE } from '../wire/icmpv4.js';
import { ICMPV6, ICMPV6_TYPE } from '../wire/icmpv6.js';
import { IPV4, ipv4HeaderBytes, PROTOCOL } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import type { WorkerContext } from './context.js';
import { packetAt, RECORD, recordAt, type Slot } from './packet.js';

/** Ports are the first four bytes of a TCP, UDP and SCTP header; an error quotes at least eight (RFC 792). */
const PORTS_BYTES = 4;

/**
 * @returns the flow whose translated packet a "destination unreachable" in `slot` quotes, in the reply direction (the one
 *   that the error travels), or NO_FLOW
 */
export function unreachableFlow(cx: WorkerContext, slot: Slot): FlowRef {
  const { records } = cx;
  const { bytes, words } = cx.slab;
  const record = recordAt(slot);
  const family = records[record + RECORD.FAMILY];
  const icmp = records[record + RECORD.L4];
  const end = packetAt(slot) + records[record + RECORD.LENGTH];
  const isV4 = family === FAMILY.V4;
  if (records[record + RECORD.PROTOCOL] !== (isV4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6)) return NO_FLOW;
  const quoted = icmp + (isV4 ? ICMPV4.SIZE : ICMPV6.SIZE);
  if (end - quoted < (isV4 ? IPV4.SIZE : IPV6.SIZE) + PORTS_BYTES) return NO_FLOW;
  const type = isV4 ? ICMPV4_TYPE.DESTINATION_UNREACHABLE : ICMPV6_TYPE.DESTINATION_UNREACHABLE;
  if (bytes[icmp] !== type || bytes[quoted] >>> 4 !== (isV4 ? 4 : 6)) return NO_FLOW;
  const l4 = quoted + (isV4 ? ipv4HeaderBytes(bytes, quoted) : IPV6.SIZE);
  if (end - l4 < PORTS_BYTES) return NO_FLOW;
  const protocol = bytes[quoted + (isV4 ? IPV4.PROTOCOL : IPV6.NEXT_HEADER)];

  const flows = cx.flows[family];
  const { reply } = cx.pools[family];
  const src = (quoted + (isV4 ? IPV4.SRC : IPV6.SRC)) >> 2;
  for (let i = 0; i < flows.addressWords; i++) {
    reply[i] = words[src + flows.addressWords + i];
    reply[flows.addressWords + i] = words[src + i];
  }
  reply[2 * flows.addressWords] = swapPorts(words[l4 >> 2]);
  return flows.find(reply, 0, protocol);
}

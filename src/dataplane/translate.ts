/**
 * Step 5: DNAT and SNAT of one packet. Addresses and ports become the reverse of the flow's other tuple; checksums
 * follow by the deltas that `pinCreate` stored, so the payload is never looked at. A GSO super-packet is rewritten
 * like any other: its segments will carry this header.
 */
import { DIRECTION, ENTRY, TUPLE, tupleAt } from '../conntrack/entry.js';
import type { FlowRef } from '../conntrack/flow-table.js';
import { swapPorts } from '../wire/byte-order.js';
import { inverseDelta, updateChecksum, updatePartialChecksum } from '../wire/checksum.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { TCP } from '../wire/tcp.js';
import { UDP } from '../wire/udp.js';
import type { WorkerContext } from './context.js';
import { packetAt, RECORD, recordAt, type Slot } from './packet.js';

/** @param flow the packet's flow and direction, as `pinFind` or `pinCreate` answered it */
export function translate(cx: WorkerContext, slot: Slot, flow: FlowRef): void {
  const { words, halves } = cx.slab;
  const { records } = cx;
  const { entries } = cx.flows;
  const record = recordAt(slot);
  const at = packetAt(slot);
  const l4 = records[record + RECORD.L4];
  const entry = (flow >> 1) * ENTRY.WORDS;
  const direction = flow & 1;

  const other = tupleAt(entry, direction ^ 1);
  words[(at + IPV4.SRC) >> 2] = entries[other + TUPLE.DST];
  words[(at + IPV4.DST) >> 2] = entries[other + TUPLE.SRC];
  words[l4 >> 2] = swapPorts(entries[other + TUPLE.PORTS]);

  const deltas = entries[entry + ENTRY.DELTAS];
  let addresses = deltas & 0xffff;
  let all = deltas >>> 16;
  if (direction === DIRECTION.REPLY) {
    addresses = inverseDelta(addresses);
    all = inverseDelta(all);
  }

  const ipCheck = (at + IPV4.CHECK) >> 1;
  halves[ipCheck] = updateChecksum(halves[ipCheck], addresses);

  const isUdp = records[record + RECORD.PROTOCOL] === PROTOCOL.UDP;
  const l4Check = (l4 + (isUdp ? UDP.CHECK : TCP.CHECK)) >> 1;
  const check = halves[l4Check];
  if (records[record + RECORD.PARTIAL] === 1) {
    halves[l4Check] = updatePartialChecksum(check, addresses);
  } else if (!isUdp) {
    halves[l4Check] = updateChecksum(check, all);
  } else if (check !== 0) {
    // RFC 768: zero means "no checksum" and stays; a checksum that comes out as zero is sent as all ones.
    halves[l4Check] = updateChecksum(check, all) || 0xffff;
  }
}

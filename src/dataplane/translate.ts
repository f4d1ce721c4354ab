/**
 * Step 5: DNAT and SNAT of one packet. Addresses and ports become the reverse of the flow's other tuple; checksums
 * follow by the deltas that `pinCreate` stored, so the payload is never looked at (but for SCTP's CRC). A GSO
 * super-packet is rewritten like any other: its segments will carry this header.
 */
import { DIRECTION, ENTRY } from '../conntrack/entry.js';
import type { FlowRef } from '../conntrack/flow-table.js';
import { swapPorts } from '../wire/byte-order.js';
import { inverseDelta, updateChecksum, updatePartialChecksum } from '../wire/checksum.js';
import { FAMILY } from '../wire/family.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import { SCTP, sctpChecksum } from '../wire/sctp.js';
import { TCP } from '../wire/tcp.js';
import { UDP } from '../wire/udp.js';
import type { WorkerContext } from './context.js';
import { packetAt, RECORD, recordAt, type Slot } from './packet.js';

/** @param flow the packet's flow and direction, as `pinFind` or `pinCreate` answered it */
export function translate(cx: WorkerContext, slot: Slot, flow: FlowRef): void {
  const { bytes, words, halves } = cx.slab;
  const { records } = cx;
  const record = recordAt(slot);
  const flows = cx.flows[records[record + RECORD.FAMILY]];
  const { entries, addressWords } = flows;
  const at = packetAt(slot);
  const l4 = records[record + RECORD.L4];
  const entry = flows.entryOf(flow);
  const direction = flow & 1;

  translateAddresses(cx, slot, flow);
  words[l4 >> 2] = swapPorts(entries[flows.tupleOf(entry, direction ^ 1) + 2 * addressWords]);

  const deltas = entries[entry + ENTRY.DELTAS];
  let addresses = deltas & 0xffff;
  let all = deltas >>> 16;
  if (direction === DIRECTION.REPLY) {
    addresses = inverseDelta(addresses);
    all = inverseDelta(all);
  }

  const protocol = records[record + RECORD.PROTOCOL];
  if (protocol === PROTOCOL.SCTP) {
    const end = at + records[record + RECORD.LENGTH];
    words[(l4 + SCTP.CHECK) >> 2] = sctpChecksum(bytes, l4, end);
    return;
  }
  const isUdp = protocol === PROTOCOL.UDP;
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

/** The IP header alone: all that a fragment behind the first one has. */
export function translateAddresses(cx: WorkerContext, slot: Slot, flow: FlowRef): void {
  const { words, halves } = cx.slab;
  const family = cx.records[recordAt(slot) + RECORD.FAMILY];
  const flows = cx.flows[family];
  const { entries, addressWords } = flows;
  const at = packetAt(slot);
  const entry = flows.entryOf(flow);
  const direction = flow & 1;

  const src = (at + (family === FAMILY.V4 ? IPV4.SRC : IPV6.SRC)) >> 2;
  const other = flows.tupleOf(entry, direction ^ 1);
  for (let i = 0; i < addressWords; i++) {
    words[src + i] = entries[other + addressWords + i];
    words[src + addressWords + i] = entries[other + i];
  }
  if (family === FAMILY.V4) {
    const addresses = entries[entry + ENTRY.DELTAS] & 0xffff;
    const ipCheck = (at + IPV4.CHECK) >> 1;
    halves[ipCheck] = updateChecksum(
      halves[ipCheck],
      direction === DIRECTION.REPLY ? inverseDelta(addresses) : addresses,
    );
  }
}

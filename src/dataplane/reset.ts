/** Side exit: answers the sender of the TCP segment in a slot with RST, in place (RFC 9293 section 3.5.2). */
import { swapPorts } from '../wire/byte-order.js';
import { PROTOCOL } from '../wire/ipv4.js';
import { TCP, TCP_FLAG, tcpHeaderBytes, tcpSequence } from '../wire/tcp.js';
import { answerChecksum, answerHeader, IP_HEADER_BYTES } from './answer.js';
import type { WorkerContext } from './context.js';
import { packetAt, RECORD, recordAt, type Slot } from './packet.js';

/** Replaces the segment in `slot`; the sender's connection ends with "connection reset by peer". */
export function reset(cx: WorkerContext, slot: Slot): void {
  const { bytes, halves, words } = cx.slab;
  const record = recordAt(slot);
  const family = cx.records[record + RECORD.FAMILY];
  const l4 = cx.records[record + RECORD.L4];
  const segment = packetAt(slot) + IP_HEADER_BYTES[family];
  const ports = swapPorts(words[l4 >> 2]);
  const acknowledged = (cx.records[record + RECORD.TCP_FLAGS] & TCP_FLAG.ACK) !== 0;
  // A segment with ACK tells what its sender expects next. One without is acknowledged up to its own end.
  const seq = acknowledged ? words[(l4 + TCP.ACK) >> 2] : 0;
  const end = acknowledged ? 0 : sequenceEnd(cx, slot);

  bytes.fill(0, segment, segment + TCP.SIZE);
  words[segment >> 2] = ports;
  words[(segment + TCP.SEQ) >> 2] = seq;
  writeNumber(bytes, segment + TCP.ACK, end);
  bytes[segment + TCP.DATA_OFFSET] = (TCP.SIZE / 4) << 4;
  bytes[segment + TCP.FLAGS] = acknowledged ? TCP_FLAG.RST : TCP_FLAG.RST | TCP_FLAG.ACK;
  answerHeader(cx, slot, PROTOCOL.TCP, TCP.SIZE);
  halves[(segment + TCP.CHECK) >> 1] = answerChecksum(cx, slot, PROTOCOL.TCP, TCP.SIZE);
}

/** SEG.SEQ + SEG.LEN, where SYN and FIN count as one each. */
function sequenceEnd(cx: WorkerContext, slot: Slot): number {
  const { bytes } = cx.slab;
  const record = recordAt(slot);
  const l4 = cx.records[record + RECORD.L4];
  const flags = cx.records[record + RECORD.TCP_FLAGS];
  const headerBytes = tcpHeaderBytes(bytes, l4);
  const payload = packetAt(slot) + cx.records[record + RECORD.LENGTH] - l4 - headerBytes;
  const counted = (flags & TCP_FLAG.SYN ? 1 : 0) + (flags & TCP_FLAG.FIN ? 1 : 0);
  return (tcpSequence(bytes, l4) + payload + counted) | 0;
}

function writeNumber(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

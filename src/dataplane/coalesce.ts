/**
 * Segments and datagrams of one flow that stand in one batch become one super-packet, as the kernel's GRO does it
 * (net/ipv4/tcp_offload.c, udp_offload.c): one write and one way through the stack instead of many. The kernel or the
 * receiver's device takes it apart again where that has to be, into the packets that it was made of.
 *
 *   chain   head slot -> slot -> slot      the head keeps its headers; of the others only the payload is written
 *
 * Exact at the receiver: what differs in any header but sequence number and length is not joined, and nothing of a flow
 * overtakes anything of it. Only packets whose checksum is known to be right are joined, because the super-packet's is made
 * anew: those of this machine (partial), and those that a device has verified (DATA_VALID).
 */
import { NO_FLOW } from '../conntrack/flow-table.js';
import { half } from '../wire/byte-order.js';
import { fold, updateChecksum } from '../wire/checksum.js';
import { ADDRESS_WORDS, FAMILY } from '../wire/family.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import { TCP, TCP_FLAG, tcpHeaderBytes, tcpSequence } from '../wire/tcp.js';
import { UDP } from '../wire/udp.js';
import { GSO, VNET, VNET_FLAG } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { CHAIN, frameAt, PLAIN, packetAt, plainL4, SLOTS, type Slot } from './packet.js';

/** What a device takes as super-packets. */
export const COALESCE = { NONE: 0, TCP: 1, UDP: 2 } as const;

/** The longest packet, as IPv4's and IPv6's length fields have it. */
const LENGTH_MAX = 65_535;

const TCP_JOINED = TCP_FLAG.ACK | TCP_FLAG.PSH;
/** Data offset, flags and window in one word, without PSH: what GRO compares too. */
const TCP_SAME = ~(TCP_FLAG.PSH << 8);

/** A flow whose last packet in this batch may get another behind it; by the low bits of its reference. */
const OPEN = {
  /** Reference of the flow and its family; 0: nobody's. */
  KEY: 0,
  HEAD: 1,
  TAIL: 2,
  /** Payload bytes of every segment but the last. */
  SIZE: 3,
  /** Bytes of the whole, from the IP header on. */
  LENGTH: 4,
  WORDS: 5,
} as const;
const PLACES = SLOTS;

export class Coalescer {
  /** Bits of COALESCE. */
  readonly what: number;
  readonly open = new Int32Array(PLACES * OPEN.WORDS);
  readonly heads = new Int32Array(SLOTS);
  headCount = 0;
  /** Packets of the last batch that were joined to one before them, and that neither were nor had others joined to them. */
  joined = 0;
  alone = 0;

  constructor(what: number) {
    this.what = what;
  }
}

/** Joins what can be joined of slots 0 to `count` - 1, which `forward` has filled. */
export function coalesce(cx: WorkerContext, count: number): void {
  const { coalescer, located, plain } = cx;
  coalescer.joined = 0;
  if (coalescer.what === COALESCE.NONE || count < 2) return;
  const { open } = coalescer;
  open.fill(0);
  for (let slot = 0; slot < count; slot++) {
    const flow = located[slot];
    if (flow === NO_FLOW) {
      open.fill(0); // of whatever flow it is: nothing that comes behind may be joined to what came before
      continue;
    }
    const place = (flow & (PLACES - 1)) * OPEN.WORDS;
    const key = ((flow + 1) << 1) | ((plain[slot] & PLAIN.FAMILY) >>> PLAIN.FAMILY_SHIFT);
    if (open[place + OPEN.KEY] === key && join(cx, slot, place)) continue;
    open[place + OPEN.KEY] = begin(cx, slot, place) ? key : 0;
  }
  for (let i = 0; i < coalescer.headCount; i++) finishHead(cx, coalescer.heads[i]);
  coalescer.alone = count - coalescer.joined - coalescer.headCount;
}

/** After the batch was written: the fate of a head is that of all that went with it. */
export function settleChains(cx: WorkerContext): void {
  const { coalescer, slab } = cx;
  const { chain, lengths } = slab;
  for (let i = 0; i < coalescer.headCount; i++) {
    const head = coalescer.heads[i];
    for (let slot = head; slot >= 0; ) {
      const next = chain[slot * CHAIN.SIZE] - 1;
      chain[slot * CHAIN.SIZE] = 0;
      if (lengths[head] < 0) lengths[slot] = lengths[head];
      slot = next;
    }
  }
  coalescer.headCount = 0;
}

/** @returns whether others may be joined to the packet in `slot`; then it is noted at `place` */
function begin(cx: WorkerContext, slot: Slot, place: number): boolean {
  const { open } = cx.coalescer;
  const payload = joinablePayload(cx, slot);
  if (payload <= 0) return false;
  const packet = cx.plain[slot];
  const isTcp = (packet & PLAIN.TCP) !== 0;
  if (isTcp && (cx.slab.bytes[plainL4(slot, packet) + TCP.FLAGS] & TCP_FLAG.PSH) !== 0) return false;
  open[place + OPEN.HEAD] = slot;
  open[place + OPEN.TAIL] = slot;
  open[place + OPEN.SIZE] = payload;
  open[place + OPEN.LENGTH] = packet & PLAIN.LENGTH;
  return true;
}

/** @returns whether the packet in `slot` was joined to the chain at `place` */
function join(cx: WorkerContext, slot: Slot, place: number): boolean {
  const { coalescer, slab, plain } = cx;
  const { open } = coalescer;
  const payload = joinablePayload(cx, slot);
  const size = open[place + OPEN.SIZE];
  const head = open[place + OPEN.HEAD];
  const length = open[place + OPEN.LENGTH] + payload;
  if (payload <= 0 || payload > size || length > LENGTH_MAX) return false;
  if (!hasSameHeaders(cx, head, slot, length - payload)) return false;

  const tail = open[place + OPEN.TAIL];
  if (tail === head) coalescer.heads[coalescer.headCount++] = head;
  const packet = plain[slot];
  const from = packetAt(slot) + (packet & PLAIN.LENGTH) - payload;
  slab.chain[tail * CHAIN.SIZE] = slot + 1;
  slab.chain[slot * CHAIN.SIZE + CHAIN.FROM] = from - frameAt(slot);
  slab.chain[slot * CHAIN.SIZE + CHAIN.BYTES] = payload;
  slab.lengths[slot] = 0;
  open[place + OPEN.TAIL] = slot;
  open[place + OPEN.LENGTH] = length;
  coalescer.joined++;
  let isLast = payload < size;
  if ((packet & PLAIN.TCP) !== 0) {
    const push = slab.bytes[plainL4(slot, packet) + TCP.FLAGS] & TCP_FLAG.PSH;
    slab.bytes[plainL4(head, packet) + TCP.FLAGS] |= push;
    isLast ||= push !== 0;
  }
  if (isLast) open[place + OPEN.KEY] = 0;
  return true;
}

/** @returns payload bytes of a packet that may be a segment of a super-packet, or 0 */
function joinablePayload(cx: WorkerContext, slot: Slot): number {
  const { bytes, halves } = cx.slab;
  const packet = cx.plain[slot];
  const frame = frameAt(slot);
  const at = packetAt(slot);
  const l4 = plainL4(slot, packet);
  const length = packet & PLAIN.LENGTH;
  const isVerified = (bytes[frame + VNET.FLAGS] & (VNET_FLAG.NEEDS_CSUM | VNET_FLAG.DATA_VALID)) !== 0;
  if (!isVerified || bytes[frame + VNET.GSO_TYPE] !== GSO.NONE) return 0;
  // Segments get identifications of their own: without DF somebody might put fragments together by them (RFC 6864).
  if ((packet & PLAIN.FAMILY) === 0 && (bytes[at + IPV4.FLAGS_FRAGMENT] & DONT_FRAGMENT) === 0) return 0;
  if ((packet & PLAIN.TCP) === 0) {
    if ((cx.coalescer.what & COALESCE.UDP) === 0 || halves[(l4 + UDP.CHECK) >> 1] === 0) return 0;
    const payload = length - (l4 - at) - UDP.SIZE;
    return half(halves[(l4 + UDP.LENGTH) >> 1]) === payload + UDP.SIZE ? payload : 0;
  }
  if ((cx.coalescer.what & COALESCE.TCP) === 0 || (bytes[l4 + TCP.FLAGS] & ~TCP_JOINED) !== 0) return 0;
  return length - (l4 - at) - tcpHeaderBytes(bytes, l4);
}

const DONT_FRAGMENT = 0x40;

/** @param behind bytes of the chain so far, from the IP header on */
function hasSameHeaders(cx: WorkerContext, head: Slot, slot: Slot, behind: number): boolean {
  const { bytes, words } = cx.slab;
  const packet = cx.plain[head];
  const a = packetAt(head);
  const b = packetAt(slot);
  const isV4 = (packet & PLAIN.FAMILY) === 0;
  if (isV4) {
    if (bytes[a + IPV4.TOS] !== bytes[b + IPV4.TOS] || bytes[a + IPV4.TTL] !== bytes[b + IPV4.TTL])
      return false;
  } else if (words[a >> 2] !== words[b >> 2] || bytes[a + IPV6.HOP_LIMIT] !== bytes[b + IPV6.HOP_LIMIT]) {
    return false;
  }
  if ((packet & PLAIN.TCP) === 0) return true;
  const tcp = plainL4(head, packet);
  const other = plainL4(slot, packet);
  const header = tcpHeaderBytes(bytes, tcp);
  const sent = behind - (tcp - a) - header;
  if (tcpSequence(bytes, other) !== ((tcpSequence(bytes, tcp) + sent) | 0)) return false;
  if (words[(tcp + TCP.ACK) >> 2] !== words[(other + TCP.ACK) >> 2]) return false;
  if (((words[(tcp + TCP.DATA_OFFSET) >> 2] ^ words[(other + TCP.DATA_OFFSET) >> 2]) & TCP_SAME) !== 0)
    return false;
  for (let i = TCP.SIZE; i < header; i += 4) {
    if (words[(tcp + i) >> 2] !== words[(other + i) >> 2]) return false;
  }
  return true;
}

/** Lengths, checksums and virtio-net header of the whole into the headers of its first packet. */
function finishHead(cx: WorkerContext, head: Slot): void {
  const { bytes, halves, chain } = cx.slab;
  const packet = cx.plain[head];
  const frame = frameAt(head);
  const at = packetAt(head);
  const l4 = plainL4(head, packet);
  const isV4 = (packet & PLAIN.FAMILY) === 0;
  const isUdp = (packet & PLAIN.TCP) === 0;
  const l4Header = isUdp ? UDP.SIZE : tcpHeaderBytes(bytes, l4);
  let length = packet & PLAIN.LENGTH;
  const size = length - (l4 - at) - l4Header;
  for (let slot = chain[head * CHAIN.SIZE] - 1; slot >= 0; slot = chain[slot * CHAIN.SIZE] - 1) {
    length += chain[slot * CHAIN.SIZE + CHAIN.BYTES];
  }

  if (isV4) {
    const lengthAt = (at + IPV4.TOTAL_LENGTH) >> 1;
    const check = (at + IPV4.CHECK) >> 1;
    const was = halves[lengthAt];
    halves[lengthAt] = half(length);
    halves[check] = updateChecksum(halves[check], fold((~was & 0xffff) + halves[lengthAt]));
  } else {
    halves[(at + IPV6.PAYLOAD_LENGTH) >> 1] = half(length - IPV6.SIZE);
  }
  const l4Length = length - (l4 - at);
  if (isUdp) halves[(l4 + UDP.LENGTH) >> 1] = half(l4Length);
  let sum = half(isUdp ? PROTOCOL.UDP : PROTOCOL.TCP) + half(l4Length);
  const addresses = (at + (isV4 ? IPV4.SRC : IPV6.SRC)) >> 1;
  const count = 4 * ADDRESS_WORDS[isV4 ? FAMILY.V4 : FAMILY.V6];
  for (let i = 0; i < count; i++) sum += halves[addresses + i];
  const check = isUdp ? UDP.CHECK : TCP.CHECK;
  halves[(l4 + check) >> 1] = fold(sum);

  bytes[frame + VNET.FLAGS] = VNET_FLAG.NEEDS_CSUM;
  bytes[frame + VNET.GSO_TYPE] = isUdp ? GSO.UDP_L4 : isV4 ? GSO.TCPV4 : GSO.TCPV6;
  halves[(frame + VNET.HDR_LEN) >> 1] = l4 - at + l4Header;
  halves[(frame + VNET.GSO_SIZE) >> 1] = size;
  halves[(frame + VNET.CSUM_START) >> 1] = l4 - at;
  halves[(frame + VNET.CSUM_OFFSET) >> 1] = check;
}

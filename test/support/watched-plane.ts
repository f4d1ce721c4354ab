/**
 * Two pipelines that get the same packets, and everything that must hold whatever they are. The twin has its packets in
 * other slots among other neighbours, so that a step that reads outside of its packet tells the two apart; around the
 * packets of the first lies a pattern that must be there afterwards.
 */
import { ENTRY, STATUS } from '../../src/conntrack/entry.js';
import { NO_FLOW } from '../../src/conntrack/flow-table.js';
import type { WorkerContext } from '../../src/dataplane/context.js';
import { turn } from '../../src/dataplane/loop.js';
import { FRAME_AT, frameAt, RECORD, recordAt, SLOT_BYTES, SLOTS } from '../../src/dataplane/packet.js';
import { PENDING_MAX } from '../../src/dataplane/retry.js';
import { DROP_REASON_NAMES } from '../../src/dataplane/verdict.js';
import type { Device } from '../../src/device/device.js';
import { COUNTER } from '../../src/table/counters.js';
import { checksum, crc32c, VNET_BYTES } from './packets.js';
import type { WorldPlane } from './world.js';

export interface Seen {
  /** Undefined: sent without a packet that was read. */
  in: Uint8Array | undefined;
  out: Uint8Array | undefined;
  /** 'forwarded', 'passed', ... or the reason of a drop. */
  outcome: string;
}

/** Outcomes of packets that were read, by their counters. */
export const OUTCOMES = new Map<number, string>([
  [COUNTER.FORWARDED, 'forwarded'],
  [COUNTER.PASSED, 'passed'],
  [COUNTER.REJECTED, 'rejected'],
  [COUNTER.RESET, 'reset'],
  [COUNTER.RETRIED, 'retried'],
  [COUNTER.ECHOED, 'echoed'],
  [COUNTER.HELD, 'held'],
  ...DROP_REASON_NAMES.map((name, reason): [number, string] => [COUNTER.DROPPED + reason, name]),
]);

/** Outcomes of packets that the sender gets an answer to, if anything leaves. */
const ANSWERS = ['rejected', 'reset', 'echoed', 'flow-table-full', 'snat-exhausted'];

const PATTERN = Buffer.alloc(SLOTS * SLOT_BYTES, 0xa5);
const NOISE = Buffer.alloc(SLOTS * SLOT_BYTES);
for (let i = 0, x = 2463534242; i < NOISE.length; i += 4) {
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  NOISE.writeInt32LE(x | 0, i);
}
/** Slots of the twin that hold rubbish before the first packet. */
const SHIFT = 3;

class Wire implements Device {
  waiting: readonly Uint8Array[] = [];
  seen: Seen[] = [];
  private readonly cx: WorkerContext;
  private readonly around: Buffer;
  private readonly shift: number;

  constructor(cx: WorkerContext, around: Buffer, shift: number) {
    this.cx = cx;
    this.around = around;
    this.shift = shift;
    cx.slab.bytes.set(around);
  }

  readBatch(): number {
    const frames = this.waiting;
    if (frames.length === 0) return 0;
    const { bytes, lengths } = this.cx.slab;
    for (let slot = 0; slot < this.shift; slot++) lengths[slot] = 3;
    for (const [i, given] of frames.entries()) {
      bytes.set(given, frameAt(i + this.shift));
      lengths[i + this.shift] = given.length;
    }
    return frames.length + this.shift;
  }

  writeBatch(count: number): number {
    const { bytes, lengths } = this.cx.slab;
    this.seen = [];
    let end = 0;
    for (let slot = 0; slot < count; slot++) {
      const given = this.waiting.length > 0 ? this.waiting[slot - this.shift] : undefined;
      const at = frameAt(slot);
      const length = lengths[slot]!;
      const counter = this.cx.records[recordAt(slot) + RECORD.OUTCOME]!;
      const outcome =
        OUTCOMES.get(counter) ?? (counter === COUNTER.INJECTED ? 'injected' : `counter ${counter}`);
      if (length > SLOT_BYTES - FRAME_AT) throw new Error(`slot ${slot} is left with ${length} bytes`);
      if (this.around === PATTERN) {
        const used = at + Math.max(given?.length ?? 0, length);
        const before = Buffer.compare(bytes.subarray(end, at), PATTERN.subarray(end, at));
        if (before !== 0) throw new Error(`bytes in front of slot ${slot} were written (${outcome})`);
        end = used;
      }
      const isRubbish = this.waiting.length > 0 && slot < this.shift;
      if (!isRubbish)
        this.seen.push({ in: given, out: length > 0 ? bytes.slice(at, at + length) : undefined, outcome });
    }
    if (this.around === PATTERN && Buffer.compare(bytes.subarray(end), PATTERN.subarray(end)) !== 0) {
      throw new Error('bytes behind the batch were written');
    }
    for (let slot = 0; slot < count; slot++) {
      const from = slot * SLOT_BYTES;
      bytes.set(this.around.subarray(from, from + SLOT_BYTES), from);
    }
    return count;
  }

  wait(): number {
    return 0;
  }
}

export class WatchedPlane {
  readonly plane: WorldPlane;
  private readonly twin: WorldPlane;
  private readonly wire: Wire;
  private readonly twinWire: Wire;
  /** Addresses that nothing but a packet passed on unchanged may be sent to. */
  private readonly ours: ReadonlySet<string>;
  /** Fragments that were held and not seen to leave yet. */
  private readonly held: Uint8Array[] = [];
  /** Where packets of a tuple go, for as long as their flow lives. */
  private readonly ways = new Map<string, string>();

  /** @param make called twice @param ours addresses as in `tupleOf` */
  constructor(make: () => WorldPlane, ours: ReadonlySet<string>) {
    this.plane = make();
    this.twin = make();
    this.wire = new Wire(this.plane.cx, PATTERN, 0);
    this.twinWire = new Wire(this.twin.cx, NOISE, SHIFT);
    this.ours = ours;
  }

  both(act: (plane: WorldPlane) => void): void {
    act(this.plane);
    act(this.twin);
  }

  /** Sends one batch. @throws Error when anything is not as it must be */
  send(frames: readonly Uint8Array[]): Seen[] {
    const { cx } = this.plane;
    const created = cx.counters[COUNTER.FLOWS_CREATED];
    const seen = take(this.plane, this.wire, frames);
    const twin = take(this.twin, this.twinWire, frames);
    if (seen.length !== twin.length)
      throw new Error(`${seen.length} packets here, ${twin.length} at the twin`);
    for (const [i, { out, outcome }] of seen.entries()) {
      const other = twin[i]!;
      if (outcome !== other.outcome || Buffer.compare(out ?? NOTHING, other.out ?? NOTHING) !== 0) {
        throw new Error(
          `depends on bytes outside of the packet: ${outcome} here, ${other.outcome} at the twin`,
        );
      }
    }
    this.checkCounters();
    const quiet = created === cx.counters[COUNTER.FLOWS_CREATED];
    for (const [slot, one] of seen.entries()) this.checkPacket(one, quiet, slot, seen.length === 1);
    return seen;
  }

  private checkCounters(): void {
    const { counters } = this.plane.cx;
    let outcomes = 0;
    for (const counter of OUTCOMES.keys()) outcomes += counters[counter]!;
    if (outcomes !== counters[COUNTER.RECEIVED]) {
      throw new Error(`${counters[COUNTER.RECEIVED]} packets received, ${outcomes} outcomes counted`);
    }
    if (counters[COUNTER.DROPPED] !== 0) throw new Error('a packet was dropped for no reason');
  }

  private checkPacket({ in: given, out, outcome }: Seen, quiet: boolean, slot: number, alone: boolean): void {
    if (outcome.startsWith('counter')) throw new Error(`outcome is ${outcome}`);
    if (outcome === 'injected') this.ways.clear();
    if (outcome === 'held') this.held.push(given!);
    if (out === undefined) return;
    if (given === undefined && (outcome === 'passed' || outcome === 'forwarded')) {
      this.checkReleased(out, outcome);
      return;
    }
    if (outcome === 'passed') {
      if (Buffer.compare(given!, out) !== 0) throw new Error('a packet that passes was changed');
      if (this.ours.has(tupleOf(given!).dst)) throw new Error('a packet to a Service passed');
      if (alone) this.checkUnknown(slot);
      return;
    }
    const left = tupleOf(out);
    if (this.ours.has(left.dst)) throw new Error(`${outcome}: left for an address of a Service, ${left.dst}`);
    const damage = residuals(out);
    if (ANSWERS.includes(outcome)) {
      if (damage.ip !== 0 || damage.l4 !== 0) throw new Error(`${outcome}: wrong checksum in our own packet`);
      if (left.length !== out.length - VNET_BYTES) throw new Error(`${outcome}: wrong length`);
      if (out.subarray(0, VNET_BYTES).some((byte) => byte !== 0))
        throw new Error(`${outcome}: virtio-net header`);
      const came = tupleOf(given!);
      if (came.src !== left.dst || came.dst !== left.src) throw new Error(`${outcome}: not to who asked`);
      return;
    }
    if (outcome === 'retried' || outcome === 'injected') {
      this.ways.clear();
      return;
    }
    if (isIcmp(out)) checkRelated(given!, out);
    else this.checkTranslated(given!, out, quiet);
  }

  /** A fragment that was held leaves behind the batch that brought the first of its datagram. It has no ports. */
  private checkReleased(out: Uint8Array, outcome: string): void {
    if (this.ours.has(tupleOf(out).dst)) throw new Error(`${outcome}: a held fragment left for a Service`);
    const form = outcome === 'passed' ? (frame: Uint8Array) => frame : withoutAddresses;
    const wanted = form(out);
    const at = this.held.findIndex((frame) => Buffer.compare(form(frame), wanted) === 0);
    if (at < 0) throw new Error(`${outcome}: a packet left that nobody sent`);
    this.held.splice(at, 1);
  }

  private checkTranslated(given: Uint8Array, out: Uint8Array, quiet: boolean): void {
    if (given.length !== out.length) throw new Error('the length changed on the way');
    if (Buffer.compare(withoutTranslated(given), withoutTranslated(out)) !== 0)
      throw new Error('more than addresses, ports and checksums changed');
    const before = residuals(given);
    const after = residuals(out);
    if (before.ip !== after.ip || before.l4 !== after.l4)
      throw new Error(`checksums off by ${before.ip} ${before.l4} are off by ${after.ip} ${after.l4}`);
    const from = tupleOf(given);
    const to = tupleOf(out);
    const way = this.ways.get(from.there);
    if (quiet && way !== undefined && way !== to.there)
      throw new Error(`${from.there} went to ${way} and goes to ${to.there}`);
    this.ways.set(from.there, to.there);
    this.ways.set(to.back, from.back);
  }

  /** What passed in slot `slot` must not be of a flow: it would show an endpoint's own address. */
  private checkUnknown(slot: number): void {
    const { cx } = this.plane;
    const record = recordAt(slot);
    const flows = cx.flows[cx.records[record + RECORD.FAMILY]!]!;
    const flow = flows.find(cx.records, record + RECORD.TUPLE, cx.records[record + RECORD.PROTOCOL]!);
    if (flow === NO_FLOW) return;
    const abandoned = (flows.entries[flows.entryOf(flow)]! & STATUS.ABANDONED) !== 0 && (flow & 1) === 0;
    if (!abandoned) throw new Error('a packet of a known flow passed untranslated');
  }

  /** The flow tables, their indexes, the counts by endpoint and the connections that wait agree. Slow. */
  checkTables(): void {
    const { flows: tables, retry } = this.plane.cx;
    for (const flows of tables) {
      let live = 0;
      for (let number = 0; number < flows.capacity; number++) {
        const at = number * flows.entryWords;
        const status = flows.entries[at]!;
        if ((status & STATUS.LIVE) === 0) continue;
        live++;
        for (const direction of [0, 1]) {
          const found = flows.find(
            flows.entries,
            flows.tupleOf(at, direction),
            status & STATUS.PROTOCOL_MASK,
          );
          if (found !== number * 2 + direction)
            throw new Error(`flow ${number} direction ${direction}: index says ${found}`);
        }
        if (flows.entries[at + ENTRY.ENDPOINT]! <= 0) throw new Error(`flow ${number} has no endpoint`);
      }
      if (live !== flows.count) throw new Error(`${live} flows, ${flows.count} counted`);
    }
    const active = this.plane.cx.active.own.reduce((sum, count) => sum + count, 0);
    const counted = tables.reduce((sum, { count }) => sum + count, 0);
    if (active !== counted) throw new Error(`${counted} flows, ${active} counted by endpoint`);
    const waiting = retry.byEntry.flatMap((places) => [...places].filter((place) => place !== 0));
    if (new Set(waiting).size !== waiting.length) throw new Error('two flows of one waiting connection');
    if (waiting.length > PENDING_MAX - retry.freeCount) throw new Error('more wait than have a place');
  }
}

const NOTHING = new Uint8Array(0);

function take(plane: WorldPlane, wire: Wire, frames: readonly Uint8Array[]): Seen[] {
  wire.waiting = frames;
  wire.seen = [];
  turn(plane.cx, wire, plane.nowMs);
  return wire.seen;
}

interface Parts {
  v6: boolean;
  l4: number;
  protocol: number;
  length: number;
}

/** Only for packets that a step has called right. */
function partsOf(packet: Uint8Array): Parts {
  const v6 = packet[0]! >> 4 === 6;
  if (!v6)
    return { v6, l4: (packet[0]! & 15) * 4, protocol: packet[9]!, length: (packet[2]! << 8) | packet[3]! };
  let l4 = 40;
  let protocol = packet[6]!;
  while ([0, 43, 60].includes(protocol) && !(protocol === 43 && packet[l4 + 3] !== 0)) {
    protocol = packet[l4]!;
    l4 += 8 + packet[l4 + 1]! * 8;
  }
  return { v6, l4, protocol, length: 40 + ((packet[4]! << 8) | packet[5]!) };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const ICMP_BYTES = 8;

const isIcmp = (frame: Uint8Array): boolean => [1, 58].includes(partsOf(frame.subarray(VNET_BYTES)).protocol);

/** An error that was translated: for who sent the packet that it quotes, and with a right checksum. */
function checkRelated(given: Uint8Array, out: Uint8Array): void {
  if (given.length !== out.length) throw new Error('an error changed its length');
  const [before, after] = [given.subarray(VNET_BYTES), out.subarray(VNET_BYTES)];
  const { l4, v6 } = partsOf(after);
  const same = (from: number, to: number): boolean =>
    Buffer.compare(before.subarray(l4 + from, l4 + to), after.subarray(l4 + from, l4 + to)) === 0;
  if (!same(0, 2) || !same(4, ICMP_BYTES))
    throw new Error('an error changed its type, code, or what it says');
  const { ip, l4: icmp } = residuals(out);
  if (icmp !== 0) throw new Error('a translated error has a wrong ICMP checksum');
  if (ip !== residuals(given).ip) throw new Error('the IP checksum of an error is off by something else');
  const quote = after.subarray(l4 + ICMP_BYTES);
  const [sender, receiver] = v6
    ? [quote.subarray(8, 24), after.subarray(24, 40)]
    : [quote.subarray(12, 16), after.subarray(16, 20)];
  if (hex(sender!) !== hex(receiver!))
    throw new Error('an error goes to somebody who did not send what it quotes');
}

/** Source, destination, and the tuple in both directions, as text to compare. */
export function tupleOf(frame: Uint8Array): {
  src: string;
  dst: string;
  there: string;
  back: string;
  length: number;
} {
  const packet = frame.subarray(VNET_BYTES);
  const { v6, l4, protocol, length } = partsOf(packet);
  const src = hex(v6 ? packet.subarray(8, 24) : packet.subarray(12, 16));
  const dst = hex(v6 ? packet.subarray(24, 40) : packet.subarray(16, 20));
  const [sport, dport] = [hex(packet.subarray(l4, l4 + 2)), hex(packet.subarray(l4 + 2, l4 + 4))];
  const there = `${protocol} ${src}:${sport} > ${dst}:${dport}`;
  return { src, dst, there, back: `${protocol} ${dst}:${dport} > ${src}:${sport}`, length };
}

const CHECK_AT: Record<number, number> = { 6: 16, 17: 6, 1: 2, 58: 2 };

/**
 * By how much the checksums are off, modulo 0xffff: 0 is right. Incremental updates must keep it, for then what was right is
 * right and what was damaged is still seen to be.
 */
function residuals(frame: Uint8Array): { ip: number; l4: number } {
  const packet = frame.subarray(VNET_BYTES);
  const { v6, l4, protocol, length } = partsOf(packet);
  const ip = v6 ? 0 : (0xffff - checksum(packet.subarray(0, l4))) % 0xffff;
  const body = packet.subarray(l4, length);
  if (protocol === 132) {
    const stored = new DataView(body.buffer, body.byteOffset).getUint32(8, true);
    return { ip, l4: stored === crc32c(body) ? 0 : 1 };
  }
  const at = CHECK_AT[protocol]!;
  const check = (body[at]! << 8) | body[at + 1]!;
  if (protocol === 17 && check === 0 && (frame[0]! & 1) === 0) return { ip, l4: 0 };
  const addresses = v6 ? packet.subarray(8, 40) : packet.subarray(12, 20);
  const pseudo = 0xffff - checksum(addresses) + body.length + protocol;
  if ((frame[0]! & 1) !== 0) return { ip, l4: (check + 0xffff * 4 - pseudo) % 0xffff };
  const sum = 0xffff - checksum(body);
  return { ip, l4: (sum + (protocol === 1 ? 0 : pseudo)) % 0xffff };
}

/** The frame without its addresses and what covers them in the IP header. */
function withoutAddresses(frame: Uint8Array): Uint8Array {
  const copy = frame.slice();
  const packet = copy.subarray(VNET_BYTES);
  if (packet[0]! >> 4 === 6) packet.fill(0, 8, 40);
  else packet.fill(0, 10, 20);
  return copy;
}

/** The frame without what translation may change. */
function withoutTranslated(frame: Uint8Array): Uint8Array {
  const copy = withoutAddresses(frame);
  const packet = copy.subarray(VNET_BYTES);
  const { l4, protocol } = partsOf(packet);
  packet.fill(0, l4, l4 + 4);
  const at = protocol === 132 ? 8 : CHECK_AT[protocol]!;
  packet.fill(0, l4 + at, l4 + at + (protocol === 132 ? 4 : 2));
  return copy;
}

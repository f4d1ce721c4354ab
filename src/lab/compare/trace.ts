/**
 * A recording as a load: the packets that clients sent to a Service, at their times and byte for byte, whatever becomes of
 * them. Endpoints accept connections and acknowledge; what they said in the recording is not replayed. A connection counts
 * as broken when an endpoint answers it with RST; one whose beginning was not recorded counts as a flow, never as broken.
 */
import type { Recording } from '../../device/pcap-file.js';
import { ipv4Text } from '../../wire/address.js';
import { word } from '../../wire/byte-order.js';
import { IPV4, ipv4Fits, ipv4IsFragment, ipv4TotalLength, PROTOCOL } from '../../wire/ipv4.js';
import { TCP_FLAG } from '../../wire/tcp.js';
import { VNET } from '../../wire/virtio-net.js';
import { type Client, type Fate, newFate, type Send } from './client.js';
import { madeServices, type Services, type Target } from './cluster.js';
import type { ClientPlan, Load } from './load.js';
import { type Packet, readFrame } from './packet-view.js';
import type { Timeline } from './timeline.js';

interface Sent {
  readonly ms: number;
  readonly frame: Uint8Array;
  readonly packet: Packet;
}

/** Packets of a recording that a Service could be meant by: TCP and UDP over IPv4, no fragments. */
export interface Trace {
  readonly sent: readonly Sent[];
  /** Of all packets, how many are none of these. */
  readonly left: number;
}

export function traceOf({ packets, skipped }: Recording): Trace {
  const beginMs = packets.reduce((first, { ms }) => Math.min(first, ms), Number.POSITIVE_INFINITY);
  const sent: Sent[] = [];
  for (const { ms, packet } of packets) {
    const frame = frameOf(packet);
    if (frame !== null) sent.push({ ms: ms - beginMs, frame, packet: readFrame(frame) });
  }
  sent.sort((a, b) => a.ms - b.ms); // recordings of several devices are not always in order
  return { sent, left: skipped + packets.length - sent.length };
}

/** What a recording left out at a packet's end is zeros here: nobody looks at it. */
function frameOf(packet: Uint8Array): Uint8Array | null {
  if (packet.length < IPV4.SIZE || packet[0] >>> 4 !== 4) return null;
  const frame = new Uint8Array(VNET.SIZE + Math.max(packet.length, ipv4TotalLength(packet, 0)));
  frame.set(packet, VNET.SIZE);
  if (!ipv4Fits(frame, VNET.SIZE, frame.length) || ipv4IsFragment(frame, VNET.SIZE)) return null;
  const protocol = packet[IPV4.PROTOCOL];
  const bytes = frame.subarray(0, VNET.SIZE + ipv4TotalLength(frame, VNET.SIZE));
  return protocol === PROTOCOL.TCP || protocol === PROTOCOL.UDP ? bytes : null;
}

/**
 * A Service of the lab's own in the place of the destination that most clients' ports talk to.
 * @returns null when nothing was recorded that could be one
 */
export function servicesOfTrace({ sent }: Trace, endpoints: number): Services | null {
  const sources = new Map<string, Set<number>>();
  for (const { packet } of sent) {
    const key = `${packet.dst} ${packet.protocol} ${packet.dport}`;
    const known = sources.get(key) ?? new Set();
    sources.set(key, known.add(packet.src * 0x1_0000 + packet.sport));
  }
  const [busiest] = [...sources].sort((a, b) => b[1].size - a[1].size);
  if (busiest === undefined) return null;
  const [dst, protocol, port] = busiest[0].split(' ').map(Number);
  return madeServices(endpoints, ipv4Text(word(dst)), [
    { protocol: protocol === PROTOCOL.UDP ? 'UDP' : 'TCP', port },
  ]);
}

/** After the last packet, so that its answer is seen. */
const AFTERMATH_MS = 1000;

/** @returns null when no packet of the trace is for the Service */
export function loadOfTrace(name: string, trace: Trace, { ports }: Services): Load | null {
  const targets = new Map(
    ports.map((target) => [keyOf(target.protocol, target.address, target.port), target]),
  );
  const flows: Recorded[] = [];
  const open = new Map<string, Recorded>();
  for (const sent of trace.sent) {
    const { packet } = sent;
    const protocol = packet.protocol === PROTOCOL.UDP ? 'UDP' : 'TCP';
    const target = targets.get(keyOf(protocol, ipv4Text(word(packet.dst)), packet.dport));
    if (target === undefined) continue;
    const key = `${protocol} ${packet.src} ${packet.sport}`;
    const known = open.get(key);
    // The same port again, after the end of the connection that had it.
    const isAnew = known === undefined || (known.hasEnded && (packet.flags & TCP_FLAG.SYN) !== 0);
    const flow = isAnew ? new Recorded(target, protocol) : known;
    if (isAnew) {
      flows.push(flow);
      open.set(key, flow);
    }
    flow.add(sent);
  }
  if (flows.length === 0) return null;
  const packets = flows.reduce((sum, flow) => sum + flow.sent.length, 0);
  const midway = flows.filter(({ isWhole }) => !isWhole).length;
  const others = trace.sent.length - packets + trace.left;
  return {
    name,
    what:
      `${packets} recorded packets of clients` +
      `${midway > 0 ? `; ${midway} flows began before the recording and are not counted as broken` : ''}` +
      `${others > 0 ? `; ${others} packets were not for the Service` : ''}`,
    durationMs: Math.max(...flows.map(({ sent }) => sent[sent.length - 1].ms)) + AFTERMATH_MS,
    events: [],
    clients: flows.map((flow) => flow.plan()),
    recorded: true,
  };
}

const keyOf = (protocol: string, address: string, port: number): string => `${protocol} ${address} ${port}`;

/** One flow of a recording. */
class Recorded {
  readonly sent: Sent[] = [];
  readonly #target: Target;
  readonly #protocol: 'TCP' | 'UDP';
  hasEnded = false;

  constructor(target: Target, protocol: 'TCP' | 'UDP') {
    this.#target = target;
    this.#protocol = protocol;
  }

  add(sent: Sent): void {
    this.sent.push(sent);
    if (sent.packet.flags & (TCP_FLAG.FIN | TCP_FLAG.RST)) this.hasEnded = true;
  }

  /** Whether it was recorded from its beginning; a datagram is always one. */
  get isWhole(): boolean {
    return this.#protocol === 'UDP' || (this.sent[0].packet.flags & TCP_FLAG.SYN) !== 0;
  }

  plan(): ClientPlan {
    const [{ packet, ms }] = this.sent;
    return {
      protocol: this.#protocol,
      client: packet.src,
      address: ipv4Text(word(packet.src)),
      port: packet.sport,
      target: this.#target,
      beginMs: ms,
      wantedBytes: this.sent.reduce((sum, { packet: { bytes } }) => sum + bytes, 0),
      create: (timeline, send) => new RecordedClient(this, timeline, send),
    };
  }
}

/** Sends what was recorded, when it was. It hears RST, and nothing makes it stop. */
class RecordedClient implements Client {
  readonly fate: Fate = newFate();
  readonly #flow: Recorded;
  readonly #timeline: Timeline;
  readonly #send: Send;

  constructor(flow: Recorded, timeline: Timeline, send: Send) {
    this.#flow = flow;
    this.#timeline = timeline;
    this.#send = send;
  }

  begin(): void {
    const { sent } = this.#flow;
    for (const { ms, frame } of sent) {
      this.#timeline.at(ms, () => {
        this.fate.packets++;
        this.#send(frame);
      });
    }
    if (!this.#flow.isWhole) this.fate.connectedMs = this.#timeline.nowMs;
  }

  receive({ flags }: Packet): void {
    const { fate } = this;
    if (fate.outcome !== 'open') return;
    if (flags & TCP_FLAG.SYN) fate.connectedMs ??= this.#timeline.nowMs;
    const { sent, isWhole } = this.#flow;
    const isOver = this.#timeline.nowMs > sent[sent.length - 1].ms + AFTERMATH_MS;
    if ((flags & TCP_FLAG.RST) === 0 || isOver || !isWhole) return;
    fate.outcome = fate.connectedMs === null ? 'failed' : 'broken';
    fate.cause = fate.connectedMs === null ? 'refused' : 'reset';
    fate.endMs = this.#timeline.nowMs;
  }
}

/**
 * A client of the lab: one TCP connection, or one UDP socket, from its first packet to its end. What it sees of the balancer
 * is what a user sees: answered, refused, reset, or silence.
 *
 * TCP repeats a SYN after 1, 3 and 7 s and a request after 1, 3 and 7 s (RFC 6298: 1 s, doubled); after 10 s without
 * what it waits for, the program gives up. A resolver waits 5 s for its answers (resolv.conf(5), timeout).
 */
import { composePacket } from '../../wire/compose.js';
import { PROTOCOL } from '../../wire/ipv4.js';
import { TCP_FLAG } from '../../wire/tcp.js';
import type { Target } from './cluster.js';
import { REQUEST_HEADER_BYTES, SEGMENT_BYTES } from './endpoint-host.js';
import type { Packet } from './packet-view.js';
import type { Timeline } from './timeline.js';
import type { Connection } from './workload.js';

/** From one sending to the next; behind the last comes the end. */
const REPEAT_AFTER_MS = [1000, 2000, 4000, 3000];
const UDP_PATIENCE_MS = 5000;
/** Longer than that a user notices. */
const SLOW_MS = 1000;

/** How a connection that went wrong did so. */
export type Cause = 'refused' | 'no answer' | 'rejected' | 'reset' | 'timed out';

/** What a client tells of itself. */
export interface Fate {
  /** failed: never connected; broken: connected, and ended before its last response; open: still going on at the end. */
  outcome: 'open' | 'completed' | 'failed' | 'broken';
  cause: Cause | null;
  connectedMs: number | null;
  endMs: number | null;
  /** Packets sent until all was received, or it broke. */
  packets: number;
  /** UDP: datagrams that were to be answered, and those that were not. */
  asked: number;
  unanswered: number;
  /** When operations (a connect, a request) began that failed or took longer than a second. */
  readonly harmedMs: number[];
}

export const newFate = (): Fate => ({
  outcome: 'open',
  cause: null,
  connectedMs: null,
  endMs: null,
  packets: 0,
  asked: 0,
  unanswered: 0,
  harmedMs: [],
});

/** Puts a packet on its way to the Service. */
export type Send = (frame: Uint8Array) => void;

export interface Client {
  readonly fate: Fate;
  begin(): void;
  receive(packet: Packet): void;
}

const NOTHING = new Uint8Array(0);
const FIRST_SEQ = 1;

const endsOf = ({ protocol, address, port }: Connection, target: Target) => ({
  protocol,
  src: address,
  sport: port,
  dst: target.address,
  dport: target.port,
});

export class TcpClient implements Client {
  readonly fate = newFate();
  readonly #connection: Connection;
  readonly #target: Target;
  readonly #timeline: Timeline;
  readonly #send: Send;
  #seq = FIRST_SEQ;
  #expected = 0;
  /** Number of the request in hand; bytes of its response that are missing, and segments that have come. */
  #request = 0;
  #missing = 0;
  #segments = 0;
  /** Counts operations, so that a timer knows whether it is still meant. */
  #operation = 0;
  #operationMs = 0;

  constructor(connection: Connection, target: Target, timeline: Timeline, send: Send) {
    this.#connection = connection;
    this.#target = target;
    this.#timeline = timeline;
    this.#send = send;
  }

  begin(): void {
    this.#operate(() => this.#transmit(TCP_FLAG.SYN, FIRST_SEQ), 'no answer');
  }

  receive(packet: Packet): void {
    if (this.fate.outcome !== 'open') this.#closing(packet.flags);
    else if (this.fate.connectedMs === null) this.#connecting(packet);
    else this.#connected(packet);
  }

  #connecting({ protocol, flags, seq }: Packet): void {
    if (protocol === PROTOCOL.ICMP) this.#end('failed', 'rejected');
    else if (flags & TCP_FLAG.RST) this.#end('failed', 'refused');
    else if (flags & TCP_FLAG.SYN) {
      this.fate.connectedMs = this.#timeline.nowMs;
      this.#noteSlow();
      this.#seq = FIRST_SEQ + 1;
      this.#expected = seq + 1;
      this.#transmit(TCP_FLAG.ACK, this.#seq);
      this.#ask();
    }
  }

  #connected({ flags, seq, payload }: Packet): void {
    if (flags & TCP_FLAG.RST) this.#end('broken', 'reset');
    if (payload.length === 0 || seq !== this.#expected) return;
    this.#expected += payload.length;
    this.#missing -= payload.length;
    this.#segments++;
    if (this.#missing <= 0) this.#answered();
    else if (this.#segments % 2 === 0) this.#transmit(TCP_FLAG.ACK, this.#seq); // RFC 1122 section 4.2.3.2
  }

  #answered(): void {
    const { requests, thinkMs } = this.#connection;
    this.#noteSlow();
    this.#operation++;
    this.#request++;
    if (this.#request === requests.length) {
      this.fate.outcome = 'completed';
      this.fate.endMs = this.#timeline.nowMs;
      this.#transmit(TCP_FLAG.ACK, this.#seq);
      this.#transmit(TCP_FLAG.FIN | TCP_FLAG.ACK, this.#seq);
      return;
    }
    this.#transmit(TCP_FLAG.ACK, this.#seq);
    const operation = this.#operation;
    this.#timeline.after(thinkMs, () => {
      if (operation === this.#operation && this.fate.outcome === 'open') this.#ask();
    });
  }

  #ask(): void {
    const { requestBytes, responseBytes } = this.#connection.requests[this.#request];
    const request = new Uint8Array(Math.max(requestBytes, REQUEST_HEADER_BYTES));
    const view = new DataView(request.buffer);
    view.setUint32(0, request.length);
    view.setUint32(4, Math.max(1, responseBytes));
    this.#missing = Math.max(1, responseBytes);
    this.#segments = 0;
    const from = this.#seq;
    this.#seq += request.length;
    this.#operate(() => {
      for (let at = 0; at < request.length; at += SEGMENT_BYTES) {
        this.#transmit(TCP_FLAG.ACK | TCP_FLAG.PSH, from + at, request.subarray(at, at + SEGMENT_BYTES));
      }
    }, 'timed out');
  }

  /** Sends something now, and again while nothing answers; in the end gives up. */
  #operate(send: () => void, giveUp: Cause): void {
    const operation = ++this.#operation;
    this.#operationMs = this.#timeline.nowMs;
    const attempt = (number: number): void => {
      send();
      this.#timeline.after(REPEAT_AFTER_MS[number], () => {
        if (operation !== this.#operation || this.fate.outcome !== 'open') return;
        if (number + 1 < REPEAT_AFTER_MS.length) attempt(number + 1);
        else this.#end(giveUp === 'no answer' ? 'failed' : 'broken', giveUp);
      });
    };
    attempt(0);
  }

  #noteSlow(): void {
    if (this.#timeline.nowMs - this.#operationMs >= SLOW_MS) this.fate.harmedMs.push(this.#operationMs);
  }

  #end(outcome: 'failed' | 'broken', cause: Cause): void {
    this.fate.outcome = outcome;
    this.fate.cause = cause;
    this.fate.endMs = this.#timeline.nowMs;
    this.fate.harmedMs.push(this.#operationMs);
    if (cause === 'timed out') this.#transmit(TCP_FLAG.RST, this.#seq);
  }

  /** The end of a connection that has all it wanted: it acknowledges the endpoint's FIN. */
  #closing(flags: number): void {
    if (this.fate.outcome !== 'completed' || (flags & TCP_FLAG.FIN) === 0) return;
    this.#expected++;
    this.#transmit(TCP_FLAG.ACK, this.#seq + 1);
  }

  #transmit(flags: number, seq: number, payload: Uint8Array = NOTHING): void {
    if (this.fate.outcome === 'open') this.fate.packets++;
    const ack = this.#expected;
    this.#send(composePacket({ ...endsOf(this.#connection, this.#target), flags, seq, ack, payload }));
  }
}

export class UdpClient implements Client {
  readonly fate = newFate();
  readonly #connection: Connection;
  readonly #target: Target;
  readonly #timeline: Timeline;
  readonly #send: Send;
  #request = 0;
  #waitingFor = 0;
  #askedMs = 0;

  constructor(connection: Connection, target: Target, timeline: Timeline, send: Send) {
    this.#connection = connection;
    this.#target = target;
    this.#timeline = timeline;
    this.#send = send;
  }

  begin(): void {
    this.fate.connectedMs = this.#timeline.nowMs;
    this.#ask();
  }

  receive({ protocol }: Packet): void {
    if (this.#waitingFor === 0 || protocol !== PROTOCOL.UDP) return;
    this.#waitingFor--;
    if (this.#waitingFor === 0) this.#next();
  }

  #ask(): void {
    const { requests, together } = this.#connection;
    const { requestBytes, responseBytes } = requests[this.#request];
    const request = this.#request;
    this.#waitingFor = together;
    this.#askedMs = this.#timeline.nowMs;
    this.fate.asked += together;
    for (let i = 0; i < together; i++) {
      const payload = new Uint8Array(Math.max(requestBytes, REQUEST_HEADER_BYTES));
      new DataView(payload.buffer).setUint32(4, responseBytes);
      this.fate.packets++;
      this.#send(composePacket({ ...endsOf(this.#connection, this.#target), payload }));
    }
    this.#timeline.after(UDP_PATIENCE_MS, () => {
      if (request !== this.#request || this.#waitingFor === 0) return;
      this.fate.unanswered += this.#waitingFor;
      this.fate.harmedMs.push(this.#askedMs);
      this.#next();
    });
  }

  #next(): void {
    this.#waitingFor = 0;
    this.#request++;
    if (this.#request < this.#connection.requests.length) {
      this.#timeline.after(this.#connection.thinkMs, () => this.#ask());
      return;
    }
    this.fate.outcome = 'completed';
    this.fate.endMs = this.#timeline.nowMs;
  }
}

/**
 * An endpoint of the lab: a host with an address, a program that answers requests, and the behaviour of a TCP stack as far
 * as a balancer's mistakes show in it. A segment of a connection that it does not know is answered with RST (RFC 9293 section
 * 3.10.7.1); a crashed host answers nothing; one whose program has ended refuses.
 *
 * A request begins with two numbers: its own length, and that of the response it asks for. The endpoint of recorded clients,
 * whose requests say no such thing, only acknowledges.
 */
import { PROTOCOL } from '../../wire/ipv4.js';
import { TCP_FLAG } from '../../wire/tcp.js';
import type { Packet } from './packet-view.js';

/** Payload of a TCP segment at most, with the headers that IPv4 over Ethernet leaves room for. */
export const SEGMENT_BYTES = 1460;
export const REQUEST_HEADER_BYTES = 8;

/** What a host sends: the addresses and ports follow from the packet that it answers. */
export interface Answer {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly payload: Uint8Array;
}

interface Accepted {
  /** Sequence number of the next byte from the client, and of the next one to it. */
  expected: number;
  next: number;
  /** Bytes of the request in hand that have not come yet, and what it asks for. */
  missing: number;
  responseBytes: number;
  /** The client has said FIN. */
  closing: boolean;
}

const FIRST_SEQ = 1_000_000;
const NOTHING = new Uint8Array(0);

export class EndpointHost {
  readonly address: string;
  /** serving; closed: the program has ended; crashed: silence. */
  state: 'serving' | 'closed' | 'crashed' = 'serving';
  readonly #accepted = new Map<number, Accepted>();
  readonly #recorded: boolean;

  /** @param recorded its clients are a recording's */
  constructor(address: string, recorded: boolean) {
    this.address = address;
    this.#recorded = recorded;
  }

  /** @returns what it answers, in order */
  receive(packet: Packet): Answer[] {
    if (this.state === 'crashed') return [];
    if (packet.protocol === PROTOCOL.UDP) {
      if (this.state !== 'serving') return [];
      return this.#recorded ? [segment(0, 0, 0)] : answerDatagram(packet);
    }
    return packet.protocol === PROTOCOL.TCP ? this.#receiveSegment(packet) : [];
  }

  #receiveSegment(packet: Packet): Answer[] {
    const { flags, seq, ack, payload } = packet;
    const key = packet.src * 0x1_0000 + packet.sport;
    const known = this.state === 'serving' ? this.#accepted.get(key) : undefined;
    if (flags & TCP_FLAG.RST) {
      this.#accepted.delete(key);
      return [];
    }
    if (flags & TCP_FLAG.SYN && this.state === 'serving') {
      this.#accepted.set(key, {
        expected: seq + 1,
        next: FIRST_SEQ + 1,
        missing: 0,
        responseBytes: 0,
        closing: false,
      });
      return [segment(TCP_FLAG.SYN | TCP_FLAG.ACK, FIRST_SEQ, seq + 1)];
    }
    if (known === undefined) {
      return [
        flags & TCP_FLAG.ACK
          ? segment(TCP_FLAG.RST, ack, 0)
          : segment(TCP_FLAG.RST | TCP_FLAG.ACK, 0, seq + 1),
      ];
    }
    if (flags & TCP_FLAG.FIN) {
      known.closing = true;
      known.expected = seq + payload.length + 1;
      return [segment(TCP_FLAG.FIN | TCP_FLAG.ACK, known.next, known.expected)];
    }
    if (known.closing) this.#accepted.delete(key);
    if (payload.length > 0 && this.#recorded) {
      return [segment(TCP_FLAG.ACK, known.next, seq + payload.length)];
    }
    if (payload.length === 0 || seq !== known.expected) return [];
    return take(known, payload);
  }
}

/** The next part of a request; with its last part comes the response. */
function take(known: Accepted, payload: Uint8Array): Answer[] {
  if (known.missing === 0) {
    const view = new DataView(payload.buffer, payload.byteOffset);
    known.missing = view.getUint32(0);
    known.responseBytes = view.getUint32(4);
  }
  known.expected += payload.length;
  known.missing -= payload.length;
  if (known.missing > 0) return [];
  const answers: Answer[] = [];
  for (let left = known.responseBytes; left > 0; left -= SEGMENT_BYTES) {
    const length = Math.min(left, SEGMENT_BYTES);
    answers.push({
      flags: TCP_FLAG.ACK | TCP_FLAG.PSH,
      seq: known.next,
      ack: known.expected,
      payload: new Uint8Array(length),
    });
    known.next += length;
  }
  return answers;
}

function answerDatagram({ payload }: Packet): Answer[] {
  if (payload.length < REQUEST_HEADER_BYTES) return [];
  const response = new Uint8Array(
    Math.max(REQUEST_HEADER_BYTES, new DataView(payload.buffer, payload.byteOffset).getUint32(4)),
  );
  response.set(payload.subarray(0, REQUEST_HEADER_BYTES));
  return [{ flags: 0, seq: 0, ack: 0, payload: response }];
}

const segment = (flags: number, seq: number, ack: number): Answer => ({ flags, seq, ack, payload: NOTHING });

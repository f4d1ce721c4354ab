/**
 * The TCP state of a flow, from the flags and directions of the packets seen; nf_conntrack's states (RFC 9293
 * as an observer sees it). It decides only how long a flow lives and whether a SYN may begin the flow anew:
 * a packet of a known flow is translated in every state, in or out of window.
 */
import { TCP_FLAG } from '../wire/tcp.js';
import { DIRECTION } from './entry.js';

export const TCP_STATE = {
  NONE: 0,
  SYN_SENT: 1,
  SYN_RECV: 2,
  ESTABLISHED: 3,
  FIN_WAIT: 4,
  CLOSE_WAIT: 5,
  LAST_ACK: 6,
  TIME_WAIT: 7,
  CLOSE: 8,
} as const;
export const TCP_STATE_COUNT = 9;

/** What a segment does to the state: RST before SYN before FIN before plain ACK. */
const SEGMENT = { OTHER: 0, ACK: 1, FIN: 2, SYN: 3, SYN_ACK: 4, RST: 5 } as const;
const SEGMENT_COUNT = 6;

/** The segment class of each value of the flag byte. */
const SEGMENT_OF = new Uint8Array(256);
for (let flags = 0; flags < 256; flags++) {
  const ack = (flags & TCP_FLAG.ACK) !== 0;
  if (flags & TCP_FLAG.RST) SEGMENT_OF[flags] = SEGMENT.RST;
  else if (flags & TCP_FLAG.SYN) SEGMENT_OF[flags] = ack ? SEGMENT.SYN_ACK : SEGMENT.SYN;
  else if (flags & TCP_FLAG.FIN) SEGMENT_OF[flags] = SEGMENT.FIN;
  else if (ack) SEGMENT_OF[flags] = SEGMENT.ACK;
}

/** NEXT[(direction * SEGMENT_COUNT + segment) * TCP_STATE_COUNT + state] */
const NEXT = new Uint8Array(2 * SEGMENT_COUNT * TCP_STATE_COUNT);

const rowOf = (direction: number, segment: number): number =>
  (direction * SEGMENT_COUNT + segment) * TCP_STATE_COUNT;

function on(directions: number[], segment: number, from: number[], to: number): void {
  for (const direction of directions) for (const state of from) NEXT[rowOf(direction, segment) + state] = to;
}

// A segment that the rules below do not name leaves the state as it is.
for (let at = 0; at < NEXT.length; at++) NEXT[at] = at % TCP_STATE_COUNT;
{
  const S = TCP_STATE;
  const ORIGINAL = [DIRECTION.ORIGINAL];
  const REPLY = [DIRECTION.REPLY];
  const BOTH = [DIRECTION.ORIGINAL, DIRECTION.REPLY];
  on(ORIGINAL, SEGMENT.SYN, [S.NONE, S.TIME_WAIT, S.CLOSE], S.SYN_SENT);
  on(REPLY, SEGMENT.SYN_ACK, [S.SYN_SENT], S.SYN_RECV);
  on(ORIGINAL, SEGMENT.ACK, [S.NONE, S.SYN_RECV], S.ESTABLISHED); // NONE: picked up in mid-stream (tcp_loose)
  on(BOTH, SEGMENT.FIN, [S.SYN_RECV, S.ESTABLISHED], S.FIN_WAIT);
  on(BOTH, SEGMENT.ACK, [S.FIN_WAIT], S.CLOSE_WAIT);
  on(BOTH, SEGMENT.FIN, [S.FIN_WAIT, S.CLOSE_WAIT], S.LAST_ACK);
  on(BOTH, SEGMENT.ACK, [S.LAST_ACK], S.TIME_WAIT);
  on(
    BOTH,
    SEGMENT.RST,
    [S.SYN_SENT, S.SYN_RECV, S.ESTABLISHED, S.FIN_WAIT, S.CLOSE_WAIT, S.LAST_ACK, S.TIME_WAIT],
    S.CLOSE,
  );
}

/** @param flags the flag byte of the segment @returns the state after it */
export const nextTcpState = (state: number, direction: number, flags: number): number =>
  NEXT[rowOf(direction, SEGMENT_OF[flags]) + state];

/** Whether a segment may begin a flow. A stray FIN, RST or SYN-ACK belongs to a flow that is gone. */
export const tcpMayBegin = (flags: number): boolean =>
  nextTcpState(TCP_STATE.NONE, DIRECTION.ORIGINAL, flags) !== 0;

/**
 * Whether a segment of a known flow is a new connection over the same tuple: its endpoint is chosen anew.
 * (nf_conntrack_proto_tcp.c deletes the entry on a SYN in TIME_WAIT or CLOSE.)
 */
export const tcpReopens = (state: number, direction: number, flags: number): boolean =>
  state >= TCP_STATE.TIME_WAIT && direction === DIRECTION.ORIGINAL && SEGMENT_OF[flags] === SEGMENT.SYN;

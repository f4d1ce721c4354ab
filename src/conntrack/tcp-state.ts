/**
 * The TCP state of a flow, from the flags and directions of the segments seen: nf_conntrack's states and transitions
 * (net/netfilter/nf_conntrack_proto_tcp.c) as far as an observer goes who keeps no windows. It decides only how long a
 * flow lives and whether a SYN may begin it anew: a packet of a known flow is translated in every state, in or out of
 * window, valid or not.
 *
 *   state byte: the state in bits 0 to 3, TCP_MARK in bit 4. What the mark remembers depends on the state:
 *     SYN_RECV                                       both sides sent a SYN (simultaneous open)
 *     ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK    a SYN of the client was the last segment
 *     CLOSE                                          the RST came from the endpoint
 *
 * Three transitions are not nf_conntrack's, since it has sequence numbers to go by, or lets packets by untranslated:
 * a SYN-ACK answers a SYN over a connection whatever it acknowledges; a sender of an RST that goes on with an ACK has
 * not ended the connection (RFC 6146 section 3.5.2.2, state TRANS; a forged RST is without effect); and a SYN of the
 * endpoint in TIME_WAIT opens the same flow again, not an untranslated one.
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
  /** Both sides have sent a SYN. */
  SYN_SENT2: 9,
} as const;
export const TCP_MARK = 16;
/** Values of the state byte, mark included. A power of two: a byte that a damaged file holds is masked by it. */
export const TCP_STATE_COUNT = 32;

/** What a segment does to the state. */
const SEGMENT = { OTHER: 0, ACK: 1, FIN: 2, SYN: 3, SYN_ACK: 4, RST: 5 } as const;
const SEGMENT_COUNT = 6;

/**
 * The combinations that TCP has a meaning for, PSH and the bits of ECN aside: nf_conntrack's tcp_valid_flags. URG goes with a
 * SYN, since some stacks send urgent data with it.
 */
const VALID: readonly number[] = [
  TCP_FLAG.SYN,
  TCP_FLAG.SYN | TCP_FLAG.URG,
  TCP_FLAG.SYN | TCP_FLAG.ACK,
  TCP_FLAG.RST,
  TCP_FLAG.RST | TCP_FLAG.ACK,
  TCP_FLAG.FIN | TCP_FLAG.ACK,
  TCP_FLAG.FIN | TCP_FLAG.ACK | TCP_FLAG.URG,
  TCP_FLAG.ACK,
  TCP_FLAG.ACK | TCP_FLAG.URG,
];
const MEANINGFUL = TCP_FLAG.FIN | TCP_FLAG.SYN | TCP_FLAG.RST | TCP_FLAG.ACK | TCP_FLAG.URG;

/** The segment class of each value of the flag byte; an invalid combination (SYN with FIN, ...) is OTHER. */
const SEGMENT_OF = new Uint8Array(256);
for (let flags = 0; flags < 256; flags++) {
  const ack = (flags & TCP_FLAG.ACK) !== 0;
  if (!VALID.includes(flags & MEANINGFUL)) SEGMENT_OF[flags] = SEGMENT.OTHER;
  else if (flags & TCP_FLAG.RST) SEGMENT_OF[flags] = SEGMENT.RST;
  else if (flags & TCP_FLAG.SYN) SEGMENT_OF[flags] = ack ? SEGMENT.SYN_ACK : SEGMENT.SYN;
  else SEGMENT_OF[flags] = flags & TCP_FLAG.FIN ? SEGMENT.FIN : SEGMENT.ACK;
}

/** NEXT[(direction * SEGMENT_COUNT + segment) * TCP_STATE_COUNT + state byte] */
const NEXT = new Uint8Array(2 * SEGMENT_COUNT * TCP_STATE_COUNT);

const rowOf = (direction: number, segment: number): number =>
  (direction * SEGMENT_COUNT + segment) * TCP_STATE_COUNT;

function on(directions: number[], segment: number, from: number[], to: number): void {
  for (const direction of directions) for (const state of from) NEXT[rowOf(direction, segment) + state] = to;
}

// A segment that the rules below do not name leaves the state as it is: what nf_conntrack ignores or calls invalid.
for (let at = 0; at < NEXT.length; at++) NEXT[at] = at % TCP_STATE_COUNT;
{
  const S = TCP_STATE;
  const ORIGINAL = [DIRECTION.ORIGINAL];
  const REPLY = [DIRECTION.REPLY];
  const BOTH = [DIRECTION.ORIGINAL, DIRECTION.REPLY];
  const OPEN = [S.ESTABLISHED, S.FIN_WAIT, S.CLOSE_WAIT, S.LAST_ACK];
  const markOf = (state: number): number => state | TCP_MARK;
  const SYN_RECV_BOTH = markOf(S.SYN_RECV);
  const CLOSED_BY_ENDPOINT = markOf(S.CLOSE);

  // Opening.
  on(ORIGINAL, SEGMENT.SYN, [S.NONE, S.TIME_WAIT, S.CLOSE, CLOSED_BY_ENDPOINT], S.SYN_SENT);
  on(REPLY, SEGMENT.SYN_ACK, [S.SYN_SENT], S.SYN_RECV);
  on(ORIGINAL, SEGMENT.ACK, [S.NONE, S.SYN_RECV], S.ESTABLISHED); // NONE: picked up in mid-stream (tcp_loose)
  // Simultaneous open: SYN and SYN, then SYN-ACK or ACK of either.
  on(REPLY, SEGMENT.SYN, [S.SYN_SENT, S.TIME_WAIT], S.SYN_SENT2);
  on(BOTH, SEGMENT.SYN_ACK, [S.SYN_SENT2], SYN_RECV_BOTH);
  on(BOTH, SEGMENT.ACK, [SYN_RECV_BOTH], S.ESTABLISHED);
  // Closing, from either side.
  on(BOTH, SEGMENT.FIN, [S.SYN_RECV, SYN_RECV_BOTH, S.ESTABLISHED], S.FIN_WAIT);
  on(BOTH, SEGMENT.ACK, [S.FIN_WAIT], S.CLOSE_WAIT);
  on(BOTH, SEGMENT.FIN, [S.FIN_WAIT, S.CLOSE_WAIT], S.LAST_ACK);
  on(BOTH, SEGMENT.ACK, [S.LAST_ACK], S.TIME_WAIT);
  // A SYN over a connection is passed on. The endpoint answers it with a SYN-ACK if it knows of no connection, so that
  // a new one begins with the same endpoint; else with an ACK (RFC 5961 section 4), which is not the last of this one.
  for (const state of OPEN) {
    for (const segment of [SEGMENT.ACK, SEGMENT.FIN])
      for (const direction of BOTH)
        on([direction], segment, [markOf(state)], NEXT[rowOf(direction, segment) + state]);
    on(ORIGINAL, SEGMENT.SYN, [state], markOf(state));
    on(REPLY, SEGMENT.SYN_ACK, [markOf(state)], S.SYN_RECV);
  }
  on(REPLY, SEGMENT.ACK, [markOf(S.LAST_ACK)], S.LAST_ACK);
  // Resetting, in every state; and going on after it.
  const ANY = Object.values(S).filter((state) => state !== S.NONE);
  on(ORIGINAL, SEGMENT.RST, [...ANY, ...ANY.map(markOf)], S.CLOSE);
  on(REPLY, SEGMENT.RST, [...ANY, ...ANY.map(markOf)], CLOSED_BY_ENDPOINT);
  on(ORIGINAL, SEGMENT.ACK, [S.CLOSE], S.ESTABLISHED);
  on(REPLY, SEGMENT.ACK, [CLOSED_BY_ENDPOINT], S.ESTABLISHED);
}

/** @param flags the flag byte of the segment @returns the state byte after it */
export const nextTcpState = (state: number, direction: number, flags: number): number =>
  NEXT[rowOf(direction, SEGMENT_OF[flags]) + (state & (TCP_STATE_COUNT - 1))];

/** The TCP_STATE of a state byte. */
export const tcpStateOf = (state: number): number => state & (TCP_MARK - 1);

/** Whether a segment may begin a flow: a SYN or an ACK. A stray FIN, RST or SYN-ACK belongs to a flow that is gone. */
export const tcpMayBegin = (flags: number): boolean =>
  nextTcpState(TCP_STATE.NONE, DIRECTION.ORIGINAL, flags) !== 0;

/**
 * Whether a segment of a known flow is a new connection over the same tuple: its endpoint is chosen anew.
 * (nf_conntrack_proto_tcp.c deletes the entry on a SYN in TIME_WAIT or CLOSE.)
 */
export const tcpReopens = (state: number, direction: number, flags: number): boolean =>
  (state === TCP_STATE.TIME_WAIT || tcpStateOf(state) === TCP_STATE.CLOSE) &&
  direction === DIRECTION.ORIGINAL &&
  SEGMENT_OF[flags] === SEGMENT.SYN;

/**
 * The state of an SCTP association, from the first chunk of each packet: nf_conntrack's states
 * (net/netfilter/nf_conntrack_proto_sctp.c) in outline, without verification tags and without the chunks behind the
 * first, which are data in all but rare packets. Like TCP's it decides only how long a flow lives.
 */
import { DIRECTION } from './entry.js';

export const SCTP_STATE = {
  NONE: 0,
  CLOSED: 1,
  COOKIE_WAIT: 2,
  COOKIE_ECHOED: 3,
  ESTABLISHED: 4,
  SHUTDOWN_SENT: 5,
  SHUTDOWN_RECD: 6,
  SHUTDOWN_ACK_SENT: 7,
  HEARTBEAT_SENT: 8,
} as const;
/** A power of two: a byte that a damaged file holds is masked by it. */
export const SCTP_STATE_COUNT = 16;

/** Chunk types, RFC 9260 section 3.2. */
export const SCTP_CHUNK = {
  DATA: 0,
  INIT: 1,
  INIT_ACK: 2,
  HEARTBEAT: 4,
  HEARTBEAT_ACK: 5,
  ABORT: 6,
  SHUTDOWN: 7,
  SHUTDOWN_ACK: 8,
  COOKIE_ECHO: 10,
  COOKIE_ACK: 11,
  SHUTDOWN_COMPLETE: 14,
  /** Any type that has no rule. */
  OTHER: 15,
} as const;

/** NEXT[(direction * 16 + chunk) * SCTP_STATE_COUNT + state] */
const NEXT = new Uint8Array(2 * 16 * SCTP_STATE_COUNT);

const rowOf = (direction: number, chunk: number): number => (direction * 16 + chunk) * SCTP_STATE_COUNT;

function on(directions: number[], chunk: number, from: number[], to: number): void {
  for (const direction of directions) for (const state of from) NEXT[rowOf(direction, chunk) + state] = to;
}

for (let at = 0; at < NEXT.length; at++) NEXT[at] = at % SCTP_STATE_COUNT;
{
  const S = SCTP_STATE;
  const C = SCTP_CHUNK;
  const ORIGINAL = [DIRECTION.ORIGINAL];
  const REPLY = [DIRECTION.REPLY];
  const BOTH = [DIRECTION.ORIGINAL, DIRECTION.REPLY];
  // Picked up in mid-stream, as TCP is; the rules below say otherwise for chunks that begin something.
  for (let chunk = 0; chunk < 16; chunk++) on(ORIGINAL, chunk, [S.NONE], S.ESTABLISHED);
  on(ORIGINAL, C.INIT, [S.NONE, S.CLOSED, S.HEARTBEAT_SENT], S.COOKIE_WAIT);
  on(BOTH, C.INIT, [S.SHUTDOWN_SENT, S.SHUTDOWN_RECD], S.CLOSED);
  on(REPLY, C.INIT_ACK, [S.CLOSED], S.COOKIE_WAIT);
  on(BOTH, C.COOKIE_ECHO, [S.COOKIE_WAIT], S.COOKIE_ECHOED);
  on(BOTH, C.COOKIE_ACK, [S.COOKIE_ECHOED], S.ESTABLISHED);
  on(ORIGINAL, C.SHUTDOWN, [S.ESTABLISHED], S.SHUTDOWN_SENT);
  on(REPLY, C.SHUTDOWN, [S.ESTABLISHED], S.SHUTDOWN_RECD);
  on(ORIGINAL, C.SHUTDOWN_ACK, [S.NONE], S.SHUTDOWN_ACK_SENT);
  on(BOTH, C.SHUTDOWN_ACK, [S.SHUTDOWN_SENT, S.SHUTDOWN_RECD], S.SHUTDOWN_ACK_SENT);
  on(BOTH, C.SHUTDOWN_COMPLETE, [S.SHUTDOWN_ACK_SENT], S.CLOSED);
  on(ORIGINAL, C.HEARTBEAT, [S.NONE], S.HEARTBEAT_SENT);
  on(REPLY, C.HEARTBEAT_ACK, [S.HEARTBEAT_SENT], S.ESTABLISHED);
  for (let state = S.NONE; state <= S.HEARTBEAT_SENT; state++) on(BOTH, C.ABORT, [state], S.CLOSED);
}

/** @param chunk type of the first chunk @returns the state after it */
export const nextSctpState = (state: number, direction: number, chunk: number): number =>
  NEXT[rowOf(direction, Math.min(chunk, SCTP_CHUNK.OTHER)) + (state & (SCTP_STATE_COUNT - 1))];

/**
 * One flow's record in the mapped file: 64 bytes for IPv4, one cache line, and 128 for IPv6. Offsets are in 32-bit
 * words.
 *
 *    0 STATUS   1 EXPIRES   2 DELTAS   3 ENDPOINT
 *    4 PACKETS (original, reply)       6 BYTES (original, reply: two 64-bit floats)
 *   10 ORIGINAL tuple: src dst ports, then the REPLY tuple: src dst ports
 *
 * The two tuples are written as they arrive (nf_conntrack's model): ORIGINAL is client to frontend, REPLY is
 * endpoint to client or to the SNAT address. A packet that matches one is rewritten to the reverse of the other.
 * Written by the worker that owns the flow and by nobody else.
 */
export const ENTRY = {
  STATUS: 0,
  /** Second (monotonic clock) from which on the flow is gone. */
  EXPIRES: 1,
  /** Low half: delta of the addresses; high half: delta of addresses and ports (see wire/checksum.ts). */
  DELTAS: 2,
  /** Id of the endpoint: its counter row and its state in the service table. */
  ENDPOINT: 3,
  PACKETS: 4,
  BYTES: 6,
  ORIGINAL: 10,
} as const;

/** Words of an entry, by family: the tuples behind the common part, rounded up to whole cache lines; first as a power of two. */
export const ENTRY_SHIFT = [4, 5] as const;
export const ENTRY_WORDS = ENTRY_SHIFT.map((shift) => 1 << shift);

/** Direction of a packet within its flow: the low bit of a FlowRef. */
export const DIRECTION = { ORIGINAL: 0, REPLY: 1 } as const;

/**
 * STATUS: IP protocol in bits 0 to 7, state of the protocol in bits 8 to 15, flags above. The names are those of
 * nf_conntrack's `enum ip_conntrack_status`; LIVE is its "confirmed": without it the record is free. The state is that of
 * tcp-state.ts or sctp-state.ts; of UDP, the low byte of the second in which the flow began.
 */
export const STATUS = {
  PROTOCOL_MASK: 0xff,
  STATE_SHIFT: 8,
  STATE_MASK: 0xff00,
  LIVE: 1 << 16,
  SEEN_REPLY: 1 << 17,
  ASSURED: 1 << 18,
  SRC_NAT: 1 << 19,
  DST_NAT: 1 << 20,
  /** A connection that was given to another endpoint: what this one still says reaches nobody. */
  ABANDONED: 1 << 21,
  /** TCP: shifted by the direction, that side has sent data, and the other has not sent an ACK since. */
  UNACKED: 1 << 22,
  UNACKED_MASK: 3 << 22,
} as const;

/**
 * One flow's record: 64 bytes, one cache line, in the mapped file. Offsets are in 32-bit words.
 *
 *    0 STATUS   1 EXPIRES   2 DELTAS   3 ENDPOINT
 *    4 PACKETS (original, reply)       6 BYTES (original, reply: two 64-bit floats)
 *   10 ORIGINAL tuple: src dst ports  13 REPLY tuple: src dst ports
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
  /** Counter row of the endpoint. */
  ENDPOINT: 3,
  PACKETS: 4,
  BYTES: 6,
  ORIGINAL: 10,
  REPLY: 13,
  WORDS: 16,
} as const;

export const ENTRY_BYTES = ENTRY.WORDS * 4;

/** Offsets inside a tuple: the order of an IPv4 header, so that tuple and packet compare word by word. */
export const TUPLE = { SRC: 0, DST: 1, PORTS: 2, WORDS: 3 } as const;

/** Direction of a packet within its flow: the low bit of a FlowRef. */
export const DIRECTION = { ORIGINAL: 0, REPLY: 1 } as const;

/**
 * STATUS: IP protocol in bits 0 to 7, TCP state in bits 8 to 15, flags above. The names are those of
 * nf_conntrack's `enum ip_conntrack_status`; LIVE is its "confirmed": without it the record is free.
 */
export const STATUS = {
  PROTOCOL_MASK: 0xff,
  TCP_STATE_SHIFT: 8,
  TCP_STATE_MASK: 0xff00,
  LIVE: 1 << 16,
  SEEN_REPLY: 1 << 17,
  ASSURED: 1 << 18,
  SRC_NAT: 1 << 19,
  DST_NAT: 1 << 20,
} as const;

/** Word offset of the tuple of a direction. */
export const tupleAt = (entryAt: number, direction: number): number =>
  entryAt + ENTRY.ORIGINAL + direction * TUPLE.WORDS;

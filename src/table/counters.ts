/**
 * Where each counter stands in a worker's counters file: 64-bit floats (exact to 2^53), one file a worker, so
 * that each has a single writer and no counter needs an atomic. Readers map or read the file at any time.
 *
 *   totals (COUNTER.*, then one count a drop reason) | one row of ENDPOINT_ROW.SIZE for each endpoint id
 */

/**
 * Totals. Every packet read counts in RECEIVED and in exactly one of FORWARDED, PASSED, REJECTED, RESET, RETRIED, ECHOED or a
 * drop reason, when its fate is known; until then in HELD, or in the difference of HANDED_OFF and TAKEN_OVER.
 */
export const COUNTER = {
  RECEIVED: 0,
  RECEIVED_BYTES: 1,
  FORWARDED: 2,
  PASSED: 3,
  REJECTED: 4,
  FLOWS_CREATED: 5,
  FLOWS_REAPED: 6,
  BATCHES: 7,
  /** Answered with RST: the endpoint is gone, and the Service wants such connections ended. */
  RESET: 8,
  /** Refusals of an endpoint that were not passed on: the connection is being made with another one. */
  RETRIED: 9,
  /** SYNs sent again, after a refusal or after silence; not packets that were read. */
  RETRIES: 10,
  /** Packets sent that no packet read stands behind. */
  INJECTED: 11,
  /** Goes up and down: fragments that wait for the first of their datagram. */
  HELD: 12,
  /** Flows that were not ASSURED and made room for new ones in a full table (nf_conntrack's early_drop). */
  FLOWS_EVICTED: 13,
  /** Packets given to the worker that owns them, which counts them as taken over and gives them their outcome. */
  HANDED_OFF: 14,
  TAKEN_OVER: 15,
  /** ICMP errors not sent, because there were too many (see dataplane/icmp-limit.ts); the packets have their outcome all the same. */
  ICMP_SUPPRESSED: 16,
  /** Echo requests to our addresses that were answered. */
  ECHOED: 17,
  /** DROPPED + a drop reason: how many packets were dropped for it. */
  DROPPED: 18,
} as const;

/** Room for totals, so that endpoint rows begin on a cache line of their own. */
export const TOTALS = 64;

/** Packets and bytes (IP length) of an endpoint, by direction; a GSO super-packet counts as one packet. */
export const ENDPOINT_ROW = {
  PACKETS_ORIGINAL: 0,
  BYTES_ORIGINAL: 1,
  PACKETS_REPLY: 2,
  BYTES_REPLY: 3,
  FLOWS_CREATED: 4,
  SIZE: 8,
} as const;

/** Ids from 1 to this minus one have a row each; id 0 takes what has none (more endpoints than rows). */
export const ENDPOINT_ROWS = 1 << 18;
export const UNLISTED_ENDPOINT = 0;

/** Index of the first counter of an endpoint's row. */
export const endpointRow = (id: number): number => TOTALS + id * ENDPOINT_ROW.SIZE;

/** Size of a counters file: 16 MiB, of which a small cluster touches a page or two. */
export const COUNTERS_BYTES = endpointRow(ENDPOINT_ROWS) * Float64Array.BYTES_PER_ELEMENT;

/**
 * The bytes of a compiled service table: what the control plane writes and the workers read, and nothing else
 * passes between the two planes about Services. One buffer of 32-bit words; the numbers below are word offsets.
 *
 *   header | frontends (a hash table of fixed records) | endpoints (records, those of a frontend side by side)
 *          | cascade (thresholds of the iptables random cascade, by the number of endpoints still to go)
 *
 * Written once by `TableBuilder`, never changed after; a change of Services is a new buffer.
 */
export const TABLE_MAGIC = 0x666c6f77; // "flow"
export const TABLE_VERSION = 1;

export const HEADER = {
  MAGIC: 0,
  VERSION: 1,
  /** Length of the whole buffer in words. */
  WORDS: 2,
  /** Slots of the frontend hash table minus one; a power of two minus one. */
  FRONTEND_MASK: 3,
  FRONTENDS_AT: 4,
  FRONTEND_COUNT: 5,
  ENDPOINTS_AT: 6,
  ENDPOINT_COUNT: 7,
  CASCADE_AT: 8,
  /** The longest probe that any key needs: a lookup never walks further. */
  PROBES_MAX: 9,
  SIZE: 16,
} as const;

/** A frontend: one (address, port, protocol) that the proxy answers for. */
export const FRONTEND = {
  ADDRESS: 0,
  /** `frontendKey(portHalf, protocol)`; 0 marks an empty slot. */
  KEY: 1,
  /** Index of the first endpoint record. */
  ENDPOINT_FIRST: 2,
  ENDPOINT_COUNT: 3,
  SIZE: 4,
} as const;

export const ENDPOINT = {
  ADDRESS: 0,
  /** Port as a half. */
  PORT: 1,
  /** Row of this endpoint's counters; the same for as long as the Service port has the endpoint. */
  ID: 2,
  SIZE: 4,
} as const;

/**
 * The key of a frontend beside its address; never 0. With port and protocol 0 it stands for the address itself:
 * present for every address that has frontends, so that an unserved port of a VIP is told from a foreign address.
 */
export const frontendKey = (portHalf: number, protocol: number): number =>
  0x8000_0000 | (protocol << 16) | portHalf;

export const WHOLE_ADDRESS = frontendKey(0, 0);

/**
 * The probability of one rule of kube-proxy's cascade as a threshold on a 31-bit draw: the rule matches when
 * the draw is below it. kube-proxy prints 1/n with ten digits (proxier.go, computeProbability) and iptables
 * stores the nearest multiple of 2^-31 (libxt_statistic.c), which is why 1/3 reads back as 0.33333333349.
 * @param remaining endpoints still to go, 2 or more (the last rule has no probability)
 * @returns 1 to 2^30
 */
export const cascadeThreshold = (remaining: number): number =>
  Math.round(Number((1 / remaining).toFixed(10)) * 0x8000_0000);

/**
 * The bytes of a compiled service table: what the control plane writes and the workers read, and nothing else
 * passes between the two planes about Services. One buffer of 32-bit words; the numbers below are word offsets.
 *
 *   header | places: a hash table of (address, port, protocol), and of our addresses
 *          | frontends: kind and Service port of what has the place of the same number
 *          | displacements: what keeps the places from meeting, see displace.ts
 *          | addresses: of IPv6 frontends
 *          | ports: Service ports, each with its endpoint sets, policies and ranges
 *          | endpoints: records; those of one set stand side by side
 *          | prefixes: networks and masks; those of one list stand side by side
 *          | states: what becomes of flows to each endpoint id
 *          | cascade: thresholds of the iptables random cascade, by the number of endpoints still to go
 *          | maglev: lookup tables of MAGLEV_SIZE indexes
 *
 * Addresses of endpoints and prefixes take four words, an IPv4 address its first, so that both families share the records. A
 * place has one, so that eight of them fill a cache line: an IPv6 address stands elsewhere, and so does what only a lookup that has
 * found its place asks for. Written once by `TableBuilder`, never changed after; a change of Services is a new buffer.
 */
import { ADDRESS_WORDS_MAX } from '../wire/family.js';

export const TABLE_MAGIC = 0x666c6f77; // "flow"
export const TABLE_VERSION = 4;

export const HEADER = {
  MAGIC: 0,
  VERSION: 1,
  /** Length of the whole buffer in words. */
  WORDS: 2,
  /** Bits of TABLE_FLAG. */
  FLAGS: 3,
  /** Number of places minus one; a power of two minus one. */
  PLACE_MASK: 4,
  PLACES_AT: 5,
  FRONTEND_COUNT: 6,
  /** Places that a lookup looks at: 1, save for keys that could not be parted. */
  PROBES_MAX: 7,
  ENDPOINT_COUNT: 8,
  /** Ids below it have a state. */
  STATE_COUNT: 9,
  STATES_AT: 10,
  CASCADE_AT: 11,
  /** Prefixes of pods (the local detector), and of ClusterIPs. */
  POD_PREFIXES: 12,
  SERVICE_PREFIXES: 14,
  /** Prefixes of links whose hosts answer each other directly. */
  LINK_PREFIXES: 16,
  /** Buckets of the places minus one, and where the bytes of their displacements begin. */
  BUCKET_MASK: 18,
  DISPLACEMENTS_AT: 19,
  FRONTENDS_AT: 20,
  SIZE: 32,
} as const;

export const TABLE_FLAG = {
  /** Masquerade all ClusterIP traffic (kube-proxy's masqueradeAll). */
  MASQUERADE_ALL: 1,
  /** Keep a source only for endpoints in the pods' prefixes that are not on one link with it; without prefixes never. */
  KEEP_SOURCE_FOR_PODS: 2,
  /** Echo requests to our addresses are answered. */
  ANSWER_PING: 4,
  /** nftables: source ranges come before the question whether there are endpoints. */
  RANGES_FIRST: 8,
  /** nftables: a NodePort that is closed for want of endpoints is so on NodePort addresses only. */
  CLOSED_NODE_PORTS_ON_NODE_PORT_ADDRESSES: 16,
  /** 127.0.0.0/8 counts as NodePort address. */
  LOOPBACK_NODE_PORTS: 32,
  /**
   * Shifted by the family: it has a local detector, so clients outside the pods' prefixes are masqueraded on their way to a
   * ClusterIP.
   */
  DETECT_LOCAL: 64,
} as const;

/** What a lookup compares. */
export const PLACE = {
  /** `frontendKey(...)`; 0 marks an empty place. */
  KEY: 0,
  /** The IPv4 address, or the offset of the IPv6 address. */
  ADDRESS: 1,
  SIZE: 2,
} as const;

/** A frontend: one (address, port, protocol) that the proxy answers for; or an address of ours as a whole. */
export const FRONTEND = {
  /** FRONTEND_KIND of a frontend, bits of ADDRESS_FLAG of a whole address. */
  KIND: 0,
  /** Offset of the Service port's record. */
  PORT: 1,
  SIZE: 2,
} as const;

export const FRONTEND_KIND = { CLUSTER_IP: 1, EXTERNAL_IP: 2, LOAD_BALANCER: 3, NODE_PORT: 4 } as const;

/** What is known of an address as a whole. */
export const ADDRESS_FLAG = {
  /** An address of this node: iptables' LOCAL. */
  LOCAL: 1,
  /** Answers on NodePorts. */
  NODE_PORTS: 2,
  /** A port that is not served is rejected. */
  REJECT_UNSERVED: 4,
} as const;

/** One Service port of one family. */
export const PORT = {
  /** Bits of PORT_FLAG. */
  FLAGS: 0,
  /** ALGORITHM. */
  ALGORITHM: 1,
  /** Offset of the first endpoint record, and how many: for policy Cluster, then for policy Local. */
  CLUSTER: 2,
  LOCAL: 4,
  /** Offset of the first prefix of loadBalancerSourceRanges, and how many; 0: no check. */
  RANGES: 6,
  /** Seconds of ClientIP affinity; 0: none. */
  AFFINITY_SEC: 8,
  /** Row of this Service port in the shared state: its turn in round robin; part of the key of its affinities. */
  ROW: 9,
  /** Offset of the Maglev lookup table of the CLUSTER set, then of LOCAL; 0: none. */
  MAGLEV: 10,
  SIZE: 12,
} as const;

export const PORT_FLAG = {
  /** internalTrafficPolicy Local. */
  INTERNAL_LOCAL: 1,
  /** externalTrafficPolicy Local. */
  EXTERNAL_LOCAL: 2,
  /** Some endpoint somewhere could serve. */
  HAS_ENDPOINTS: 4,
  /** A connection that cannot be made is tried with another endpoint. */
  RETRY: 8,
} as const;

/** How an endpoint is chosen from a set. */
export const ALGORITHM = {
  /** iptables: the cascade 1/n, 1/(n-1), ..., 1. */
  CASCADE: 0,
  /** nftables: numgen random mod n. */
  UNIFORM: 1,
  /** In turn. A set for weighted round robin holds an endpoint as often as it weighs. */
  ROUND_ROBIN: 2,
  LEAST_CONNECTION: 3,
  SHORTEST_EXPECTED_DELAY: 4,
  NEVER_QUEUE: 5,
  SOURCE_HASH: 6,
  MAGLEV: 7,
} as const;

export const ENDPOINT = {
  ADDRESS: 0,
  /** Port as a half. */
  PORT: ADDRESS_WORDS_MAX,
  /** Counter row of this endpoint; the same for as long as the Service port has the endpoint. */
  ID: ADDRESS_WORDS_MAX + 1,
  WEIGHT: ADDRESS_WORDS_MAX + 2,
  /** Bits of ENDPOINT_FLAG. */
  FLAGS: ADDRESS_WORDS_MAX + 3,
  SIZE: 8,
} as const;

export const ENDPOINT_FLAG = {
  IPV6: 1,
  /** Its address has nobody but Services behind it (ADDRESS_FLAG.REJECT_UNSERVED). */
  IS_SERVICE: 2,
} as const;

/** A network: an address is in it when (address & mask) equals it in every word. */
export const PREFIX = {
  NETWORK: 0,
  MASK: ADDRESS_WORDS_MAX,
  FAMILY: 2 * ADDRESS_WORDS_MAX,
  SIZE: 12,
} as const;

/**
 * What becomes of flows to an endpoint id, beside the second from which on they are reset (any number above 0). UDP
 * flows stay with a LIVE endpoint only; TCP flows also with one that is GONE.
 */
export const ENDPOINT_STATE = { GONE: 0, LIVE: -1 } as const;

/** Entries of a Maglev lookup table: the paper's small size, a prime (section 5.3: 65537 for up to 650 backends). */
export const MAGLEV_SIZE = 65_537;

/** The key of a frontend beside its address; never 0. */
export const frontendKey = (family: number, portHalf: number, protocol: number): number =>
  0x8000_0000 | (family << 24) | (protocol << 16) | portHalf;

/** The key of an address as a whole; a packet's own numbers, even all zeros, never make it. */
export const wholeAddressKey = (family: number): number => 0x2000_0000 | frontendKey(family, 0, 0);

/** The key of a NodePort, which is looked up without an address. */
export const nodePortKey = (family: number, portHalf: number, protocol: number): number =>
  0x4000_0000 | frontendKey(family, portHalf, protocol);

/**
 * The probability of one rule of kube-proxy's cascade as a threshold on a 31-bit draw: the rule matches when
 * the draw is below it. kube-proxy prints 1/n with ten digits (proxier.go, computeProbability) and iptables
 * stores the nearest multiple of 2^-31 (libxt_statistic.c), which is why 1/3 reads back as 0.33333333349.
 * @param remaining endpoints still to go, 2 or more (the last rule has no probability)
 * @returns 1 to 2^30
 */
export const cascadeThreshold = (remaining: number): number =>
  Math.round(Number((1 / remaining).toFixed(10)) * 0x8000_0000);

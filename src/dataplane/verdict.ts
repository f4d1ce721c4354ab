/**
 * What becomes of a packet. Every packet that is read ends in exactly one counted verdict; a drop has one reason,
 * and the reason is its counter (COUNTER.DROPPED + reason).
 */
export const Verdict = { Forward: 0, Pass: 1, Reject: 2, Drop: 3 } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export const DropReason = {
  None: 0,
  /** Shorter than the virtio-net header and an IP header. */
  ShortRead: 1,
  /** Neither IPv4 nor IPv6. */
  NotIp: 2,
  /** IPv6, which is not balanced yet. */
  Ipv6: 3,
  /** An IPv4 header or total length that does not fit the packet. */
  BadIpv4Header: 4,
  /** A fragment: without its ports there is no telling whose it is. Not reassembled yet. */
  Fragment: 5,
  /** To one of our addresses, of a protocol that is not balanced yet (ICMP, SCTP, ...). */
  UnsupportedProtocol: 6,
  /** A TCP header that does not fit the packet. */
  BadTcpHeader: 7,
  /** A UDP header or length that does not fit the packet. */
  BadUdpLength: 8,
  /** The virtio-net header asks for a checksum elsewhere than in the transport header. */
  BadPartialChecksum: 9,
  /** A FIN, RST or SYN-ACK to a Service from a connection that is not known. */
  TcpInvalid: 10,
  /** To the SNAT pool, of no known flow: it ended, or never was. */
  NoFlow: 11,
  /** No room in the flow table. */
  FlowTableFull: 12,
  /** No free source port towards the chosen endpoint in the SNAT pool. */
  SnatExhausted: 13,
  /** The kernel refused the packet when it was written back. */
  WriteFailed: 14,
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];

const KEBAB = /(?<=[a-z0-9])(?=[A-Z])/g;

/** The printable name of each reason, indexed by it: "flow-table-full". */
export const DROP_REASON_NAMES: readonly string[] = Object.keys(DropReason).map((name) =>
  name.replace(KEBAB, '-').toLowerCase(),
);

/** What `match` says of the destination of a packet that belongs to no flow. */
export const Match = {
  /** A frontend with endpoints: one is chosen. */
  Endpoint: 0,
  /** A frontend without endpoints. */
  NoEndpoints: 1,
  /** A port that is not served of an address that is ours. */
  UnservedPort: 2,
  /** An address of the SNAT pool. */
  SnatAddress: 3,
  /** Not our business. */
  NotAService: 4,
} as const;
export type Match = (typeof Match)[keyof typeof Match];

/**
 * What becomes of a packet. Every packet that is read ends in exactly one counted verdict; a drop has one reason,
 * and the reason is its counter (COUNTER.DROPPED + reason).
 */
export const Verdict = { Forward: 0, Pass: 1, Reject: 2, Drop: 3, Hold: 4, HandOff: 5 } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export const DropReason = {
  None: 0,
  /** Shorter than the virtio-net header and an IP header. */
  ShortRead: 1,
  /** Neither IPv4 nor IPv6. */
  NotIp: 2,
  /** An IPv6 extension header that leaves the packet, or too many of them. */
  BadIpv6Extension: 3,
  /** An IP header or its length that does not fit the packet. */
  BadIpHeader: 4,
  /** A fragment of a datagram whose first one was not let through, or whose flow has ended since. */
  Fragment: 5,
  /** To one of our addresses, of a protocol that is not balanced (ICMP, ...). */
  UnsupportedProtocol: 6,
  /** A TCP header that does not fit the packet. */
  BadTcpHeader: 7,
  /** A UDP header or length that does not fit the packet. */
  BadUdpLength: 8,
  /** The virtio-net header asks for a checksum elsewhere than in the transport header. */
  BadPartialChecksum: 9,
  /** A FIN, RST, SYN-ACK or an invalid combination of flags to a Service, from a connection that is not known. */
  TcpInvalid: 10,
  /** To the SNAT pool, of no known flow: it ended, or never was. */
  NoFlow: 11,
  /** No room in the flow table. */
  FlowTableFull: 12,
  /** No free source port towards the chosen endpoint. */
  SnatExhausted: 13,
  /** The kernel refused the packet when it was written back. */
  WriteFailed: 14,
  /** An SCTP header that does not fit the packet. */
  BadSctpHeader: 15,
  /** An SCTP packet whose CRC32c is wrong. */
  BadSctpChecksum: 16,
  /** The client is in none of the Service's loadBalancerSourceRanges. */
  SourceRange: 17,
  /** Traffic policy Local, and no endpoint on this node. */
  NoLocalEndpoints: 18,
  /** To an address of the Service CIDR that no Service has (nftables mode). */
  UnusedServiceAddress: 19,
  /** An RST from an endpoint that was given up. */
  Abandoned: 20,
  /** An ICMP error about one of our flows, whose checksum is wrong. */
  BadIcmpChecksum: 21,
  /** An ICMP error to one of our addresses that quotes no IP packet, or one of our flows with a wrong IP header checksum. */
  BadQuote: 22,
  /** An ICMP error to one of our addresses whose quote ends before the ports. */
  ShortQuote: 23,
  /** An ICMP error to one of our addresses about a fragment: without its ports there is no telling whose it is. */
  QuotedFragment: 24,
  /** An ICMP error about one of our flows that is not addressed to the sender of the packet it quotes. */
  StrayIcmpError: 25,
  /** A fragment without payload, or with more to follow and a length that is no multiple of 8. */
  BadFragment: 26,
  /** A fragment that ends behind the longest datagram there is (ping of death). */
  OversizedFragment: 27,
  /** A first fragment without a whole transport header, or one that would overwrite it (RFC 1858). */
  TinyFragment: 28,
  /** A fragment that overlaps others (RFC 5722): its datagram is refused from then on. */
  OverlappingFragment: 29,
  /** A fragment all of whose bytes were seen before. */
  DuplicateFragment: 30,
  /** A fragment whose first one did not come in time. */
  FragmentTimeout: 31,
  /** A fragment that came before the first one, and no room to hold it, or to hold it any longer. */
  FragmentNoRoom: 32,
  /** A fragment of a protocol that can be translated only whole (SCTP's CRC) or not at all. */
  UnsupportedFragment: 33,
  /** To one of our addresses, from one that no answer reaches: unspecified, multicast, broadcast, ... */
  MartianSource: 34,
  /** From and to the same address and port. */
  Land: 35,
  /** From an address that only Services have. */
  OwnSource: 36,
  /** A TTL or hop limit of 0: whoever counted it down should have dropped it. */
  TtlZero: 37,
  /** The chosen endpoint is itself the address of a Service. */
  EndpointIsService: 38,
  /** Another worker's, and the ring to it is full. */
  HandOffFull: 39,
  /** Handed over here by a worker that has another service table, and another worker's by ours. */
  WrongWorker: 40,
  /** A copy of an ICMP error to the node (see src/host/icmp-copies.ts), about no flow of ours: the kernel has had the error itself. */
  IcmpCopy: 41,
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
  /** A frontend that has endpoints, but none that this packet may have. */
  NoLocalEndpoints: 2,
  /** A load balancer address, and the client is in none of its ranges. */
  SourceRange: 3,
  /** A port that is not served of an address that answers so. */
  UnservedPort: 4,
  /** An address of the Service CIDR that no Service has. */
  UnusedServiceAddress: 5,
  /** An address of the SNAT pool. */
  SnatAddress: 6,
  /** Not our business. */
  NotAService: 7,
  /** A frontend with endpoints, but the packet may begin no flow: nothing was chosen. */
  Unfit: 8,
  /** The chosen endpoint is itself the address of a Service. */
  EndpointIsService: 9,
} as const;
export type Match = (typeof Match)[keyof typeof Match];

/** ICMP header of an echo or error message, RFC 792. Byte offsets from the start of the header. */
export const ICMPV4 = { TYPE: 0, CODE: 1, CHECK: 2, REST: 4, QUOTE_LENGTH: 5, SIZE: 8 } as const;

/** Echo, and error messages. Source quench (4) is obsolete (RFC 6633) and redirects (5) are for the link they were sent on. */
export const ICMPV4_TYPE = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
} as const;

/** Codes of DESTINATION_UNREACHABLE. */
export const ICMPV4_UNREACHABLE = { PORT: 3, FRAGMENTATION_NEEDED: 4, PROHIBITED: 13 } as const;

/** Whether a message of this type quotes a packet and tells its sender what became of it. */
export const icmpv4IsError = (type: number): boolean =>
  type === ICMPV4_TYPE.DESTINATION_UNREACHABLE ||
  type === ICMPV4_TYPE.TIME_EXCEEDED ||
  type === ICMPV4_TYPE.PARAMETER_PROBLEM;

/** Bytes of the quote that the header states (RFC 4884 section 4: in words); 0: up to the end of the message. */
export const icmpv4QuoteBytes = (bytes: Uint8Array, at: number): number =>
  bytes[at + ICMPV4.QUOTE_LENGTH] << 2;

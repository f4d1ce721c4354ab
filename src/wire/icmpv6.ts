/** ICMPv6 header of an echo or error message, RFC 4443. Byte offsets from the start of the header. */
export const ICMPV6 = { TYPE: 0, CODE: 1, CHECK: 2, REST: 4, QUOTE_LENGTH: 4, SIZE: 8 } as const;

export const ICMPV6_TYPE = {
  DESTINATION_UNREACHABLE: 1,
  PACKET_TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
} as const;

/** Codes of DESTINATION_UNREACHABLE. */
export const ICMPV6_UNREACHABLE = { PROHIBITED: 1, PORT: 4 } as const;

/** Whether a message of this type quotes a packet and tells its sender what became of it. */
export const icmpv6IsError = (type: number): boolean =>
  type >= ICMPV6_TYPE.DESTINATION_UNREACHABLE && type <= ICMPV6_TYPE.PARAMETER_PROBLEM;

/**
 * Bytes of the quote that the header states (RFC 4884 section 4: in units of 8); 0: up to the end of the message. In the
 * other types an MTU or a pointer stands there.
 */
export const icmpv6QuoteBytes = (bytes: Uint8Array, at: number): number =>
  bytes[at] === ICMPV6_TYPE.DESTINATION_UNREACHABLE || bytes[at] === ICMPV6_TYPE.TIME_EXCEEDED
    ? bytes[at + ICMPV6.QUOTE_LENGTH] << 3
    : 0;

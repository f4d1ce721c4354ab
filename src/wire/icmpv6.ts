/** ICMPv6 header of an error message, RFC 4443. Byte offsets from the start of the header. */
export const ICMPV6 = { TYPE: 0, CODE: 1, CHECK: 2, REST: 4, SIZE: 8 } as const;

export const ICMPV6_TYPE = { DESTINATION_UNREACHABLE: 1 } as const;

/** Codes of DESTINATION_UNREACHABLE. */
export const ICMPV6_UNREACHABLE = { PORT: 4 } as const;

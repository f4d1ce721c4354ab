/** ICMP header of an error message, RFC 792. Byte offsets from the start of the header. */
export const ICMPV4 = { TYPE: 0, CODE: 1, CHECK: 2, REST: 4, SIZE: 8 } as const;

export const ICMPV4_TYPE = { DESTINATION_UNREACHABLE: 3 } as const;

/** Codes of DESTINATION_UNREACHABLE. */
export const ICMPV4_UNREACHABLE = { PORT: 3 } as const;

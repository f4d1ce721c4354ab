/** IPv4 header, RFC 791. Byte offsets from the start of the header. */
export const IPV4 = {
  VERSION_IHL: 0,
  TOS: 1,
  TOTAL_LENGTH: 2,
  ID: 4,
  FLAGS_FRAGMENT: 6,
  TTL: 8,
  PROTOCOL: 9,
  CHECK: 10,
  SRC: 12,
  DST: 16,
  SIZE: 20,
} as const;

/** Protocol numbers (IANA). */
export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58, SCTP: 132 } as const;

/** Header length in bytes, options included: 20 to 60 once `ipv4Fits` said yes. */
export const ipv4HeaderBytes = (bytes: Uint8Array, at: number): number => (bytes[at] & 0x0f) << 2;

/** Length of header and payload in bytes. */
export const ipv4TotalLength = (bytes: Uint8Array, at: number): number =>
  (bytes[at + IPV4.TOTAL_LENGTH] << 8) | bytes[at + IPV4.TOTAL_LENGTH + 1];

/** True for any fragment: the first (more fragments), the last (an offset) and those between. */
export const ipv4IsFragment = (bytes: Uint8Array, at: number): boolean =>
  // 0x3f: the bit MF and the offset's upper five bits; DF and the reserved bit do not count
  (bytes[at + IPV4.FLAGS_FRAGMENT] & 0x3f) !== 0 || bytes[at + IPV4.FLAGS_FRAGMENT + 1] !== 0;

/**
 * Whether an IPv4 header and the length it states lie within [at, end). True: every getter above and the range
 * up to the total length are in bounds, until VERSION_IHL or TOTAL_LENGTH is written.
 */
export function ipv4Fits(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < IPV4.SIZE) return false;
  const headerBytes = ipv4HeaderBytes(bytes, at);
  const totalLength = ipv4TotalLength(bytes, at);
  return (
    bytes[at] >>> 4 === 4 && headerBytes >= IPV4.SIZE && totalLength >= headerBytes && totalLength <= end - at
  );
}

/** IPv6 header, RFC 8200. Byte offsets from the start of the header. */

export const IPV6 = {
  VERSION: 0,
  PAYLOAD_LENGTH: 4,
  NEXT_HEADER: 6,
  HOP_LIMIT: 7,
  SRC: 8,
  DST: 24,
  SIZE: 40,
} as const;

/** Extension headers that are walked (RFC 8200 section 4): next header, length in 8 bytes beyond the first 8. */
export const IPV6_EXTENSION = { HOP_BY_HOP: 0, ROUTING: 43, FRAGMENT: 44, DESTINATION: 60 } as const;

/** Where a routing header says how many of its addresses are still to be visited (RFC 8200 section 4.4). */
const SEGMENTS_LEFT = 3;

/** A packet with more extension headers is nobody's: RFC 8200 allows each once (destination options twice). */
const EXTENSIONS_MAX = 8;

/** Length of the packet in bytes: header and payload. */
export const ipv6TotalLength = (bytes: Uint8Array, at: number): number =>
  IPV6.SIZE + ((bytes[at + IPV6.PAYLOAD_LENGTH] << 8) | bytes[at + IPV6.PAYLOAD_LENGTH + 1]);

/** Whether an IPv6 header and the payload it states lie within [at, end). */
export const ipv6Fits = (bytes: Uint8Array, at: number, end: number): boolean =>
  end - at >= IPV6.SIZE && bytes[at] >>> 4 === 6 && ipv6TotalLength(bytes, at) <= end - at;

/** The fragment header, RFC 8200 section 4.5. Byte offsets from its start. */
export const IPV6_FRAGMENT_HEADER = { NEXT_HEADER: 0, OFFSET: 2, ID: 4, SIZE: 8 } as const;

/** What `ipv6Transport` answers instead of an offset. */
export const IPV6_FRAGMENT = -1;
export const IPV6_BAD_EXTENSION = -2;

/**
 * Walks the extension headers of a packet that fits. A routing header with segments left ends the walk like a protocol of
 * its own: the packet is not at its destination yet, and its transport checksum is over another address.
 * @param end byte behind the packet
 * @returns the offset of the transport header; `ipv6Protocol` tells its protocol. IPV6_FRAGMENT
 *   for a fragment (an atomic one is a whole packet, RFC 6946), IPV6_BAD_EXTENSION when the chain leaves the packet or is
 *   too long
 */
export const ipv6Transport = (bytes: Uint8Array, at: number, end: number): number =>
  walk(bytes, bytes[at + IPV6.NEXT_HEADER], at + IPV6.SIZE, end);

/** The same from behind the fragment header at `fragment` on: of a first fragment. */
export const ipv6FirstTransport = (bytes: Uint8Array, fragment: number, end: number): number =>
  walk(bytes, bytes[fragment], fragment + IPV6_FRAGMENT_HEADER.SIZE, end);

/** Where the fragment header of a packet is for which `ipv6Transport` answered IPV6_FRAGMENT. */
export function ipv6FragmentHeader(bytes: Uint8Array, at: number): number {
  let next = bytes[at + IPV6.NEXT_HEADER];
  let header = at + IPV6.SIZE;
  while (next !== IPV6_EXTENSION.FRAGMENT || isAtomic(bytes, header)) {
    const size = extensionBytes(bytes, header, next);
    next = bytes[header];
    header += size;
  }
  return header;
}

/** The protocol of the transport header that was found at `l4`: the last next-header field before it. */
export function ipv6Protocol(bytes: Uint8Array, at: number, l4: number): number {
  let next = bytes[at + IPV6.NEXT_HEADER];
  for (let header = at + IPV6.SIZE; header < l4; ) {
    const size = extensionBytes(bytes, header, next);
    next = bytes[header];
    header += size;
  }
  return next;
}

function walk(bytes: Uint8Array, first: number, from: number, end: number): number {
  let next = first;
  let header = from;
  for (let left = EXTENSIONS_MAX; left > 0; left--) {
    const isFragment = next === IPV6_EXTENSION.FRAGMENT;
    if (
      !isFragment &&
      next !== IPV6_EXTENSION.HOP_BY_HOP &&
      next !== IPV6_EXTENSION.ROUTING &&
      next !== IPV6_EXTENSION.DESTINATION
    )
      return header;
    if (end - header < 8) return IPV6_BAD_EXTENSION;
    if (isFragment && !isAtomic(bytes, header)) return IPV6_FRAGMENT;
    const size = extensionBytes(bytes, header, next);
    if (next === IPV6_EXTENSION.ROUTING && bytes[header + SEGMENTS_LEFT] !== 0) return header;
    next = bytes[header];
    header += size;
    if (header > end) return IPV6_BAD_EXTENSION;
  }
  return IPV6_BAD_EXTENSION;
}

/** Offset zero, and no more to come: the two reserved bits do not count. */
const isAtomic = (bytes: Uint8Array, header: number): boolean =>
  bytes[header + IPV6_FRAGMENT_HEADER.OFFSET] === 0 &&
  (bytes[header + IPV6_FRAGMENT_HEADER.OFFSET + 1] & 0xf9) === 0;

/** The second byte of a fragment header is reserved, that of the others is their length. */
const extensionBytes = (bytes: Uint8Array, header: number, next: number): number =>
  next === IPV6_EXTENSION.FRAGMENT ? IPV6_FRAGMENT_HEADER.SIZE : 8 + (bytes[header + 1] << 3);

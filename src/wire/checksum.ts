/**
 * The internet checksum (RFC 1071) and its incremental update (RFC 1624), on halves and words as they lie in
 * memory: the sum does not depend on byte order (RFC 1071 section 2(B)).
 *
 * A delta is what a rewrite adds to the sum under a checksum: the folded sum of ~m + m' over the changed words
 * (RFC 1624 section 3, equation 3). It is computed once a flow; each packet then costs one addition.
 */

/** An unfolded sum brought to 16 bits. @param sum below 2^32 */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once + (once >>> 16)) & 0xffff;
}

/** Unfolded: what replacing the word `from` by `to` adds. At most 4 * 65535, so many can be added up. */
export function wordDelta(from: number, to: number): number {
  const gone = ~from;
  return (gone & 0xffff) + (gone >>> 16) + (to & 0xffff) + (to >>> 16);
}

/** The delta that takes back what `delta` did: its negative in ones' complement. */
export const inverseDelta = (delta: number): number => ~delta & 0xffff;

/** A full checksum (IPv4 header, TCP, UDP, ICMP) after a rewrite: HC' = ~(~HC + ~m + m'). @param delta folded */
export const updateChecksum = (check: number, delta: number): number => {
  const sum = (~check & 0xffff) + delta;
  return ~(sum + (sum >>> 16)) & 0xffff; // two halves leave one carry, and adding it makes no other
};

/**
 * A partial checksum after a rewrite of addresses. With VIRTIO_NET_HDR_F_NEEDS_CSUM the field holds the folded
 * sum of the pseudo-header, not a complement, and whoever sends the packet out adds the rest. Ports are not in
 * the pseudo-header, so only the delta of the addresses applies (linux/virtio_net.h; skb_checksum_help).
 */
export const updatePartialChecksum = (partial: number, delta: number): number => fold(partial + delta);

/**
 * The folded sum over `length` bytes (up to 65535) from byte `at` (even), continuing `initial`. Walks every
 * byte: for packets that flowpin makes itself, never for those that it forwards.
 */
export function sumBytes(bytes: Uint8Array, at: number, length: number, initial = 0): number {
  let sum = initial;
  const even = at + (length & ~1);
  for (let i = at; i < even; i += 2) sum += bytes[i] | (bytes[i + 1] << 8);
  if (length & 1) sum += bytes[even]; // padded with a zero byte behind (RFC 1071 section 4.1)
  return fold(sum);
}

/** UDP header, RFC 768. Byte offsets from the start of the header. */
export const UDP = { SPORT: 0, DPORT: 2, LENGTH: 4, CHECK: 6, SIZE: 8 } as const;

/** Whether a UDP header and the length it states lie within [at, end), until LENGTH is written. */
export function udpFits(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < UDP.SIZE) return false;
  const length = (bytes[at + UDP.LENGTH] << 8) | bytes[at + UDP.LENGTH + 1];
  return length >= UDP.SIZE && length <= end - at;
}

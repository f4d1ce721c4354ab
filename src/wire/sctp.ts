/** SCTP common header, RFC 9260 section 3.1. Byte offsets from the start of the header. */
export const SCTP = { SPORT: 0, DPORT: 2, TAG: 4, CHECK: 8, SIZE: 12 } as const;

/** Whether the common header lies within [at, end). */
export const sctpFits = (_bytes: Uint8Array, at: number, end: number): boolean => end - at >= SCTP.SIZE;

/** Type of the first chunk, behind the common header (RFC 9260 section 3.2); 255 when there is none. */
export const sctpFirstChunk = (bytes: Uint8Array, at: number, end: number): number =>
  at + SCTP.SIZE < end ? bytes[at + SCTP.SIZE] : 255;

/** CRC32c by byte (Castagnoli, reflected 0x82f63b78; RFC 9260 appendix A). */
const CRC_TABLE = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  CRC_TABLE[byte] = crc;
}

/**
 * The checksum of the SCTP packet in [at, end), its own four bytes taken as zero. Ports are covered, and a CRC has no
 * cheap update as the internet checksum has: every byte is walked.
 * @returns the word to be stored at CHECK (RFC 9260 appendix A: the CRC is sent low byte first)
 */
export function sctpChecksum(bytes: Uint8Array, at: number, end: number): number {
  let crc = -1;
  const check = at + SCTP.CHECK;
  for (let i = at; i < end; i++) {
    const byte = i >= check && i < check + 4 ? 0 : bytes[i];
    crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff];
  }
  return ~crc;
}

/**
 * What replacing the ports word `from` by `to` does to the CRC of an SCTP packet of `length` bytes, whatever else is in
 * it: a CRC is linear, so this is the CRC of the difference alone, and can be told of a packet that is only quoted.
 * @returns the word to be XORed into CHECK
 */
export function sctpPortsDelta(from: number, to: number, length: number): number {
  const difference = from ^ to;
  let crc = 0;
  for (let i = 0; i < length; i++) {
    const byte = i < 4 ? (difference >>> (8 * i)) & 0xff : 0;
    crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff];
  }
  return crc;
}

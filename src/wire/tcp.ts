/** TCP header, RFC 9293 section 3.1. Byte offsets from the start of the header. */
export const TCP = {
  SPORT: 0,
  DPORT: 2,
  SEQ: 4,
  ACK: 8,
  DATA_OFFSET: 12,
  FLAGS: 13,
  WINDOW: 14,
  CHECK: 16,
  URGENT: 18,
  SIZE: 20,
} as const;

/** Bits of FLAGS. */
export const TCP_FLAG = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10, URG: 0x20 } as const;

/** Length of the header in bytes, options included: 20 to 60 once `tcpFits` said yes. */
export const tcpHeaderBytes = (bytes: Uint8Array, at: number): number =>
  (bytes[at + TCP.DATA_OFFSET] >>> 4) << 2;

/** The sequence number, as an int32 of the usual order: it is counted with. */
export const tcpSequence = (bytes: Uint8Array, at: number): number =>
  (bytes[at + TCP.SEQ] << 24) |
  (bytes[at + TCP.SEQ + 1] << 16) |
  (bytes[at + TCP.SEQ + 2] << 8) |
  bytes[at + TCP.SEQ + 3];

/** Whether a TCP header, options included, lies within [at, end), until DATA_OFFSET is written. */
export function tcpFits(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < TCP.SIZE) return false;
  const headerBytes = tcpHeaderBytes(bytes, at);
  return headerBytes >= TCP.SIZE && headerBytes <= end - at;
}

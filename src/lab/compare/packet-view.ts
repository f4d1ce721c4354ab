/** What a host reads of an IPv4 packet that reaches it. */
import { IPV4, ipv4HeaderBytes, ipv4TotalLength, PROTOCOL } from '../../wire/ipv4.js';
import { TCP, tcpHeaderBytes } from '../../wire/tcp.js';
import { UDP } from '../../wire/udp.js';
import { VNET } from '../../wire/virtio-net.js';

export interface Packet {
  readonly protocol: number;
  /** Addresses as numbers, the first byte highest. */
  readonly src: number;
  readonly dst: number;
  readonly sport: number;
  readonly dport: number;
  /** TCP, else 0. */
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly payload: Uint8Array;
  /** Length of the IP packet. */
  readonly bytes: number;
  /** The packet that an ICMP error is about, as far as it is quoted. */
  readonly quoted: Packet | null;
}

/** @param frame a whole, valid IPv4 packet behind a virtio-net header */
export const readFrame = (frame: Uint8Array): Packet => read(frame, VNET.SIZE);

/** ICMP errors quote behind their eight bytes. */
const ICMP_HEADER_BYTES = 8;

function read(bytes: Uint8Array, at: number): Packet {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const protocol = bytes[at + IPV4.PROTOCOL] as number;
  const l4 = at + ipv4HeaderBytes(bytes, at);
  const isTcp = protocol === PROTOCOL.TCP && bytes.length >= l4 + TCP.SIZE;
  const isIcmp = protocol === PROTOCOL.ICMP;
  const total = ipv4TotalLength(bytes, at);
  const headerBytes = isTcp ? tcpHeaderBytes(bytes, l4) : UDP.SIZE;
  return {
    protocol,
    src: view.getUint32(at + IPV4.SRC),
    dst: view.getUint32(at + IPV4.DST),
    sport: isIcmp ? 0 : view.getUint16(l4),
    dport: isIcmp ? 0 : view.getUint16(l4 + 2),
    flags: isTcp ? (bytes[l4 + TCP.FLAGS] as number) : 0,
    seq: isTcp ? view.getUint32(l4 + TCP.SEQ) : 0,
    ack: isTcp ? view.getUint32(l4 + TCP.ACK) : 0,
    payload: bytes.subarray(Math.min(l4 + headerBytes, bytes.length), at + total),
    bytes: total,
    quoted: isIcmp ? read(bytes, l4 + ICMP_HEADER_BYTES) : null,
  };
}

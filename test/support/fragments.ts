/** Fragments for tests: cut from whole frames as a sender's stack does it, and put together as a receiver's does. */
import { checksum, VNET_BYTES } from './packets.js';

const V6_HEADER = 40;
const FRAGMENT_HEADER = 8;

export interface Piece {
  /** First byte of the payload, and the one behind the last. */
  start: number;
  end: number;
  more: boolean;
}

const isV4 = (packet: Uint8Array): boolean => packet[0] >> 4 === 4;
/** Options of IPv4 and no extension headers of IPv6: those may be in the payload. */
const headerBytes = (packet: Uint8Array): number => (isV4(packet) ? (packet[0] & 15) * 4 : V6_HEADER);

/** One fragment with any range, whether it makes sense or not; bytes behind the payload are zeros. */
export function cut(whole: Uint8Array, { start, end, more }: Piece, id = 0x1234): Uint8Array {
  const packet = whole.subarray(VNET_BYTES);
  const header = headerBytes(packet);
  const extra = isV4(packet) ? 0 : FRAGMENT_HEADER;
  const bytes = new Uint8Array(VNET_BYTES + header + extra + end - start);
  bytes.set(packet.subarray(0, header), VNET_BYTES);
  bytes.set(packet.subarray(header + start, header + end), VNET_BYTES + header + extra);
  const view = new DataView(bytes.buffer, VNET_BYTES);
  if (isV4(packet)) {
    view.setUint16(2, header + end - start);
    view.setUint16(4, id);
    view.setUint16(6, (more ? 0x2000 : 0) | (start >> 3));
    view.setUint16(10, 0);
    view.setUint16(10, checksum(bytes.subarray(VNET_BYTES, VNET_BYTES + header)));
  } else {
    view.setUint16(4, extra + end - start);
    view.setUint8(6, 44);
    view.setUint8(V6_HEADER, packet[6]);
    view.setUint8(V6_HEADER + 1, 0xff); // reserved: ignored on reception
    view.setUint16(V6_HEADER + 2, start | (more ? 1 : 0));
    view.setUint32(V6_HEADER + 4, id);
  }
  return bytes;
}

/** All fragments of a frame, in order. @param size payload bytes of each but the last; a multiple of 8 */
export function cutAll(whole: Uint8Array, size: number, id = 0x1234): Uint8Array[] {
  const payload = whole.length - VNET_BYTES - headerBytes(whole.subarray(VNET_BYTES));
  const pieces: Uint8Array[] = [];
  for (let start = 0; start < payload; start += size) {
    const end = Math.min(payload, start + size);
    pieces.push(cut(whole, { start, end, more: end < payload }, id));
  }
  return pieces;
}

/** The range of a fragment. */
export function rangeOf(frame: Uint8Array): Piece {
  const packet = frame.subarray(VNET_BYTES);
  const header = headerBytes(packet);
  const view = new DataView(packet.buffer, packet.byteOffset);
  const field = view.getUint16(isV4(packet) ? 6 : V6_HEADER + 2);
  const start = isV4(packet) ? (field & 0x1fff) * 8 : field & 0xfff8;
  const payload = packet.length - header - (isV4(packet) ? 0 : FRAGMENT_HEADER);
  return { start, end: start + payload, more: (field & (isV4(packet) ? 0x2000 : 1)) !== 0 };
}

/** The frame that fragments in any order make. @throws Error when they are not exactly one whole datagram */
export function reassemble(frames: Uint8Array[]): Uint8Array {
  const sorted = [...frames].sort((a, b) => rangeOf(a).start - rangeOf(b).start);
  const first = sorted[0].subarray(VNET_BYTES);
  const header = headerBytes(first);
  const extra = isV4(first) ? 0 : FRAGMENT_HEADER;
  const total = rangeOf(sorted[sorted.length - 1]).end;
  const bytes = new Uint8Array(VNET_BYTES + header + total);
  bytes.set(first.subarray(0, header), VNET_BYTES);
  let expected = 0;
  for (const [i, frame] of sorted.entries()) {
    const { start, end, more } = rangeOf(frame);
    const packet = frame.subarray(VNET_BYTES);
    if (isV4(packet) && checksum(packet.subarray(0, header)) !== 0) throw new Error('wrong header checksum');
    if (headText(packet) !== headText(first)) throw new Error(`fragment ${i} is of another datagram`);
    if (start !== expected || more === (i === sorted.length - 1)) throw new Error(`a hole before ${start}`);
    bytes.set(packet.subarray(header + extra), VNET_BYTES + header + start);
    expected = end;
  }
  const view = new DataView(bytes.buffer, VNET_BYTES);
  if (isV4(first)) {
    view.setUint16(2, header + total);
    view.setUint16(6, 0);
    view.setUint16(10, 0);
    view.setUint16(10, checksum(bytes.subarray(VNET_BYTES, VNET_BYTES + header)));
  } else {
    view.setUint16(4, total);
    view.setUint8(6, first[V6_HEADER]);
  }
  return bytes;
}

/** Addresses and identification. */
const headText = (packet: Uint8Array): string =>
  isV4(packet)
    ? `${packet.subarray(4, 6)} ${packet.subarray(12, 20)}`
    : `${packet.subarray(8, 40)} ${packet.subarray(V6_HEADER + 4, V6_HEADER + 8)}`;

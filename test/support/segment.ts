/** What a receiver gets of a frame: super-packets taken apart as the kernel's segmentation does it, checksums finished. */
import { isIPv4 } from 'node:net';
import { checksum, VNET_BYTES, view } from './packets.js';

/** The packets, without virtio-net headers, that a frame stands for; the identifications of IPv4 packets with DF are zero. */
export function segments(frame: Uint8Array): Uint8Array[] {
  const vnet = new DataView(frame.buffer, frame.byteOffset, VNET_BYTES);
  const packet = frame.slice(VNET_BYTES);
  const size = vnet.getUint16(4, true);
  const isPartial = (vnet.getUint8(0) & 1) !== 0;
  const gso = vnet.getUint8(1);
  const isV4 = packet[0]! >> 4 === 4;
  const l4 = isV4 ? (packet[0]! & 15) * 4 : 40;
  const isTcp = packet[isV4 ? 9 : 6] === 6;
  const header = l4 + (isTcp ? (packet[l4 + 12]! >> 4) * 4 : 8);
  if (gso === 0) return [finished(packet, l4, isTcp, isPartial)];

  const expected = isTcp ? (isV4 ? 1 : 4) : 5;
  if (gso !== expected || !isPartial) throw new Error(`GSO type ${gso}, partial: ${isPartial}`);
  if (vnet.getUint16(2, true) !== header) throw new Error('hdr_len is not the length of the headers');
  if (vnet.getUint16(6, true) !== l4) throw new Error('csum_start is not the transport header');
  if (vnet.getUint16(8, true) !== (isTcp ? 16 : 6)) throw new Error('csum_offset is not the checksum');
  if (view(frame).transportChecksum !== 'partial') throw new Error('the partial checksum is wrong');
  if (!view(frame).ipChecksumRight) throw new Error('the IP checksum is wrong');
  if (declaredLength(packet, isV4) !== packet.length) throw new Error('the length is not that of the whole');

  const parts: Uint8Array[] = [];
  for (let at = header; at < packet.length; at += size) {
    const payload = packet.subarray(at, at + size);
    const part = new Uint8Array([...packet.subarray(0, header), ...payload]);
    const fields = new DataView(part.buffer);
    const isLast = at + size >= packet.length;
    if (isV4) fields.setUint16(2, part.length);
    else fields.setUint16(4, part.length - 40);
    if (isTcp) {
      fields.setUint32(l4 + 4, (fields.getUint32(l4 + 4) + at - header) >>> 0);
      if (!isLast) part[l4 + 13]! &= ~0x09; // FIN and PSH are the last one's
    } else {
      fields.setUint16(l4 + 4, part.length - l4);
    }
    parts.push(finished(part, l4, isTcp, true));
  }
  return parts;
}

const declaredLength = (packet: Uint8Array, isV4: boolean): number => {
  const fields = new DataView(packet.buffer, packet.byteOffset);
  return isV4 ? fields.getUint16(2) : fields.getUint16(4) + 40;
};

/** @param isPartial whether the transport checksum has to be made */
function finished(packet: Uint8Array, l4: number, isTcp: boolean, isPartial: boolean): Uint8Array {
  const fields = new DataView(packet.buffer, packet.byteOffset);
  const isV4 = packet[0]! >> 4 === 4;
  if (isV4) {
    if ((packet[6]! & 0x40) !== 0) fields.setUint16(4, 0);
    fields.setUint16(10, 0);
    fields.setUint16(10, checksum(packet.subarray(0, l4)));
  }
  if (!isPartial) return packet;
  const at = l4 + (isTcp ? 16 : 6);
  fields.setUint16(at, 0);
  const length = packet.length - l4;
  const addresses = isV4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  const pseudo = [...addresses, 0, isTcp ? 6 : 17, length >> 8, length & 255];
  const sum = checksum(Uint8Array.from([...pseudo, ...packet.subarray(l4)]));
  fields.setUint16(at, !isTcp && sum === 0 ? 0xffff : sum);
  return packet;
}

/** "from to protocol" of a packet without virtio-net header. */
export function flowOf(packet: Uint8Array): string {
  const frame = new Uint8Array(VNET_BYTES + packet.length);
  frame.set(packet, VNET_BYTES);
  const { from, to, protocol } = view(frame);
  return `${isIPv4(from.split(':')[0]!) ? 4 : 6} ${protocol} ${from} ${to}`;
}

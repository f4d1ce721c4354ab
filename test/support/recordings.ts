/** Recordings as tcpdump writes them, made of IP packets; for tests of what reads them. */

export interface Captured {
  readonly ms: number;
  readonly packet: Uint8Array;
}

export interface PcapForm {
  readonly littleEndian: boolean;
  readonly nanoseconds: boolean;
  readonly linkType: number;
  /** In front of each packet: the link's header. */
  readonly header: readonly number[];
  /** Bytes kept of each packet. */
  readonly snapLength?: number;
}

export const RAW: PcapForm = { littleEndian: true, nanoseconds: false, linkType: 101, header: [] };
export const ETHERNET_HEADER = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];

export function pcapOf(captured: readonly Captured[], form: PcapForm): Uint8Array {
  const { littleEndian, nanoseconds, linkType, header, snapLength = 262_144 } = form;
  const parts = [new Uint8Array(24)];
  const head = new DataView(parts[0]!.buffer);
  head.setUint32(0, nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, littleEndian);
  head.setUint16(4, 2, littleEndian);
  head.setUint16(6, 4, littleEndian);
  head.setUint32(16, snapLength, littleEndian);
  head.setUint32(20, linkType, littleEndian);
  for (const { ms, packet } of captured) {
    const whole = Uint8Array.from([...header, ...packet]);
    const kept = whole.subarray(0, snapLength);
    const record = new DataView(new ArrayBuffer(16));
    record.setUint32(0, Math.floor(ms / 1000), littleEndian);
    record.setUint32(4, Math.round((ms % 1000) * (nanoseconds ? 1e6 : 1e3)), littleEndian);
    record.setUint32(8, kept.length, littleEndian);
    record.setUint32(12, whole.length, littleEndian);
    parts.push(new Uint8Array(record.buffer), kept);
  }
  return Buffer.concat(parts);
}

/** @param resolution if_tsresol, or null to leave it out (microseconds) */
export function pcapngOf(
  captured: readonly Captured[],
  linkType: number,
  resolution: number | null,
): Uint8Array {
  const block = (type: number, body: Uint8Array): Uint8Array => {
    const padded = (body.length + 3) & ~3;
    const bytes = new Uint8Array(12 + padded);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, type, true);
    view.setUint32(4, bytes.length, true);
    bytes.set(body, 8);
    view.setUint32(bytes.length - 4, bytes.length, true);
    return bytes;
  };
  const section = new DataView(new ArrayBuffer(16));
  section.setUint32(0, 0x1a2b3c4d, true);
  section.setUint16(4, 1, true);
  section.setBigInt64(8, -1n, true);
  const device = new DataView(new ArrayBuffer(resolution === null ? 8 : 20));
  device.setUint16(0, linkType, true);
  if (resolution !== null) {
    device.setUint16(8, 9, true);
    device.setUint16(10, 1, true);
    device.setUint8(12, resolution);
  }
  const perMs =
    resolution === null ? 1000 : (resolution & 0x80 ? 2 ** (resolution & 0x7f) : 10 ** resolution) / 1000;
  const packets = captured.map(({ ms, packet }) => {
    const body = new Uint8Array(20 + packet.length);
    const view = new DataView(body.buffer);
    const units = BigInt(Math.round(ms * perMs));
    view.setUint32(4, Number(units >> 32n), true);
    view.setUint32(8, Number(units & 0xffffffffn), true);
    view.setUint32(12, packet.length, true);
    view.setUint32(16, packet.length, true);
    body.set(packet, 20);
    return block(6, body);
  });
  return Buffer.concat([
    block(0x0a0d0d0a, new Uint8Array(section.buffer)),
    block(1, new Uint8Array(device.buffer)),
    block(5, new Uint8Array(12)), // interface statistics: not read
    ...packets,
  ]);
}

/**
 * Recorded packets: the files that tcpdump and Wireshark write. Classic pcap (microseconds and nanoseconds, either byte order)
 * and pcapng, of the link types that carry IP.
 *
 * https://datatracker.ietf.org/doc/html/draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
 */

export interface RecordedPacket {
  /** Since 1970, with a fraction. */
  readonly ms: number;
  /** The IP packet, from its version field on; what the recording left out at its end is missing. */
  readonly packet: Uint8Array;
}

export interface Recording {
  readonly packets: readonly RecordedPacket[];
  /** Frames that hold no IP packet, and those of a link type that is not known here. */
  readonly skipped: number;
}

/** Why bytes cannot be read as a recording. */
export class PcapError extends Error {
  override readonly name = 'PcapError';
}

/** LINKTYPE_ values (https://www.tcpdump.org/linktypes.html). */
const LINK = {
  NULL: 0,
  ETHERNET: 1,
  RAW_BSD: 12,
  RAW: 101,
  LINUX_SLL: 113,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
};

const PCAP = { HEADER: 24, LINK_TYPE: 20, RECORD: 16 } as const;
const PCAP_MICROSECONDS = 0xa1b2c3d4;
const PCAP_NANOSECONDS = 0xa1b23c4d;

const BLOCK = { SECTION: 0x0a0d0d0a, INTERFACE: 1, SIMPLE: 3, ENHANCED: 6 } as const;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPTION_TIME_RESOLUTION = 9;

/** @throws PcapError when it is no recording; one that ends in the middle of a packet is read up to there */
export function readRecording(bytes: Uint8Array): Recording {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < PCAP.HEADER) throw new PcapError('neither pcap nor pcapng: too short');
  if (view.getUint32(0) === BLOCK.SECTION) return readPcapng(view);
  for (const littleEndian of [true, false]) {
    const magic = view.getUint32(0, littleEndian);
    if (magic === PCAP_MICROSECONDS) return readPcap(view, littleEndian, 1000);
    if (magic === PCAP_NANOSECONDS) return readPcap(view, littleEndian, 1_000_000);
  }
  throw new PcapError('neither pcap nor pcapng: its first bytes are those of something else');
}

function readPcap(view: DataView, littleEndian: boolean, perMs: number): Recording {
  const collected = new Collected();
  const linkType = view.getUint32(PCAP.LINK_TYPE, littleEndian) & 0xffff; // above it: FCS length and flags
  for (let at = PCAP.HEADER; at + PCAP.RECORD <= view.byteLength; ) {
    const ms = view.getUint32(at, littleEndian) * 1000 + view.getUint32(at + 4, littleEndian) / perMs;
    const length = view.getUint32(at + 8, littleEndian);
    if (at + PCAP.RECORD + length > view.byteLength) break;
    collected.add(linkType, ms, bytesOf(view, at + PCAP.RECORD, length));
    at += PCAP.RECORD + length;
  }
  return collected;
}

interface Interface {
  readonly linkType: number;
  readonly unitsPerMs: number;
}

function readPcapng(view: DataView): Recording {
  const collected = new Collected();
  let interfaces: Interface[] = [];
  let littleEndian = true;
  for (let at = 0; at + 12 <= view.byteLength; ) {
    const type = view.getUint32(at, littleEndian);
    if (type === BLOCK.SECTION) {
      littleEndian = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
      interfaces = [];
    }
    const length = view.getUint32(at + 4, littleEndian);
    if (length < 12 || at + length > view.byteLength) break;
    const body = at + 8;
    const end = at + length - 4;
    if (type === BLOCK.INTERFACE) {
      interfaces.push({
        linkType: view.getUint16(body, littleEndian),
        unitsPerMs: timeUnitsPerMs(view, body + 8, end, littleEndian),
      });
    } else if (type === BLOCK.ENHANCED) {
      const { linkType, unitsPerMs } = interfaces[view.getUint32(body, littleEndian)] ?? UNKNOWN;
      const units = view.getUint32(body + 4, littleEndian) * 2 ** 32 + view.getUint32(body + 8, littleEndian);
      const captured = Math.min(view.getUint32(body + 12, littleEndian), end - body - 20);
      collected.add(linkType, units / unitsPerMs, bytesOf(view, body + 20, captured));
    } else if (type === BLOCK.SIMPLE) {
      // Without a time: it counts as simultaneous with the packet before it.
      const captured = Math.min(view.getUint32(body, littleEndian), end - body - 4);
      collected.add((interfaces[0] ?? UNKNOWN).linkType, null, bytesOf(view, body + 4, captured));
    }
    at += length;
  }
  return collected;
}

const UNKNOWN: Interface = { linkType: -1, unitsPerMs: 1000 };

/** if_tsresol: a power of ten, or with the high bit of two; microseconds where it is not given. */
function timeUnitsPerMs(view: DataView, options: number, end: number, littleEndian: boolean): number {
  for (let at = options; at + 4 <= end; ) {
    const code = view.getUint16(at, littleEndian);
    const length = view.getUint16(at + 2, littleEndian);
    if (code === 0) break;
    if (code === OPTION_TIME_RESOLUTION) {
      const value = view.getUint8(at + 4);
      return (value & 0x80 ? 2 ** (value & 0x7f) : 10 ** value) / 1000;
    }
    at += 4 + ((length + 3) & ~3);
  }
  return 1000;
}

const bytesOf = (view: DataView, at: number, length: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + at, length);

class Collected implements Recording {
  readonly packets: RecordedPacket[] = [];
  skipped = 0;

  add(linkType: number, ms: number | null, frame: Uint8Array): void {
    const packet = ipOf(linkType, frame);
    if (packet === null) this.skipped++;
    else this.packets.push({ ms: ms ?? this.packets.at(-1)?.ms ?? 0, packet });
  }
}

/** What of a link's frame is the IP packet; null: there is none. */
function ipOf(linkType: number, frame: Uint8Array): Uint8Array | null {
  switch (linkType) {
    case LINK.RAW:
    case LINK.RAW_BSD:
    case LINK.IPV4:
    case LINK.IPV6:
      return ipAt(frame, 0);
    case LINK.NULL:
      return ipAt(frame, 4);
    case LINK.LINUX_SLL:
      return ipAt(frame, 16);
    case LINK.LINUX_SLL2:
      return ipAt(frame, 20);
    case LINK.ETHERNET:
      return ipInEthernet(frame);
    default:
      return null;
  }
}

const ETHERNET = { TYPE: 12, SIZE: 14 } as const;
const VLAN_TYPES = [0x8100, 0x88a8];
const IP_TYPES = [0x0800, 0x86dd];

function ipInEthernet(frame: Uint8Array): Uint8Array | null {
  const typeAt = (at: number): number => ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
  let at: number = ETHERNET.TYPE;
  while (VLAN_TYPES.includes(typeAt(at))) at += 4;
  return IP_TYPES.includes(typeAt(at)) ? ipAt(frame, at + 2) : null;
}

function ipAt(frame: Uint8Array, at: number): Uint8Array | null {
  const version = (frame[at] ?? 0) >>> 4;
  return version === 4 || version === 6 ? frame.subarray(at) : null;
}

/**
 * The slab: the memory of a batch of packets, one slot each, owned by JavaScript and filled by the device.
 *
 *   slot   | 6 bytes | virtio-net header, 10 | IP packet, up to 65535 | unused |
 *          ^ slotAt  ^ FRAME_AT              ^ PACKET_AT: a multiple of 4, so words and halves are aligned
 *
 * A packet is a place in the slab, never an object: steps take a slot number. What `parse` finds out about the
 * packet in a slot is kept in a record of RECORD.SIZE numbers beside it.
 */
import { STATUS } from '../conntrack/entry.js';
import { assert } from '../shared/assert.js';
import { FAMILY, TUPLE_WORDS } from '../wire/family.js';
import { IPV4 } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import { VNET } from '../wire/virtio-net.js';

export type Slot = number & { readonly brand?: 'slot' };

/** Packets of one batch. */
export const SLOTS = 64;

const PACKET_BYTES_MAX = 65_535;
export const PACKET_AT = 16;
export const FRAME_AT = PACKET_AT - VNET.SIZE;

// An odd number of cache lines: were it a multiple of 4 KiB, the headers of all slots would compete for the same
// few lines of the first-level cache.
export const SLOT_BYTES = 64 * 1027;

assert(PACKET_AT % 4 === 0, 'words of a packet are aligned');
assert(SLOT_BYTES >= PACKET_AT + PACKET_BYTES_MAX, 'the longest packet fits a slot');

/**
 * Of each slot: the next slot of the same super-packet + 1, or 0; and, for all but the first of one, where in its frame the
 * payload begins and how long it is. The frame of the first is written whole, of the others the payload.
 */
export const CHAIN = { NEXT: 0, FROM: 1, BYTES: 2, SIZE: 3 } as const;

export class Slab {
  readonly buffer = new ArrayBuffer(SLOTS * SLOT_BYTES);
  readonly bytes = new Uint8Array(this.buffer);
  readonly halves = new Uint16Array(this.buffer);
  readonly words = new Int32Array(this.buffer);
  /** Bytes of each slot's frame (virtio-net header and packet); 0 or less: not to be written. */
  readonly lengths = new Int32Array(SLOTS);
  /** Which slots are written as one packet, see CHAIN; all zeros: none. */
  readonly chain = new Int32Array(SLOTS * CHAIN.SIZE);
}

/** A number below SLOTS as a slot. The mask takes nothing away: V8 learns by it that sums with the slot need no check. */
export const slotOf = (i: number): Slot => i & (SLOTS - 1);

/** Byte offset of the packet in a slot. */
export const packetAt = (slot: Slot): number => slot * SLOT_BYTES + PACKET_AT;

/** Byte offset of the virtio-net header in a slot. */
export const frameAt = (slot: Slot): number => slot * SLOT_BYTES + FRAME_AT;

/** What the steps know about the packet in a slot; offsets into the record of `recordAt(slot)`. */
export const RECORD = {
  FAMILY: 0,
  /** Byte offset of the transport header. */
  L4: 1,
  /** Length of the IP packet in bytes. */
  LENGTH: 2,
  PROTOCOL: 3,
  /** Flag byte of a TCP segment, else 0. */
  TCP_FLAGS: 4,
  /** 1 when the transport checksum holds only the pseudo-header sum. */
  PARTIAL: 5,
  /** Offset in the service table of the ENDPOINT record that `match` chose. */
  ENDPOINT: 6,
  /** 1 when `match` says that the source has to be an address of the SNAT pool. */
  MASQUERADE: 7,
  /** Index of the counter that this packet ends in. */
  OUTCOME: 8,
  /** Offset in the service table of the PORT record that `match` found. */
  PORT: 9,
  /** Byte offset of the transport header that an ICMP error quotes, and its protocol. */
  QUOTED_L4: 10,
  QUOTED_PROTOCOL: 11,
  /** Type of the first chunk of an SCTP packet. */
  SCTP_CHUNK: 12,
  /** DropReason that `vet` found: why the packet may begin no flow. */
  UNFIT: 13,
  /** The worker that a packet was handed to. */
  OWNER: 14,
  /** Hash of the tuple, once the packet's flow has been looked for. */
  HASH: 15,
  /** The packet's tuple: source, destination, ports; as many words as the family's addresses have. */
  TUPLE: 16,
  /**
   * What it counts in for its flow's endpoint: index of PACKETS_ORIGINAL or PACKETS_REPLY of the row; negative for the packet
   * that began the flow. 0: nothing, or counted already.
   */
  ROW: 25,
  SIZE: 32,
} as const;

assert(RECORD.TUPLE + TUPLE_WORDS[FAMILY.V6] <= RECORD.ROW, 'the longest tuple has room');

/**
 * What the fast path knows about a plain packet, in one word a slot: the length of the IP packet in the low half, the family
 * and what follows from the transport header above; 0 stands for a packet that is not plain. ACK and DATA lie like the two
 * bits of STATUS.UNACKED that they change.
 */
export const PLAIN = {
  LENGTH: 0xffff,
  FAMILY: 1 << 16,
  FAMILY_SHIFT: 16,
  /** TCP, else UDP. */
  TCP: 1 << 17,
  /** The transport checksum holds only the pseudo-header sum. */
  PARTIAL: 1 << 18,
  /** A segment with ACK, and that has data of its own. */
  ACK: STATUS.UNACKED,
  DATA: STATUS.UNACKED << 1,
} as const;

/** Byte offset of the transport header in a slot. @param packet its PLAIN word */
export const plainL4 = (slot: Slot, packet: number): number =>
  packetAt(slot) + ((packet & PLAIN.FAMILY) === 0 ? IPV4.SIZE : IPV6.SIZE);

export const recordAt = (slot: Slot): number => slot * RECORD.SIZE;

/**
 * What the fast path asks of a packet first: is it plain, which is IPv4 without options or IPv6 without extension headers, no
 * fragment, UDP or TCP without SYN, FIN and RST? Everything else goes to `process`, which begins from the packet.
 */
import { hashTuple } from '../conntrack/flow-table.js';
import { half } from '../wire/byte-order.js';
import { FAMILY } from '../wire/family.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import { TCP, TCP_FLAG } from '../wire/tcp.js';
import { UDP } from '../wire/udp.js';
import { VNET, VNET_FLAG } from '../wire/virtio-net.js';
import type { WorkerContext } from './context.js';
import { PLAIN, packetAt, slotOf } from './packet.js';

/** Segments that may change the state of a connection, or begin it anew. */
const NOT_ORDINARY = TCP_FLAG.SYN | TCP_FLAG.FIN | TCP_FLAG.RST;

/** "More fragments" and the fragment offset, in the word that begins with the identification. */
const IPV4_FRAGMENT_WORD = 0xff3f << 16;

/** Two words of the virtio-net header, counted from the packet: FLAGS in the third byte of one, CSUM_START and CSUM_OFFSET the other. */
const FLAGS_WORD = (VNET.FLAGS - 2 - VNET.SIZE) >> 2;
const CSUM_WORD = (VNET.CSUM_START - VNET.SIZE) >> 2;

/** Which families there are plain packets of. */
export const SEEN = { V4: 1 << FAMILY.V4, V6: 1 << FAMILY.V6 } as const;

/**
 * @returns what notes of the packets in slots 0 to `count` - 1 what each is, see PLAIN, and the hash of a plain one's tuple, and
 *   answers with bits of SEEN. A header is read word by word: one load for what has to be asked of several fields.
 */
export function findPlainOf(cx: WorkerContext): (count: number) => number {
  const { plain, hashes } = cx;
  const { words, lengths } = cx.slab;
  const { seed } = cx.flows[FAMILY.V4]; // the same for both families

  // tidy: made once a worker
  return function findPlain(count) {
    let seen = 0;
    for (let i = 0; i < count; i++) {
      const slot = slotOf(i);
      plain[slot] = 0;
      const ip = packetAt(slot) >> 2;
      const room = lengths[slot] - VNET.SIZE;
      if (room < IPV4.SIZE + UDP.SIZE) continue;
      const first = words[ip];
      const isV4 = (first & 0xff) === 0x45;
      let length: number;
      let protocol: number;
      if (isV4) {
        const hop = words[ip + (IPV4.TTL >> 2)];
        if ((hop & 0xff) === 0 || (words[ip + (IPV4.FLAGS_FRAGMENT >> 2)] & IPV4_FRAGMENT_WORD) !== 0)
          continue;
        length = half(first >>> 16);
        protocol = (hop >>> 8) & 0xff;
      } else {
        const hop = words[ip + (IPV6.PAYLOAD_LENGTH >> 2)];
        if ((first & 0xf0) !== 0x60 || hop >>> 24 === 0) continue;
        length = IPV6.SIZE + half(hop & 0xffff);
        protocol = (hop >>> 16) & 0xff;
      }
      if (length > room || length > PLAIN.LENGTH) continue;
      const headerBytes = isV4 ? IPV4.SIZE : IPV6.SIZE;
      const l4 = ip + (headerBytes >> 2);
      const l4Bytes = length - headerBytes;
      let packet = isV4 ? length : length | PLAIN.FAMILY;
      let checkAt: number = UDP.CHECK;
      if (protocol === PROTOCOL.UDP) {
        const udpLength = half(words[l4 + (UDP.LENGTH >> 2)] & 0xffff);
        if (udpLength < UDP.SIZE || udpLength > l4Bytes) continue;
      } else {
        if (protocol !== PROTOCOL.TCP || l4Bytes < TCP.SIZE) continue;
        const control = words[l4 + (TCP.DATA_OFFSET >> 2)];
        const header = (control & 0xf0) >>> 2;
        const flags = control >>> 8;
        if (header < TCP.SIZE || header > l4Bytes || (flags & NOT_ORDINARY) !== 0) continue;
        packet |= PLAIN.TCP;
        if ((flags & TCP_FLAG.ACK) !== 0) packet |= l4Bytes > header ? PLAIN.ACK | PLAIN.DATA : PLAIN.ACK;
        checkAt = TCP.CHECK;
      }
      if ((words[ip + FLAGS_WORD] & (VNET_FLAG.NEEDS_CSUM << 16)) !== 0) {
        if (words[ip + CSUM_WORD] !== (headerBytes | (checkAt << 16))) continue;
        packet |= PLAIN.PARTIAL;
      }
      plain[slot] = packet;
      const tuple = ip + ((isV4 ? IPV4.SRC : IPV6.SRC) >> 2);
      hashes[slot] = hashTuple(seed, words, tuple, isV4 ? FAMILY.V4 : FAMILY.V6, protocol);
      seen |= isV4 ? SEEN.V4 : SEEN.V6;
    }
    return seen;
  };
}

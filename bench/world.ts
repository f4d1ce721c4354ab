/** A compiled table with many Services, a plane that uses it, and endless packets of many flows to them: all in memory. */
import { InMemoryDataplane } from '../src/dataplane/in-memory.js';
import { turn } from '../src/dataplane/loop.js';
import { packetAt, SLOTS } from '../src/dataplane/packet.js';
import type { Device } from '../src/device/device.js';
import { snatPoolAt } from '../src/host/snat-pool.js';
import { powerOfTwoAtLeast } from '../src/shared/assert.js';
import { TableBuilder } from '../src/table/builder.js';
import { ENDPOINT_ROWS } from '../src/table/counters.js';
import { ALGORITHM, ENDPOINT_STATE, FRONTEND_KIND, PORT_FLAG, TABLE_FLAG } from '../src/table/layout.js';
import { addressWords } from '../src/wire/address.js';
import { half } from '../src/wire/byte-order.js';
import { fold, sumBytes, updateChecksum, wordDelta } from '../src/wire/checksum.js';
import { composeFirstPacket } from '../src/wire/compose.js';
import { ADDRESS_WORDS, FAMILY } from '../src/wire/family.js';
import { IPV4, PROTOCOL } from '../src/wire/ipv4.js';
import { IPV6 } from '../src/wire/ipv6.js';
import { TCP, TCP_FLAG } from '../src/wire/tcp.js';
import { UDP } from '../src/wire/udp.js';
import { VNET } from '../src/wire/virtio-net.js';

export const SERVICE_COUNTS = [10, 1000, 10_000, 100_000] as const;

const POOLS = ['198.18.0.0/16', 'fd00:198:18::/112'].map(snatPoolAt);

export interface WorldOptions {
  readonly family?: number;
  readonly protocol?: 'TCP' | 'UDP';
  readonly services: number;
  /** Of each Service. */
  readonly endpoints?: number;
  /** ALGORITHM. */
  readonly algorithm?: number;
}

export class World {
  readonly family: number;
  readonly protocol: 'TCP' | 'UDP';
  readonly services: number;
  /** Bytes of the compiled table. */
  readonly table: ArrayBufferLike;
  /** Addresses of the Services in words, one behind the other. */
  readonly vips: Int32Array;

  constructor({ family = FAMILY.V4, protocol = 'UDP', services, endpoints = 1, algorithm }: WorldOptions) {
    this.family = family;
    this.protocol = protocol;
    this.services = services;
    const builder = new TableBuilder(TABLE_FLAG.KEEP_SOURCE_FOR_PODS);
    const vips: number[] = [];
    for (let service = 0; service < services; service++) {
      const cluster = Array.from({ length: endpoints }, (_, i) => {
        const id = service * endpoints + i + 1;
        return { address: endpointWords(family, id), port: half(8080), id, weight: 1 };
      });
      const vip = vipWords(family, service);
      vips.push(...vip);
      const number = PROTOCOL[protocol];
      const port = builder.addPort({
        ...{ family, protocol: number, flags: PORT_FLAG.HAS_ENDPOINTS },
        ...{ algorithm: algorithm ?? ALGORITHM.CASCADE, maglev: algorithm === ALGORITHM.MAGLEV },
        ...{ cluster, local: [], ranges: [], affinitySec: 0, row: service },
      });
      builder.addFrontend(FRONTEND_KIND.CLUSTER_IP, family, vip, half(80), number, port);
    }
    this.table = builder.finish(new Int32Array(services * endpoints + 1).fill(ENDPOINT_STATE.LIVE));
    this.vips = new Int32Array(vips);
  }

  /** A plane with room for twice as many flows as there will be. @param file of the flows of the family, if not plain memory */
  plane(flows: number, file?: ArrayBufferLike): InMemoryDataplane {
    return new InMemoryDataplane({
      table: this.table,
      snatPools: POOLS,
      turns: new Int32Array(new SharedArrayBuffer(this.services * 4)),
      active: new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS * 4)),
      seed: 1,
      flowCapacity: powerOfTwoAtLeast(file === undefined ? flows * 2 : flows),
      flowFiles: this.family === FAMILY.V4 ? [file, undefined] : [undefined, file],
    });
  }

  /**
   * Fills every slot of the plane's slab with a packet of 64 bytes of another flow: the source address counts through the
   * flows in an order that is no order. TCP connections are picked up in mid-stream, by an ACK, so that what begins a flow is
   * also a hit on it.
   */
  traffic(plane: InMemoryDataplane, flows: number): Device {
    const { family, vips, services } = this;
    const { bytes, words, lengths } = plane.cx.slab;
    const isV4 = family === FAMILY.V4;
    const frame = frameOf64(family, this.protocol);
    const src = isV4 ? IPV4.SRC >> 2 : (IPV6.SRC >> 2) + 3;
    const dst = (isV4 ? IPV4.DST : IPV6.DST) >> 2;
    const dstWords = ADDRESS_WORDS[family];
    const at = Array.from({ length: SLOTS }, (_, slot) => packetAt(slot));
    const stride = 7919; // prime to every number of flows
    let flow = 0;
    return {
      readBatch() {
        for (let slot = 0; slot < SLOTS; slot++) {
          const packet = at[slot];
          bytes.set(frame, packet - VNET.SIZE);
          words[(packet >> 2) + src] = (flow << 8) | 10;
          const vip = (flow % services) * dstWords;
          for (let i = 0; i < dstWords; i++) words[(packet >> 2) + dst + i] = vips[vip + i];
          lengths[slot] = frame.length;
          flow += stride;
          if (flow >= flows) flow %= flows;
        }
        return SLOTS;
      },
      writeBatch: () => SLOTS,
      wait: () => 1,
    };
  }
}

/** Nothing comes: flows expire. */
const SILENCE: Device = { readBatch: () => 0, writeBatch: () => 0, wait: () => 0 };

/** Takes so many packets of the device through the plane. */
export function run(plane: InMemoryDataplane, device: Device, packets: number): void {
  for (let left = packets; left > 0; left -= SLOTS) turn(plane.cx, device, plane.nowMs);
}

/** Time passes until every flow has expired and been reaped. */
export function endFlows(plane: InMemoryDataplane): void {
  const { cx } = plane;
  while (cx.flows.some(({ count }) => count > 0)) {
    plane.nowMs += 1_000_000;
    turn(cx, SILENCE, plane.nowMs);
  }
}

/** 172.16.0.0/12, fd00:96::/96: of clients, Services and endpoints no address is another's. */
const vipWords = (family: number, i: number): number[] =>
  addressWords(
    family === FAMILY.V4 ? `172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}` : `fd00:96::${groups(i)}`,
  );

/** 100.64.0.0/10, fd00:244::/96. */
const endpointWords = (family: number, i: number): number[] =>
  addressWords(
    family === FAMILY.V4 ? `100.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}` : `fd00:244::${groups(i)}`,
  );

const groups = (i: number): string => `${(i >>> 16).toString(16)}:${(i & 0xffff).toString(16)}`;

const PACKET_BYTES = 64;

/** A packet of a client, from the IP header on 64 bytes long: the first one that `wire/compose.ts` makes, with zeros behind. */
function frameOf64(family: number, protocol: 'TCP' | 'UDP'): Uint8Array {
  const isV4 = family === FAMILY.V4;
  const first = composeFirstPacket({
    ...(isV4 ? { src: '10.0.0.1', dst: '172.16.0.1' } : { src: 'fd00::1', dst: 'fd00:96::1' }),
    ...{ protocol, sport: 5353, dport: 80 },
  });
  const bytes = new Uint8Array(VNET.SIZE + PACKET_BYTES);
  bytes.set(first);
  const halves = new Uint16Array(bytes.buffer);
  const ip = VNET.SIZE;
  const l4 = ip + (isV4 ? IPV4.SIZE : IPV6.SIZE);
  const l4Bytes = half(PACKET_BYTES - (l4 - ip));
  const lengthDelta = wordDelta(half(first.length - l4), l4Bytes);
  if (isV4) {
    halves[(ip + IPV4.TOTAL_LENGTH) >> 1] = half(PACKET_BYTES);
    halves[(ip + IPV4.CHECK) >> 1] = 0;
    halves[(ip + IPV4.CHECK) >> 1] = ~sumBytes(bytes, ip, IPV4.SIZE);
  } else {
    halves[(ip + IPV6.PAYLOAD_LENGTH) >> 1] = l4Bytes;
  }
  if (protocol === 'UDP') {
    halves[(l4 + UDP.LENGTH) >> 1] = l4Bytes;
    // The length counts twice, in the header and in the pseudo-header.
    halves[(l4 + UDP.CHECK) >> 1] = updateChecksum(halves[(l4 + UDP.CHECK) >> 1], fold(2 * lengthDelta));
  } else {
    const flags = (l4 + TCP.FLAGS) >> 1; // the second byte of its half
    const before = halves[flags];
    bytes[l4 + TCP.FLAGS] = TCP_FLAG.ACK;
    const delta = lengthDelta + wordDelta(before, halves[flags]);
    halves[(l4 + TCP.CHECK) >> 1] = updateChecksum(halves[(l4 + TCP.CHECK) >> 1], fold(delta));
  }
  return bytes;
}

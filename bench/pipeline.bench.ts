/**
 * The whole way in memory, on one worker: 64-byte UDP datagrams of many flows, hits and new flows, both families. A device
 * that only fills the slab stands in for the TUN; what it costs by itself is measured and taken off.
 */
import { InMemoryDataplane } from '../src/dataplane/in-memory.js';
import { turn } from '../src/dataplane/loop.js';
import { packetAt, SLOTS } from '../src/dataplane/packet.js';
import type { Device } from '../src/device/device.js';
import { snatPoolOf } from '../src/host/snat-pool.js';
import { powerOfTwoAtLeast } from '../src/shared/assert.js';
import { TableBuilder } from '../src/table/builder.js';
import { ENDPOINT_ROWS } from '../src/table/counters.js';
import { ALGORITHM, ENDPOINT_STATE, FRONTEND_KIND, PORT_FLAG, TABLE_FLAG } from '../src/table/layout.js';
import { addressWords, parseCidr } from '../src/wire/address.js';
import { half } from '../src/wire/byte-order.js';
import { composeFirstPacket } from '../src/wire/compose.js';
import { FAMILY } from '../src/wire/family.js';
import { IPV4 } from '../src/wire/ipv4.js';
import { IPV6 } from '../src/wire/ipv6.js';
import { type Figure, figureOf } from './figures.js';

const FLOWS = { '1k': 1000, '64k': 1 << 16, '1m': 1 << 20 } as const;
const SERVICES = 1000;
const ENDPOINTS = 4;
const PACKETS = 1 << 20;
const UDP = 17;

const POOLS = ['198.18.0.0/16', 'fd00:198:18::/112'].map((text) => {
  const cidr = parseCidr(text);
  const pool = cidr === null ? text : snatPoolOf(cidr);
  if (typeof pool === 'string') throw new Error(pool);
  return pool;
});

/** @returns millions of packets a second: flows that are known, and flows that begin */
export function pipelineFigures(rounds: number): Figure[] {
  const figures: Figure[] = [];
  for (const [family, name] of [
    [FAMILY.V4, 'v4'],
    [FAMILY.V6, 'v6'],
  ] as const) {
    for (const [size, flows] of Object.entries(FLOWS)) {
      const created: number[] = [];
      const hits: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const { plane, device } = setUp(family, flows);
        const packets = Math.max(flows, SLOTS);
        const first = timed(() => run(plane, device, packets));
        run(plane, device, PACKETS); // warm
        const hit = timed(() => run(plane, device, PACKETS));
        const filling = timed(() => fill(device, PACKETS)) / PACKETS;
        if (flows >= 1 << 16) created.push(perSecond(packets, first - filling * packets));
        hits.push(perSecond(PACKETS, hit - filling * PACKETS));
      }
      figures.push(figureOf(`pipeline.hit.${name}.${size}`, 'Mpps', hits));
      if (created.length > 0) figures.push(figureOf(`pipeline.new.${name}.${size}`, 'Mpps', created));
    }
  }
  return figures;
}

const perSecond = (packets: number, ms: number): number => packets / ms / 1000;

function timed(work: () => void): number {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

function run(plane: InMemoryDataplane, device: Device, packets: number): void {
  for (let left = packets; left > 0; left -= SLOTS) turn(plane.cx, device, plane.nowMs);
}

function fill(device: Device, packets: number): void {
  for (let left = packets; left > 0; left -= SLOTS) device.readBatch();
}

function setUp(family: number, flows: number): { plane: InMemoryDataplane; device: Device } {
  const vip = (i: number): number[] =>
    addressWords(family === FAMILY.V4 ? `10.96.${i >> 8}.${i & 255}` : `fd00:96::${(i + 1).toString(16)}`);
  const endpoint = (i: number): number[] =>
    addressWords(family === FAMILY.V4 ? `10.244.${i >> 8}.${i & 255}` : `fd00:244::${(i + 1).toString(16)}`);
  const builder = new TableBuilder(TABLE_FLAG.KEEP_SOURCE_FOR_PODS);
  for (let service = 0; service < SERVICES; service++) {
    const cluster = Array.from({ length: ENDPOINTS }, (_, i) => {
      const id = service * ENDPOINTS + i + 1;
      return { address: endpoint(id), port: half(8080), id, weight: 1 };
    });
    const port = builder.addPort({
      ...{ family, protocol: UDP, flags: PORT_FLAG.HAS_ENDPOINTS, algorithm: ALGORITHM.CASCADE },
      ...{ cluster, local: [], ranges: [], affinitySec: 0, row: service, maglev: false },
    });
    builder.addFrontend(FRONTEND_KIND.CLUSTER_IP, family, vip(service), half(80), UDP, port);
  }
  const plane = new InMemoryDataplane({
    table: builder.finish(new Int32Array(SERVICES * ENDPOINTS + 1).fill(ENDPOINT_STATE.LIVE)),
    snatPools: POOLS,
    turns: new Int32Array(new SharedArrayBuffer(SERVICES * 4)),
    active: new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS * 4)),
    seed: 1,
    flowCapacity: powerOfTwoAtLeast(flows * 2),
  });
  const vips = new Int32Array(Array.from({ length: SERVICES }, (_, i) => vip(i)).flat());
  return { plane, device: trafficOf(plane, family, vips, flows) };
}

/** Every slot another flow: the source address counts through the flows in an order that is no order. */
function trafficOf(plane: InMemoryDataplane, family: number, vips: Int32Array, flows: number): Device {
  const { bytes, words, lengths } = plane.cx.slab;
  const isV4 = family === FAMILY.V4;
  const frame = composeFirstPacket({
    ...(isV4 ? { src: '10.0.0.1', dst: '10.96.0.1' } : { src: 'fd00::1', dst: 'fd00:96::1' }),
    ...{ protocol: 'UDP', sport: 5353, dport: 80 },
  });
  const src = isV4 ? IPV4.SRC >> 2 : (IPV6.SRC >> 2) + 3;
  const dst = (isV4 ? IPV4.DST : IPV6.DST) >> 2;
  const dstWords = isV4 ? 1 : 4;
  const at = Array.from({ length: SLOTS }, (_, slot) => packetAt(slot));
  const stride = 7919; // prime to every number of flows
  let flow = 0;
  return {
    readBatch() {
      for (let slot = 0; slot < SLOTS; slot++) {
        const packet = at[slot];
        bytes.set(frame, packet - 10);
        words[(packet >> 2) + src] = (flow << 8) | 10;
        const vip = (flow % SERVICES) * dstWords;
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

/**
 * The whole way in memory, on one worker: 64-byte packets of many flows, hits and new flows. A device that only fills the
 * slab stands in for the TUN; what it costs by itself is measured and taken off.
 */
import { setImmediate } from 'node:timers/promises';
import type { InMemoryDataplane } from '../src/dataplane/in-memory.js';
import { turn } from '../src/dataplane/loop.js';
import { SLOTS } from '../src/dataplane/packet.js';
import type { Device } from '../src/device/device.js';
import { FAMILY } from '../src/wire/family.js';
import { type Figure, figureOf } from './figures.js';
import { World } from './world.js';

const FLOWS = { '1k': 1000, '64k': 1 << 16, '1m': 1 << 20 } as const;
export const SERVICE_COUNTS = [10, 1000, 10_000, 100_000] as const;
const SERVICES = 10_000;
const ENDPOINTS = 4;
const PACKETS = 1 << 19;
/** Flows that begin in one round at least: fewer are too few for the clock, so they begin several times. */
const NEW_MIN = 1 << 14;
/** Nothing comes: flows expire. */
const SILENCE: Device = { readBatch: () => 0, writeBatch: () => 0, wait: () => 0 };

/** Millions of packets a second: flows that are known, and flows that begin. */
export async function pipelineFigures(rounds: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  const add = async (name: string, world: World, flows: number): Promise<void> => {
    const plane = world.plane(flows);
    const device = world.traffic(plane, flows);
    const rates: { hit: number; new: number }[] = [];
    ratesOf(plane, device, flows); // the first round is for the compiler, and for the kernel to give the memory
    for (let round = 0; round < rounds; round++) {
      await setImmediate(); // Ctrl-C gets its turn
      rates.push(ratesOf(plane, device, flows));
    }
    for (const kind of ['hit', 'new'] as const) {
      figures.push(
        figureOf(
          `pipeline.${kind}.${name}`,
          'Mpps',
          rates.map((rate) => rate[kind]),
        ),
      );
    }
  };
  for (const [name, family] of [
    ['v4', FAMILY.V4],
    ['v6', FAMILY.V6],
  ] as const) {
    const world = new World({ family, services: SERVICES, endpoints: ENDPOINTS });
    for (const [size, flows] of Object.entries(FLOWS)) await add(`${name}.${size}`, world, flows);
  }
  await add(
    'tcp.64k',
    new World({ protocol: 'TCP', services: SERVICES, endpoints: ENDPOINTS }),
    FLOWS['64k'],
  );
  for (const services of SERVICE_COUNTS)
    await add(`services.${services}`, new World({ services }), FLOWS['64k']);
  return figures;
}

/** Flows begin where others have ended, as in a table that is in use; the last ones are then hit. */
function ratesOf(plane: InMemoryDataplane, device: Device, flows: number): { hit: number; new: number } {
  const packets = Math.ceil(flows / SLOTS) * SLOTS;
  let begun = 0;
  let took = 0;
  do {
    endFlows(plane);
    took += timed(() => run(plane, device, packets)) - filling(device, packets);
    begun += packets;
  } while (begun < NEW_MIN);
  run(plane, device, PACKETS >> 2); // warm
  const hit = timed(() => run(plane, device, PACKETS)) - filling(device, PACKETS);
  return { hit: PACKETS / hit / 1000, new: begun / took / 1000 };
}

/** Time passes until every flow has expired and been reaped. */
export function endFlows(plane: InMemoryDataplane): void {
  const { cx } = plane;
  while (cx.flows.some(({ count }) => count > 0)) {
    plane.nowMs += 1_000_000;
    turn(cx, SILENCE, plane.nowMs);
  }
}

function timed(work: () => void): number {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

export function run(plane: InMemoryDataplane, device: Device, packets: number): void {
  for (let left = packets; left > 0; left -= SLOTS) turn(plane.cx, device, plane.nowMs);
}

function filling(device: Device, packets: number): number {
  return timed(() => {
    for (let left = packets; left > 0; left -= SLOTS) device.readBatch();
  });
}

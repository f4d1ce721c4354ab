/**
 * Run by pipeline.bench.ts, bundled as the workers are: millions of packets a second, of flows that are known and of flows that
 * begin. In a process of its own, because a worker has one plane and V8 compiles the fast path for that one
 * (docs/decisions/0017-the-fast-path-is-made-for-its-worker.md). Its argument is a RatesAsked, what it prints is Rates, in JSON.
 */
import type { InMemoryDataplane } from '../src/dataplane/in-memory.js';
import { SLOTS } from '../src/dataplane/packet.js';
import type { Device } from '../src/device/device.js';
import { endFlows, run, World, type WorldOptions } from './world.js';

export interface RatesAsked {
  readonly world: WorldOptions;
  readonly flows: number;
  readonly rounds: number;
}

/** Of each round. */
export interface Rates {
  readonly hit: number[];
  readonly new: number[];
}

const PACKETS = 1 << 19;
/** Flows that begin in one round at least: fewer are too few for the clock, so they begin several times. */
const NEW_MIN = 1 << 14;

const { world: options, flows, rounds } = JSON.parse(process.argv[2] as string) as RatesAsked;
const world = new World(options);
const plane = world.plane(flows);
const device = world.traffic(plane, flows);
const rates: Rates = { hit: [], new: [] };
ratesOf(plane, device); // the first round is for the compiler, and for the kernel to give the memory
for (let round = 0; round < rounds; round++) {
  const rate = ratesOf(plane, device);
  rates.hit.push(rate.hit);
  rates.new.push(rate.new);
}
console.log(JSON.stringify(rates));

/** Flows begin where others have ended, as in a table that is in use; the last ones are then hit. */
function ratesOf(plane: InMemoryDataplane, device: Device): { hit: number; new: number } {
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

function timed(work: () => void): number {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

function filling(device: Device, packets: number): number {
  return timed(() => {
    for (let left = packets; left > 0; left -= SLOTS) device.readBatch();
  });
}

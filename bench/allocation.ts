/**
 * Run by memory.bench.ts in a process of its own: bytes of JavaScript heap that a packet costs, hits and new flows, both
 * families, UDP and TCP; one number a round. The new space is so large that nothing is collected in between, so what the
 * heap grew by is what was allocated.
 */
import v8 from 'node:v8';
import { FAMILY } from '../src/wire/family.js';
import { run } from './pipeline.bench.js';
import { World } from './world.js';

const FLOWS = 1 << 16;
const PACKETS = 1 << 18;

const mix = [
  new World({ services: 1000 }),
  new World({ services: 1000, protocol: 'TCP' }),
  new World({ services: 1000, family: FAMILY.V6 }),
].map((world) => {
  const plane = world.plane(FLOWS);
  // Half of the packets begin a flow: their flow has expired since it was seen last.
  const known = world.traffic(plane, FLOWS);
  const lapsed = world.traffic(plane, FLOWS);
  return () => {
    run(plane, known, PACKETS / 2);
    for (let left = PACKETS / 2; left > 0; left -= FLOWS) {
      plane.nowMs += 1_000_000_000;
      run(plane, lapsed, Math.min(left, FLOWS));
    }
  };
});

const rounds = Array.from({ length: Number(process.argv[2]) }, () => 0);
for (const take of mix) for (let i = 0; i < 5; i++) take(); // compiled and optimised
for (const round of rounds.keys()) {
  globalThis.gc?.();
  const before = v8.getHeapStatistics().used_heap_size;
  for (const take of mix) take();
  rounds[round] = (v8.getHeapStatistics().used_heap_size - before) / (PACKETS * mix.length);
}
console.log(JSON.stringify(rounds));

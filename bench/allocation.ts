/**
 * Run by memory.bench.ts in a process of its own: bytes of JavaScript heap that a packet costs, hits and new flows, both
 * families, UDP and TCP; one number a round. The new space is so large that nothing is collected in between, so what the
 * heap grew by is what was allocated. Some of that has nothing to do with packets and is the same for few and for many of them:
 * a round measures both, and counts what the many cost more.
 */
import v8 from 'node:v8';
import { FAMILY } from '../src/wire/family.js';
import { run, World } from './world.js';

const FLOWS = 1 << 16;
const FEW = 1 << 17;
const MANY = 1 << 20;

const mix = [
  new World({ services: 1000 }),
  new World({ services: 1000, protocol: 'TCP' }),
  new World({ services: 1000, family: FAMILY.V6 }),
].map((world) => {
  const plane = world.plane(FLOWS);
  // Half of the packets begin a flow: their flow has expired since it was seen last.
  const known = world.traffic(plane, FLOWS);
  const lapsed = world.traffic(plane, FLOWS);
  return (packets: number) => {
    run(plane, known, packets / 2);
    for (let left = packets / 2; left > 0; left -= FLOWS) {
      plane.nowMs += 1_000_000_000;
      run(plane, lapsed, Math.min(left, FLOWS));
    }
  };
});

const rounds = Array.from({ length: Number(process.argv[2]) }, () => 0);

/** Bytes that so many packets of each kind allocate. */
function allocatedBy(packets: number): number {
  globalThis.gc?.();
  const before = v8.getHeapStatistics().used_heap_size;
  for (const take of mix) take(packets);
  return v8.getHeapStatistics().used_heap_size - before;
}

for (let i = 0; i < 4; i++) allocatedBy(MANY); // compiled and optimised
for (const round of rounds.keys()) {
  const more = allocatedBy(MANY) - allocatedBy(FEW); // below nothing when something else was allocated beside the few
  rounds[round] = Math.max(0, more) / ((MANY - FEW) * mix.length);
}
console.log(JSON.stringify(rounds));

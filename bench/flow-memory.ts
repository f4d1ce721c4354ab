/**
 * Run by memory.bench.ts in a process of its own: bytes of memory that a flow takes, everything counted, in a table of
 * 2^20 flows that is full. What is measured is how much the resident set of the process grew by: the mapped file with the
 * records, the index over it and the lists. One number.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapFile } from '../native-bindings/index.js';
import { flowFileBytes } from '../src/conntrack/flow-table.js';
import { FAMILY } from '../src/wire/family.js';
import { endFlows, run, World } from './world.js';

const FLOWS = 1 << 20;

const world = new World({ services: 1000 });
// Code that is compiled, the slab, and what else a plane has that does not grow with its flows.
const small = world.plane(1 << 10);
for (let i = 0; i < 16; i++) run(small, world.traffic(small, 1 << 10), 1 << 16);

globalThis.gc?.();
const before = process.memoryUsage.rss();
const dir = mkdtempSync(join(tmpdir(), 'flowpin-bench-'));
const file = mapFile(join(dir, 'flows4'), flowFileBytes(FAMILY.V4, FLOWS));
rmSync(dir, { recursive: true }); // what is mapped stays, and goes with the process
if (typeof file === 'number') throw new Error(`mapping the flows failed: ${file}`);
const plane = world.plane(FLOWS, file);
const { cx } = plane;
const [flows] = cx.flows;
if (flows === undefined) throw new Error('a plane without flows');
run(plane, world.traffic(plane, FLOWS), FLOWS);
if (flows.count !== FLOWS) throw new Error(`${flows.count} flows began instead of ${FLOWS}`);
// They end, so that the list of free entries is used as well: memory that has been used stays.
endFlows(plane);
globalThis.gc?.();
console.log(JSON.stringify([(process.memoryUsage.rss() - before) / FLOWS]));

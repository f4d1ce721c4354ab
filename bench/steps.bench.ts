/**
 * Each step by itself, with the `benchmark` package: what one call costs, on 64 packets of 64 flows that are in the cache.
 * And the table lookup against ever more Services, of which every call asks for another: what the memory behind it costs.
 */
import { setImmediate } from 'node:timers/promises';
import Benchmark from 'benchmark';
import { choose } from '../src/dataplane/choose.js';
import type { InMemoryDataplane } from '../src/dataplane/in-memory.js';
import { RECORD, recordAt, SLOTS } from '../src/dataplane/packet.js';
import { parse } from '../src/dataplane/parse.js';
import { pinFind } from '../src/dataplane/pin.js';
import { translate } from '../src/dataplane/translate.js';
import { ALGORITHM, FRONTEND, frontendKey, PORT } from '../src/table/layout.js';
import { ServiceTable } from '../src/table/service-table.js';
import { half } from '../src/wire/byte-order.js';
import { updateChecksum } from '../src/wire/checksum.js';
import { FAMILY } from '../src/wire/family.js';
import { PROTOCOL } from '../src/wire/ipv4.js';
import { type Figure, figureOf } from './figures.js';
import { run, SERVICE_COUNTS, World } from './world.js';

const SERVICES = 1000;
const ENDPOINTS = 10;
const KEY = frontendKey(FAMILY.V4, half(80), PROTOCOL.UDP);
const SRC = RECORD.TUPLE;
const DST = RECORD.TUPLE + 1;

/** What every step answers goes here, so that none is optimised away. */
const sink = new Int32Array(1);

/** @param quick fewer samples of each; never fewer than five */
export async function stepFigures(quick: boolean): Promise<Figure[]> {
  const { plane, flows } = parsedBatch();
  const { cx } = plane;
  const { records, table } = cx;
  const steps: { [name: string]: (slot: number) => number } = {
    checksum: (slot) => updateChecksum(records[recordAt(slot) + SRC] & 0xffff, 0x1234),
    parse: (slot) => parse(cx, slot),
    'flow-lookup': (slot) => pinFind(cx, slot),
    'table-lookup': (slot) => table.find(records, recordAt(slot) + DST, 1, KEY),
    translate: (slot) => {
      translate(cx, slot, flows[slot]);
      return 0;
    },
  };
  for (const [name, algorithm] of Object.entries(ALGORITHM)) {
    steps[`choose.${name.toLowerCase().replaceAll('_', '-')}`] = chooseStep(algorithm);
  }
  const figures: Figure[] = [];
  for (const [name, step] of Object.entries(steps)) {
    await setImmediate(); // Ctrl-C gets its turn
    figures.push(perCall(`step.${name}`, step, quick));
  }
  return [...figures, ...SERVICE_COUNTS.map((services) => lookupFigure(services, quick))];
}

/** A batch that has been parsed, every flow of which is known. */
function parsedBatch(): { plane: InMemoryDataplane; flows: Int32Array } {
  const world = new World({ services: SERVICES });
  const plane = world.plane(SLOTS);
  const device = world.traffic(plane, SLOTS);
  run(plane, device, SLOTS);
  device.readBatch();
  const flows = new Int32Array(SLOTS);
  for (let slot = 0; slot < SLOTS; slot++) {
    parse(plane.cx, slot);
    flows[slot] = pinFind(plane.cx, slot);
  }
  return { plane, flows };
}

function chooseStep(algorithm: number): (slot: number) => number {
  const world = new World({ services: 1, endpoints: ENDPOINTS, algorithm });
  const { cx } = world.plane(SLOTS);
  const frontend = cx.table.find(world.vips, 0, 1, KEY);
  const port = cx.table.words[frontend + FRONTEND.PORT];
  for (let slot = 0; slot < SLOTS; slot++) cx.records[recordAt(slot) + SRC] = (slot << 24) | 10;
  return (slot) => choose(cx, port, port + PORT.CLUSTER, recordAt(slot) + SRC, 1);
}

/** The Services in an order that is no order, so that no lookup is helped by the one before. */
function lookupFigure(services: number, quick: boolean): Figure {
  const world = new World({ services });
  const table = ServiceTable.from(world.table);
  const asked = Int32Array.from({ length: services }, (_, i) => world.vips[(i * 7919) % services]);
  let at = 0;
  const lookup = (): number => {
    at = at + 1 === services ? 0 : at + 1;
    return table.find(asked, at, 1, KEY);
  };
  return perCall(`lookup.${services}`, lookup, quick);
}

function perCall(id: string, step: (slot: number) => number, quick: boolean): Figure {
  const batch = (): void => {
    for (let slot = 0; slot < SLOTS; slot++) sink[0] ^= step(slot);
  };
  const bench = new Benchmark(id, batch, {
    ...{ minSamples: 5, maxTime: quick ? 0.05 : 1, minTime: quick ? 0.02 : 0.05 },
  }).run();
  const nanoseconds = bench.stats.sample.map((seconds) => (seconds / SLOTS) * 1e9);
  if (nanoseconds.length === 0) throw new Error(`${id} failed: ${bench.error}`);
  return figureOf(id, 'ns', nanoseconds);
}

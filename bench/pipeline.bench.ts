/**
 * The whole way in memory, on one worker: 64-byte packets of many flows, hits and new flows. A device that only fills the
 * slab stands in for the TUN; what it costs by itself is measured and taken off. See rates.ts.
 */
import { fileURLToPath } from 'node:url';
import { FAMILY } from '../src/wire/family.js';
import { type Figure, figureOf } from './figures.js';
import { printedBy } from './printed-by.js';
import type { Rates, RatesAsked } from './rates.js';
import { SERVICE_COUNTS, type WorldOptions } from './world.js';

const FLOWS = { '1k': 1000, '64k': 1 << 16, '1m': 1 << 20 } as const;
const WORLD: WorldOptions = { services: 10_000, endpoints: 4 };
/** V8 does not compile the same twice: after so many rounds another process goes on. */
const ROUNDS_EACH = 3;
const RATES = fileURLToPath(new URL('../bundle/rates.js', import.meta.url));

/** Millions of packets a second: flows that are known, and flows that begin. */
export async function pipelineFigures(rounds: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  const add = async (name: string, world: WorldOptions, flows: number): Promise<void> => {
    const rates: Rates[] = [];
    for (let left = rounds; left > 0; left -= ROUNDS_EACH)
      rates.push(await ratesIn({ world, flows, rounds: Math.min(left, ROUNDS_EACH) }));
    for (const kind of ['hit', 'new'] as const) {
      const all = rates.flatMap((some) => some[kind]);
      figures.push(figureOf(`pipeline.${kind}.${name}`, 'Mpps', all));
    }
  };
  for (const [name, family] of [
    ['v4', FAMILY.V4],
    ['v6', FAMILY.V6],
  ] as const) {
    for (const [size, flows] of Object.entries(FLOWS))
      await add(`${name}.${size}`, { ...WORLD, family }, flows);
  }
  await add('tcp.64k', { ...WORLD, protocol: 'TCP' }, FLOWS['64k']);
  for (const services of SERVICE_COUNTS) await add(`services.${services}`, { services }, FLOWS['64k']);
  return figures;
}

const ratesIn = (asked: RatesAsked): Promise<Rates> => printedBy([RATES, JSON.stringify(asked)]);

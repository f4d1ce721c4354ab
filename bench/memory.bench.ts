/** What packets and flows cost in memory: in processes of their own, where nothing else grows. */
import { type Figure, figureOf } from './figures.js';
import { printedBy } from './printed-by.js';
import { script } from './reference.js';

export async function memoryFigures(rounds: number): Promise<Figure[]> {
  const allocated = await numbers(['--max-semi-space-size=256', script('allocation'), String(rounds)]);
  const perFlow: number[] = [];
  for (let round = 0; round < rounds; round++) perFlow.push(...(await numbers([script('flow-memory')])));
  return [figureOf('pipeline.alloc', 'bytes/packet', allocated), figureOf('memory.flow', 'bytes', perFlow)];
}

const numbers = (args: readonly string[]): Promise<number[]> => printedBy(['--expose-gc', ...args]);

/** What packets and flows cost in memory: in processes of their own, where nothing else grows. */
import { run } from '../src/lab/process.js';
import { type Figure, figureOf } from './figures.js';
import { script } from './reference.js';

export async function memoryFigures(rounds: number): Promise<Figure[]> {
  const allocated = await numbers(['--max-semi-space-size=256', script('allocation'), String(rounds)]);
  const perFlow: number[] = [];
  for (let round = 0; round < rounds; round++) perFlow.push(...(await numbers([script('flow-memory')])));
  return [figureOf('pipeline.alloc', 'bytes/packet', allocated), figureOf('memory.flow', 'bytes', perFlow)];
}

async function numbers(args: readonly string[]): Promise<number[]> {
  const { code, stdout, stderr } = await run(process.execPath, ['--expose-gc', ...args], {
    timeoutMs: 120_000,
  });
  if (code !== 0) throw new Error(`${args.join(' ')} failed: ${stderr.trim()}`);
  return JSON.parse(stdout) as number[];
}

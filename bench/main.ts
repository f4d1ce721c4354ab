/**
 * `npm run bench [-- PART...] [--quick] [--json FILE]`: prints a line a figure, and writes all of them to FILE.
 *
 *   steps      each step by itself, and the table lookup              in memory
 *   pipeline   the whole way, hits and new flows                      in memory
 *   memory     bytes a packet allocates, bytes a flow takes           in memory
 *   compile    a change of Services, and its way to the workers       in memory
 *   compare    what balancing behaviours do to users                  in memory, from the lab
 *   tun        real traffic, flowpin and its peers                    in namespaces
 *   scale      first packets with many Services, workers              in namespaces
 *
 * Without PART all of them. `--quick` has fewer and shorter rounds: all parts take less than two minutes on an idle machine.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { enterSandbox, sandboxUnavailable } from '../src/lab/sandbox.js';
import { compareFigures } from './compare.bench.js';
import { compileFigures } from './compile.bench.js';
import { type Figure, figureLine, type Results, type Skipped } from './figures.js';
import { machineFacts, versions } from './machine.js';
import { memoryFigures } from './memory.bench.js';
import { pipelineFigures } from './pipeline.bench.js';
import { compileReference } from './reference.js';
import { measureScale } from './scale.bench.js';
import { measureTun } from './tun.bench.js';
import type { Turns } from './turns.js';

const { stepFigures } = (await import(
  new URL('../bundle/bench.js', import.meta.url).href
)) as typeof import('./in-memory.js');

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, json: { type: 'string' } },
  allowPositionals: true,
});
const { quick } = values;
const ROUNDS = quick ? { memory: 3, tun: 3 } : { memory: 9, tun: 5 };
const WINDOWS = quick
  ? { bulk: ['-n', '384M'], seconds: 1, ms: 200, warmMs: 100 }
  : { bulk: ['-t', '4'], seconds: 4, ms: 2000, warmMs: 300 };

interface Measured {
  readonly figures: readonly Figure[];
  readonly skipped?: readonly Skipped[];
}

const PARTS: { readonly [part: string]: () => Promise<Measured> } = {
  steps: async () => ({ figures: await stepFigures(quick) }),
  pipeline: async () => ({ figures: await pipelineFigures(ROUNDS.memory) }),
  memory: async () => ({ figures: await memoryFigures(ROUNDS.memory) }),
  compile: async () => ({ figures: await compileFigures(ROUNDS.memory) }),
  compare: async () => ({ figures: compareFigures(quick ? 3 : 9) }),
  tun: async () => measuredBy(await measureTun(ROUNDS.tun, WINDOWS, say)),
  scale: async () => measuredBy(await measureScale(ROUNDS.tun, WINDOWS, quick, say)),
};
const IN_NAMESPACES = ['tun', 'scale'];

const asked = positionals.length > 0 ? positionals : Object.keys(PARTS);
const unknown = asked.filter((part) => !(part in PARTS));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}

// Where some distributions keep iptables, nft and haproxy, outside an ordinary user's PATH.
process.env.PATH += ':/usr/sbin:/sbin';
const figures: Figure[] = [];
const skipped: Skipped[] = [];

const unavailable = await whyNoNamespaces();
for (const part of asked) {
  if (unavailable !== null && IN_NAMESPACES.includes(part)) {
    add({ figures: [], skipped: [{ id: part, peer: 'all', reason: unavailable }] });
    continue;
  }
  say(part);
  add(await PARTS[part]!());
}

if (values.json !== undefined) {
  const results: Results = {
    machine: machineFacts(),
    versions: await versions(),
    date: new Date().toISOString(),
    quick,
    figures,
    skipped,
  };
  mkdirSync(dirname(values.json), { recursive: true });
  writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
}
process.exit(0);

/** Enters a sandbox if a part needs one; the reason if there can be none. */
async function whyNoNamespaces(): Promise<string | null> {
  if (!asked.some((part) => IN_NAMESPACES.includes(part))) return null;
  const why = sandboxUnavailable();
  if (why !== null) return why;
  await enterSandbox();
  try {
    await compileReference();
    return null;
  } catch (error) {
    return `${(error as Error).message}: scripts/bench-setup installs a C compiler`;
  }
}

function measuredBy(turns: Turns): Measured {
  return { figures: turns.figures(), skipped: turns.skipped };
}

function add(measured: Measured): void {
  for (const figure of measured.figures) console.log(figureLine(figure));
  figures.push(...measured.figures);
  for (const { id, peer, reason } of measured.skipped ?? [])
    console.log(`skipped ${id} of ${peer}: ${reason}`);
  skipped.push(...(measured.skipped ?? []));
}

/** What is going on, for whoever waits; not a result. */
function say(line: string): void {
  console.error(`bench: ${line}`);
}

/** `flowpin lab`: the same clients under different balancing behaviours, with numbers and pictures. */
import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { labServices } from '../lab/compare/cluster.js';
import { type Comparison, type ComparisonOptions, compareInMemory } from '../lab/compare/compare.js';
import { fittingWorkloads, loadOf } from '../lab/compare/load.js';
import { comparisonText } from '../lab/compare/report-table.js';
import { LAB_ENDPOINTS, labWorkloads } from '../lab/compare/scenarios.js';
import { STRATEGIES } from '../lab/compare/strategies.js';
import { EXIT, Failure } from '../shared/failure.js';

interface Options {
  readonly quick?: true;
  readonly seed: number;
  readonly workers: number;
  readonly json?: true;
  readonly html?: string;
}

/** How many times as many clients as with --quick. */
const FULL_SCALE = 5;

export function labCommand(): Command {
  return new Command('lab')
    .description(
      'compare balancing behaviours on the same clients: what breaks, what moves, who gets how much; no root',
    )
    .option('--quick', 'fewer clients, under a minute')
    .option('--seed <number>', 'the same seed gives the same report', wholeNumber(0, 2 ** 31 - 1), 1)
    .option(
      '--workers <number>',
      'contexts of the pipeline; changes nothing in the report',
      wholeNumber(1, 16),
      2,
    )
    .option('--json', 'print all numbers as one JSON object')
    .option('--html <file>', 'write a page with charts, too')
    .action(lab)
    .addHelpText(
      'after',
      `
Examples:
  $ flowpin lab --quick
  $ flowpin lab --html lab.html`,
    );
}

async function lab(options: Options): Promise<void> {
  const comparison = compareInMemory(comparisonOf(options), progressTo(process.stderr));
  process.stdout.write(
    options.json ? `${JSON.stringify(comparison, null, 2)}\n` : comparisonText(comparison),
  );
  if (options.html !== undefined) await writeHtml(options.html, comparison);
}

async function writeHtml(file: string, comparison: Comparison): Promise<void> {
  // The drawing library takes longer to load than everything else together.
  const { comparisonHtml } = await import('../lab/compare/report-html.js');
  const html = await comparisonHtml(comparison);
  try {
    writeFileSync(file, html);
  } catch (error) {
    throw new Failure(EXIT.HOST, `the report cannot be written: ${(error as Error).message}`);
  }
}

function comparisonOf({ quick, seed, workers }: Options): ComparisonOptions {
  const services = labServices(LAB_ENDPOINTS);
  const workloads = fittingWorkloads(labWorkloads(quick ? 1 : FULL_SCALE), services);
  return {
    services,
    loads: workloads.map((workload) => loadOf(workload, services, seed)),
    strategies: STRATEGIES,
    seed,
    workers,
    proofs: quick ? { flows: 2000, draws: 50 } : { flows: 10_000, draws: 500 },
  };
}

/** One line that is written over, on a terminal; nothing otherwise. */
function progressTo(stream: NodeJS.WriteStream): (doing: string, share: number) => void {
  if (!stream.isTTY) return () => {};
  process.once('exit', () => stream.write('\r\x1b[K'));
  return (doing, share) => void stream.write(`\r\x1b[K${Math.floor(100 * share)} %  ${doing}`);
}

const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= min && number <= max) return number;
    throw new InvalidArgumentError(`give a whole number from ${min} to ${max}.`);
  };

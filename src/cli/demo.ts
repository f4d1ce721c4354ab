// `flowpin demo`: the main job on real packets, in network namespaces of its own, with nothing left behind.

import { Command } from 'commander';
import { answeredText, builtText, countersText, stoppedText } from '../lab/demo-report.js';
import { type DemoProgress, runDemo } from '../lab/demo-run.js';
import { enterSandbox, sandboxUnavailable } from '../lab/sandbox.js';
import { EXIT, Failure } from '../shared/failure.js';
import { wholeNumber } from './whole-number.js';

interface Options {
  readonly connections: number;
  readonly requests: number;
  readonly json?: true;
}

/**
 * The command. Ends the process: 0 when every request was answered, the kept-alive connection stayed on one endpoint
 * and nothing was left behind; 3 where the lab cannot run; 4 otherwise, with the reasons on standard error.
 */
export function demoCommand(): Command {
  return new Command('demo')
    .description('show the main job on real packets: namespaces, HTTP servers, a client, the Service httpenv')
    .option('--connections <count>', 'connections with one request each', wholeNumber(1, 20_000), 300)
    .option('--requests <count>', 'requests on one kept-alive connection', wholeNumber(1, 100_000), 200)
    .option('--json', 'print the result as one JSON object')
    .action(demo);
}

async function demo(options: Options): Promise<void> {
  const why = sandboxUnavailable();
  if (why !== null) throw new Failure(EXIT.PRIVILEGE, `the demonstration cannot run here: ${why}`);
  await enterSandbox();
  process.exit(await demoInside(options));
}

async function demoInside(options: Options): Promise<number> {
  // `flowpin demo | head`: with its reader gone there is nobody left to show anything to.
  process.stdout.on('error', () => process.exit(EXIT.HOST));
  try {
    const result = await runDemo(options, options.json ? SILENT : SPOKEN);
    if (options.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    for (const problem of result.problems) process.stderr.write(`flowpin: not as it should be: ${problem}\n`);
    return result.problems.length === 0 ? EXIT.OK : EXIT.HOST;
  } catch (error) {
    process.stderr.write(
      `flowpin: the demonstration failed: ${error instanceof Error ? error.message : error}\n`,
    );
    return EXIT.HOST;
  }
}

const SPOKEN: DemoProgress = {
  built: (service) => void process.stdout.write(builtText(service)),
  answered: (service, http) => void process.stdout.write(answeredText(service, http)),
  counted: (counters) => void process.stdout.write(countersText(counters)),
  stopped: (end) => void process.stdout.write(stoppedText(end)),
};

const SILENT: DemoProgress = { built() {}, answered() {}, counted() {}, stopped() {} };

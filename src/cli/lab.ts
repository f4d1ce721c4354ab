/** `flowpin lab`: the same clients under different balancing behaviours, with numbers and pictures. */
import { readFileSync, writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { loadFiles } from '../control/sources/file.js';
import { remarkText } from '../control/sources/origin.js';
import { PcapError, readRecording } from '../device/pcap-file.js';
import { labServices, type Services, servicesOf } from '../lab/compare/cluster.js';
import { type Comparison, type ComparisonOptions, compareInMemory } from '../lab/compare/compare.js';
import { fittingWorkloads, type Load, loadOf } from '../lab/compare/load.js';
import { compareReal } from '../lab/compare/real.js';
import { agreementsText } from '../lab/compare/report-real.js';
import { comparisonText } from '../lab/compare/report-table.js';
import { LAB_ENDPOINTS, labWorkloads, realWorkloads } from '../lab/compare/scenarios.js';
import { STRATEGIES } from '../lab/compare/strategies.js';
import { loadOfTrace, servicesOfTrace, type Trace, traceOf } from '../lab/compare/trace.js';
import { loadWorkloadFile } from '../lab/compare/workload-file.js';
import { enterSandbox, sandboxUnavailable } from '../lab/sandbox.js';
import { EXIT, Failure } from '../shared/failure.js';
import { wholeNumber } from './whole-number.js';

interface Options {
  readonly filename?: string[];
  readonly service?: string;
  readonly workload?: string;
  readonly trace?: string;
  readonly real?: true;
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
    .option(
      '-f, --filename <path>',
      'your Services: manifests, a file or a directory; may be repeated (default: one Service with ten endpoints)',
      (value: string, earlier: string[] | undefined) => [...(earlier ?? []), value],
    )
    .option('--service <namespace/name>', 'which of them (default: the first with endpoints)')
    .option('--workload <file>', "your clients and events instead of the lab's own, see docs/LAB.md")
    .option('--trace <file>', 'replay a recording, pcap or pcapng, under every behaviour')
    .addOption(
      new Option(
        '--real',
        'on real sockets through flowpin up, in network namespaces, beside the same in memory; minutes',
      ).conflicts(['filename', 'service', 'workload', 'trace', 'html']),
    )
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
  $ flowpin lab --html lab.html
  $ flowpin lab -f services.yaml --service shop/cart --workload monday.yaml
  $ flowpin lab -f services.yaml --trace monday.pcap
  $ sudo flowpin lab --real --quick`,
    );
}

async function lab(options: Options): Promise<void> {
  if (options.real) return await labReal(options);
  const comparison = compareInMemory(comparisonOf(options), progressTo(process.stderr));
  process.stdout.write(
    options.json ? `${JSON.stringify(comparison, null, 2)}\n` : comparisonText(comparison),
  );
  if (options.html !== undefined) await writeHtml(options.html, comparison);
}

/** Ends the process: 0 when both engines agree, 1 when they do not, 3 where no namespaces can be made. */
async function labReal({ quick, seed, json }: Options): Promise<void> {
  const why = sandboxUnavailable();
  if (why !== null) throw new Failure(EXIT.PRIVILEGE, `real traffic cannot be sent here: ${why}`);
  await enterSandbox();
  const strategies = STRATEGIES.filter(({ pinned }) => pinned);
  const options = { workloads: realWorkloads(quick === true), strategies, seed };
  const agreements = await compareReal(options, progressTo(process.stderr));
  process.stdout.write(json ? `${JSON.stringify(agreements, null, 2)}\n` : agreementsText(agreements));
  process.exit(agreements.every(({ agrees }) => agrees) ? EXIT.OK : EXIT.NO);
}

async function writeHtml(file: string, comparison: Comparison): Promise<void> {
  // The drawing library takes longer to load than everything else together.
  const { comparisonHtml } = await import('../lab/compare/report-html.js');
  const html = comparisonHtml(comparison);
  try {
    writeFileSync(file, html);
  } catch (error) {
    throw new Failure(EXIT.HOST, `the report cannot be written: ${(error as Error).message}`);
  }
}

/** With input of the user's own only that is compared; the proofs are about the lab's own. */
function comparisonOf(options: Options): ComparisonOptions {
  const { quick, seed, workers, workload, trace: traceFile } = options;
  const trace = traceFile === undefined ? null : readTrace(traceFile);
  const services = servicesFor(options, trace);
  const loads: Load[] = [];
  if (workload !== undefined) {
    for (const given of loadWorkloadFile(workload, services.endpoints.length)) {
      const missing = given.clients.find(({ protocol }) => services.targets[protocol] === null);
      if (missing !== undefined) {
        throw new Failure(
          EXIT.USAGE,
          `workload ${given.name} has ${missing.protocol} clients, and ${services.service} has no ${missing.protocol} port: name another with --service`,
        );
      }
      loads.push(loadOf(given, services, seed));
    }
  }
  if (trace !== null) loads.push(replayed(traceFile ?? '', trace, services));
  const isOwn = workload === undefined && trace === null;
  if (isOwn) {
    const workloads = fittingWorkloads(labWorkloads(quick ? 1 : FULL_SCALE), services);
    loads.push(...workloads.map((given) => loadOf(given, services, seed)));
  }
  const proofs = quick ? { flows: 2000, draws: 50 } : { flows: 10_000, draws: 500 };
  return { services, loads, strategies: STRATEGIES, seed, workers, proofs: isOwn ? proofs : null };
}

function servicesFor({ filename, service }: Options, trace: Trace | null): Services {
  if (filename === undefined) {
    if (service !== undefined) throw new Failure(EXIT.USAGE, '--service names one of the Services of -f');
    if (trace === null) return labServices(LAB_ENDPOINTS);
    const found = servicesOfTrace(trace, LAB_ENDPOINTS);
    if (found === null) throw new Failure(EXIT.USAGE, 'the recording holds no TCP or UDP packet over IPv4');
    return found;
  }
  const { objects, setAside } = loadFiles(filename);
  for (const remark of setAside) console.error(`flowpin: set aside: ${remarkText(remark)}`);
  const services = servicesOf(objects, service ?? null);
  if (typeof services === 'string') throw new Failure(EXIT.USAGE, `${filename.join(', ')}: ${services}`);
  return services;
}

function readTrace(file: string): Trace {
  try {
    return traceOf(readRecording(readFileSync(file)));
  } catch (error) {
    const why = error instanceof PcapError ? 'is' : 'cannot be read:';
    throw new Failure(EXIT.USAGE, `--trace ${file} ${why} ${(error as Error).message}`);
  }
}

function replayed(file: string, trace: Trace, services: Services): Load {
  const load = loadOfTrace(`trace ${file}`, trace, services);
  if (load !== null) return load;
  const ports = services.ports
    .map(({ protocol, address, port }) => `${address}:${port}/${protocol}`)
    .join(', ');
  throw new Failure(EXIT.USAGE, `no packet of ${file} goes to ${ports}: name another Service with --service`);
}

/** One line that is written over, on a terminal; nothing otherwise. */
function progressTo(stream: NodeJS.WriteStream): (doing: string, share: number) => void {
  if (!stream.isTTY) return () => {};
  process.once('exit', () => stream.write('\r\x1b[K'));
  return (doing, share) => void stream.write(`\r\x1b[K${Math.floor(100 * share)} %  ${doing}`);
}

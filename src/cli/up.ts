/** `flowpin up`: balances Services on this host until it is told to stop. */
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  DEFAULT_SNAT_POOLS,
  DEFAULT_TUN,
  defaultStateDir,
  defaultWorkers,
  type ProxyConfig,
} from '../config.js';
import { WORKERS_MAX } from '../conntrack/owner.js';
import { addressesOf } from '../control/model/service-port.js';
import { remarkText } from '../control/sources/origin.js';
import { undoAtStop } from '../host/applied-changes.js';
import { commandText } from '../host/change.js';
import { type SnatPool, snatPoolOf } from '../host/snat-pool.js';
import { type ProxyEvents, type RunningProxy, Services, type Synced, startProxy } from '../proxy.js';
import { EXIT, Failure } from '../shared/failure.js';
import { parseCidr } from '../wire/address.js';
import { createLogger, type Logger } from './log.js';
import { filenameOption } from './manifests.js';
import {
  healthzOption,
  type ProxyFlags,
  settingsFrom,
  withConntrackFlags,
  withProxyFlags,
} from './proxy-flags.js';
import { wholeNumber } from './whole-number.js';

interface UpOptions extends ProxyFlags {
  filename: string[];
  tun: string;
  snatPool: readonly SnatPool[];
  stateDir?: string;
  workers: number;
  offload: boolean;
  seed: number;
  dryRun?: true;
  json?: true;
}

export function upCommand(): Command {
  return withConntrackFlags(
    withProxyFlags(
      new Command('up')
        .description('balance Services on this host until SIGINT or SIGTERM, then leave it as it was')
        .addOption(filenameOption()),
    ),
  )
    .option('--tun <name>', 'name of the TUN device', parseTunName, DEFAULT_TUN)
    .addOption(
      new Option(
        '--snat-pool <cidrs>',
        'addresses that connections are masqueraded to, one CIDR of each family',
      )
        .argParser(parseSnatPools)
        .default(parseSnatPools(''), DEFAULT_SNAT_POOLS.join(',')),
    )
    .addOption(
      new Option('--workers <number>', `threads that forward packets, 1 to ${WORKERS_MAX}`)
        .argParser(wholeNumber(1, WORKERS_MAX))
        .default(defaultWorkers(), 'one for each core'),
    )
    .option(
      '--state-dir <dir>',
      'flows, counters and the journal of host changes (default: /run/flowpin/<tun>)',
    )
    .addOption(healthzOption())
    .addOption(
      new Option('--seed <number>', 'seed of every random choice')
        .argParser(wholeNumber(0, 0xffff_ffff))
        .default(Math.floor(Math.random() * 2 ** 32), 'drawn, and told by `ready`'),
    )
    .option('--no-offload', 'no super-packets and no unfinished checksums, for comparison')
    .option('--dry-run', 'print the commands that would change the host, and change nothing')
    .option('--json', 'machine-readable output')
    .action(up)
    .addHelpText(
      'after',
      `
The manifests are watched: what is saved applies. SIGHUP reads them at once.

Examples:
  $ sudo flowpin up -f examples/httpenv.yaml
  $ kubectl get services,endpointslices -A -o yaml > services.yaml && sudo flowpin up -f services.yaml
  $ sudo flowpin up -f manifests/ --config /var/lib/kube-proxy/config.conf
  $ flowpin up -f services.yaml --dry-run`,
    );
}

async function up(options: UpOptions): Promise<void> {
  const log = createLogger(options.json === true);
  const { settings, warnings } = settingsFrom(options);
  const config: ProxyConfig = Object.freeze({
    files: options.filename,
    tun: options.tun,
    snatPools: options.snatPool,
    stateDir: options.stateDir ?? defaultStateDir(options.tun),
    workers: options.workers,
    offload: options.offload,
    seed: options.seed,
    settings,
  });
  for (const warning of warnings) log.warn(warning);
  const services = new Services(config, reportTo(log));
  if (services.plan.ports.length === 0) {
    throw new Failure(EXIT.NO, `no Service with a ClusterIP to balance in ${config.files.join(', ')}`);
  }
  if (options.dryRun) return printPlan(services, options.json === true);

  const stop = stopSignal();
  const proxy = await startProxy(services, reportTo(log));
  process.on('SIGHUP', () => proxy.reload());
  if (services.options.clusterCIDRs.length === 0) {
    const pools = config.snatPools.map(({ cidr }) => cidr).join(' and ');
    log.info(
      `masquerading every connection to ${pools}: endpoints see these addresses as clients, unless --cluster-cidr says which are pods`,
    );
  }
  printReady(services, proxy, options.json === true);

  const reason = await Promise.race([stop, proxy.ended.catch((error: Error) => error)]);
  const problems = await proxy.stop();
  for (const problem of problems) log.error(problem);
  if (reason instanceof Error) throw new Failure(EXIT.HOST, `the dataplane failed: ${reason.message}`);
  if (problems.length > 0)
    throw new Failure(EXIT.HOST, 'some changes to the host could not be taken back, see above');
  log.info(`stopped by ${reason}; the host is as it was`);
}

/** Resolves with the first SIGINT or SIGTERM; a second one ends the process at once. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    let stopping = false;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (stopping) process.exit(EXIT.HOST); // the journal stays: the next start cleans up
        stopping = true;
        resolve(signal);
      });
    }
  });
}

function reportTo(log: Logger): ProxyEvents {
  return {
    setAside: (what) => log.warn(`set aside: ${remarkText(what)}`),
    warning: (message) => log.warn(message),
    synced: (what) => log.info(syncedText(what)),
  };
}

const NAMED_MAX = 5;

/** "default/web and 2 more changed: table 7 is in force after 12 ms, 1 change to the host". */
function syncedText({ generation, services, hostChanges: { made, removed }, tookMs }: Synced): string {
  const more = services.length > NAMED_MAX ? ` and ${services.length - NAMED_MAX} more` : '';
  const what = services.length === 0 ? 'this host' : `${services.slice(0, NAMED_MAX).join(', ')}${more}`;
  const host = made + removed === 0 ? '' : `, ${made} host changes made and ${removed} taken back`;
  return `changed: ${what}; table ${generation} is in force after ${tookMs.toFixed(1)} ms${host}`;
}

function summaryOf({ config, options, plan }: Services): Record<string, string | number> {
  const addresses = plan.ports.flatMap(({ servicePort }) => addressesOf(servicePort));
  return {
    tun: config.tun,
    mode: options.mode,
    services: new Set(plan.ports.map(({ servicePort: { name } }) => `${name.namespace}/${name.name}`)).size,
    ports: plan.ports.length,
    vips: new Set(addresses).size,
    nodePorts: plan.ports.filter(({ servicePort }) => servicePort.nodePort > 0).length,
    endpoints: plan.ports.reduce((sum, { endpoints }) => sum + endpoints.all.length, 0),
  };
}

function printReady(services: Services, { offloads, steering }: RunningProxy, json: boolean): void {
  const { snatPools, workers, seed } = services.config;
  const snatPool = snatPools.map(({ cidr }) => cidr).join(',');
  const summary = { ...summaryOf(services), workers, steering, offloads, snatPool, seed };
  if (json) console.log(JSON.stringify({ event: 'ready', ...summary }));
  else
    console.log(
      `ready ${Object.entries(summary)
        .map(([key, value]) => `${key}=${value}`)
        .join(' ')}`,
    );
}

function printPlan(services: Services, json: boolean): void {
  const changes = services.plannedChanges();
  const apply = changes.map((change) => commandText(change.apply));
  const undo = undoAtStop(changes).map(commandText);
  const lines = ['# on start', ...apply, '# on stop (routes and addresses go with the device)', ...undo];
  console.log(json ? JSON.stringify({ ...summaryOf(services), apply, undo }, null, 2) : lines.join('\n'));
}

function parseTunName(value: string): string {
  // dev_valid_name (net/core/dev.c): 1 to 15 bytes, no '/', no ':', no blanks; and not a name pattern
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(value) || value === '.' || value === '..') {
    throw new InvalidArgumentError('a device name has 1 to 15 letters, digits, dots, dashes or underscores');
  }
  return value;
}

/** A family that is not given keeps its default. */
function parseSnatPools(value: string): readonly SnatPool[] {
  const given = value.split(',').flatMap((part) => (part.trim() === '' ? [] : [parseSnatPool(part.trim())]));
  const defaults = DEFAULT_SNAT_POOLS.map(parseSnatPool);
  return defaults.map((byDefault) => {
    const [first, second] = given.filter(({ family }) => family === byDefault.family);
    if (second !== undefined)
      throw new InvalidArgumentError(`${second.cidr} is a second ${second.family} pool.`);
    return first ?? byDefault;
  });
}

function parseSnatPool(value: string): SnatPool {
  const cidr = parseCidr(value);
  if (cidr === null) throw new InvalidArgumentError(`${value} is not a CIDR such as 198.18.0.0/24.`);
  const pool = snatPoolOf(cidr);
  if (typeof pool === 'string') throw new InvalidArgumentError(`${pool}.`);
  return pool;
}

/** `flowpin up`: balances Services on this host until it is told to stop. */
import { Command, InvalidArgumentError } from 'commander';
import { DEFAULT_SNAT_POOL, DEFAULT_TUN, defaultStateDir, type ProxyConfig } from '../config.js';
import { servicePortNameText } from '../control/model/service-port-name.js';
import { remarkText } from '../control/sources/origin.js';
import { commandText } from '../host/change.js';
import { type SnatPool, snatPoolOf } from '../host/snat-pool.js';
import { loadServices, type ProxyEvents, plannedChanges, type Services, startProxy } from '../proxy.js';
import { EXIT, Failure } from '../shared/failure.js';
import { parseCidr } from '../wire/address.js';
import { createLogger, type Logger } from './log.js';
import { filenameOption } from './manifests.js';

interface UpOptions {
  filename: string[];
  tun: string;
  snatPool: SnatPool;
  stateDir?: string;
  seed: number;
  dryRun?: true;
  json?: true;
}

export function upCommand(): Command {
  return new Command('up')
    .description('balance Services on this host until SIGINT or SIGTERM, then leave it as it was')
    .addOption(filenameOption())
    .option('--tun <name>', 'name of the TUN device', parseTunName, DEFAULT_TUN)
    .option(
      '--snat-pool <cidr>',
      'addresses that connections are masqueraded to',
      parseSnatPool,
      parseSnatPool(DEFAULT_SNAT_POOL),
    )
    .option(
      '--state-dir <dir>',
      'flows, counters and the journal of host changes (default: /run/flowpin/<tun>)',
    )
    .option('--seed <number>', 'seed of every random choice', parseSeed, Math.floor(Math.random() * 2 ** 32))
    .option('--dry-run', 'print the commands that would change the host, and change nothing')
    .option('--json', 'machine-readable output')
    .action(up)
    .addHelpText(
      'after',
      `
Examples:
  $ sudo flowpin up -f examples/httpenv.yaml
  $ kubectl get services,endpointslices -A -o yaml > services.yaml && sudo flowpin up -f services.yaml
  $ flowpin up -f services.yaml --dry-run`,
    );
}

async function up(options: UpOptions): Promise<void> {
  const log = createLogger(options.json === true);
  const config: ProxyConfig = Object.freeze({
    files: options.filename,
    tun: options.tun,
    snatPool: options.snatPool,
    stateDir: options.stateDir ?? defaultStateDir(options.tun),
    seed: options.seed,
  });
  const events = reportTo(log);
  const services = loadServices(config.files, events);
  if (services.frontends.length === 0) {
    throw new Failure(EXIT.NO, `no Service with a ClusterIP to balance in ${config.files.join(', ')}`);
  }
  if (options.dryRun) return printPlan(config, services, options.json === true);

  const proxy = await startProxy(config, services, events);
  log.info(
    `masquerading every connection from ${config.snatPool.cidr}: endpoints see these addresses as clients`,
  );
  printReady(config, services, proxy.workers, proxy.offloads, options.json === true);

  const signal = stopSignal();
  const reason = await Promise.race([signal, proxy.ended.catch((error: Error) => error)]);
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
    notBalanced: ({ servicePort, address, port, protocol }) =>
      log.warn(
        `not balanced yet: ${servicePortNameText(servicePort)} ${address} ${port}/${protocol} (IPv4 TCP and UDP only)`,
      ),
    warning: (message) => log.warn(message),
  };
}

function summaryOf(config: ProxyConfig, { frontends, vips }: Services): Record<string, string | number> {
  return {
    tun: config.tun,
    mode: 'iptables',
    services: new Set(frontends.map(({ servicePort }) => `${servicePort.namespace}/${servicePort.name}`))
      .size,
    frontends: frontends.length,
    vips: vips.length,
    endpoints: frontends.reduce((sum, { endpoints }) => sum + endpoints.length, 0),
  };
}

function printReady(
  config: ProxyConfig,
  services: Services,
  workers: number,
  offloads: string,
  json: boolean,
): void {
  const summary = {
    ...summaryOf(config, services),
    workers,
    offloads,
    snatPool: config.snatPool.cidr,
    seed: config.seed,
  };
  if (json) console.log(JSON.stringify({ event: 'ready', ...summary }));
  else
    console.log(
      `ready ${Object.entries(summary)
        .map(([key, value]) => `${key}=${value}`)
        .join(' ')}`,
    );
}

function printPlan(config: ProxyConfig, services: Services, json: boolean): void {
  const changes = plannedChanges(config, services);
  const apply = changes.map((change) => commandText(change.apply));
  const undo = changes.flatMap((change) => (change.undo ? [commandText(change.undo)] : [])).reverse();
  const text = json
    ? JSON.stringify({ ...summaryOf(config, services), apply, undo }, null, 2)
    : ['# on start', ...apply, '# on stop (routes and addresses go with the device)', ...undo].join('\n');
  console.log(text);
}

function parseTunName(value: string): string {
  // dev_valid_name (net/core/dev.c): 1 to 15 bytes, no '/', no ':', no blanks; and not a name pattern
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(value) || value === '.' || value === '..') {
    throw new InvalidArgumentError('a device name has 1 to 15 letters, digits, dots, dashes or underscores');
  }
  return value;
}

function parseSnatPool(value: string): SnatPool {
  const cidr = parseCidr(value);
  if (cidr === null) throw new InvalidArgumentError('not a CIDR such as 198.18.0.0/24');
  const pool = snatPoolOf(cidr);
  if (typeof pool === 'string') throw new InvalidArgumentError(pool);
  return pool;
}

function parseSeed(value: string): number {
  if (!/^\d{1,10}$/.test(value) || Number(value) > 0xffff_ffff)
    throw new InvalidArgumentError('a seed is 0 to 4294967295');
  return Number(value);
}

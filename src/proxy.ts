/**
 * The running proxy: sources -> model -> compile -> publish -> workers, and the host around them. The one file
 * that knows all folders.
 */
import { hostname } from 'node:os';
import type { ProxyConfig } from './config.js';
import { compile } from './control/compile/compile.js';
import type { Plan } from './control/compile/plan.js';
import { type EndpointName, Registry, type RegistryNames } from './control/compile/registry.js';
import { proxyOptionsOf } from './control/config/settings.js';
import { ControlPlane, type Reading } from './control/control-plane.js';
import type { ProxyOptions } from './control/model/proxy-options.js';
import type { SetAside } from './control/sources/file.js';
import { watchPaths } from './control/sources/watch.js';
import { SyncRunner } from './control/sync-runner.js';
import { AppliedChanges } from './host/applied-changes.js';
import type { Change } from './host/change.js';
import { type HostFacts, localAddresses, localLinks, primaryAddress, readHostFacts } from './host/facts.js';
import { IcmpCopies } from './host/icmp-copies.js';
import { planHost } from './host/plan.js';
import { requireNetAdmin } from './host/privilege.js';
import { StateDir } from './host/state-dir.js';
import { type Steering, steeredAddresses } from './host/steering.js';
import { FlowTableWatch } from './observe/flow-table-watch.js';
import { ProxyHealth, serveHealthz } from './observe/health.js';
import { ServiceHealthServers } from './observe/health-services.js';
import type { Listener } from './observe/http-listener.js';
import { type RunningDataplane, startDataplane } from './running-dataplane.js';
import { monotonicMs } from './shared/clock.js';
import { EXIT, Failure } from './shared/failure.js';
import { cidrContains } from './wire/address.js';
import { FAMILIES } from './wire/family.js';

/** A worker is woken for a new table; in the middle of a batch it comes to it within microseconds. */
const PUBLISH_TIMEOUT_MS = 2000;
/** Service ports that take turns on their own; more share the last row. */
const TURN_ROWS = 1 << 16;

/** What is told to the operator while the proxy runs. */
export interface ProxyEvents {
  setAside(what: SetAside): void;
  warning(message: string): void;
  /** A change of Services, or of the host's addresses, is in force. */
  synced(what: Synced): void;
}

export interface Synced {
  /** Of the table that the workers have now. */
  readonly generation: number;
  /** "namespace/name" of the Services that are not what they were. */
  readonly services: readonly string[];
  /** Changes made to the host, and taken back. */
  readonly hostChanges: { readonly made: number; readonly removed: number };
  /** From the reading of the files until every worker has the table. */
  readonly tookMs: number;
}

/** What the proxy is asked to do, before it does anything. */
export class Services {
  readonly config: ProxyConfig;
  readonly options: ProxyOptions;
  readonly plan: Plan;
  private readonly controlPlane: ControlPlane;

  /** Reads the manifests and reports what cannot be served. @throws nothing: bad input is set aside */
  constructor(config: ProxyConfig, events: ProxyEvents) {
    this.config = config;
    this.options = optionsNow(config);
    this.controlPlane = new ControlPlane(config.files, this.options);
    const reading = this.controlPlane.read();
    report(reading, events);
    this.plan = reading.plan;
  }

  /** Reads what has changed since. */
  read(): Reading {
    return this.controlPlane.read();
  }

  /** What `startProxy` would change on the host. */
  plannedChanges(): Change[] {
    return planHost(this.config, this.plan, this.options, readHostFacts(this.config.tun));
  }
}

/** With the addresses that this host has now. */
function optionsNow({ settings, tun, snatPools }: ProxyConfig): ProxyOptions {
  const node = {
    hostname: hostname(),
    addresses: localAddresses(tun),
    links: localLinks(tun),
    primary: { IPv4: primaryAddress('IPv4', tun) ?? '', IPv6: primaryAddress('IPv6', tun) ?? '' },
  };
  return proxyOptionsOf(
    settings,
    node,
    snatPools.map(({ own }) => own),
  );
}

function report({ newlySetAside, newlyKept }: Reading, events: ProxyEvents): void {
  for (const what of newlySetAside) events.setAside(what);
  for (const message of newlyKept) events.warning(message);
}

export interface RunningProxy {
  readonly offloads: string;
  /** Who takes packets to their worker: "ebpf", "automq" (the kernel as it does by itself), or "none" for one worker. */
  readonly steering: string;
  /** Rejected when the dataplane fails for good; resolves after `stop`. */
  readonly ended: Promise<void>;
  /** Looks at the files at once. */
  reload(): void;
  /** Stops the workers and takes back every change to the host. @returns what could not be taken back */
  stop(): Promise<string[]>;
}

/**
 * Brings the proxy up; when it resolves, packets flow.
 * @throws Failure, with everything taken back
 */
export async function startProxy(services: Services, events: ProxyEvents): Promise<RunningProxy> {
  requireNetAdmin();
  const { config } = services;
  const { settings } = config;
  const state = new StateDir(config.stateDir);
  const leftovers = state.open();
  // What is put back is what was found before the first change.
  const facts = leftovers?.facts ?? readHostFacts(config.tun);
  warnWithoutIPv6(services.plan, facts, events);
  const turns = new Int32Array(new SharedArrayBuffer(TURN_ROWS * 4));
  const registry = new Registry(
    turns,
    config.seed,
    earlierNames(state, (message) => events.warning(message)),
  );
  const changes = planHost(config, services.plan, services.options, facts);
  const host = new AppliedChanges({
    write: (made) => state.writeJournal(made, facts),
    remove: () => state.remove(),
  });
  if (leftovers !== null) {
    events.warning('going on where an earlier flowpin was killed');
    host.resume(leftovers.changes);
  }
  for (const problem of host.add(changes).problems) events.warning(problem);
  const health = new ProxyHealth(2 * settings.syncPeriodMs);
  const serviceHealth = new ServiceHealthServers(health);
  let dataplane: RunningDataplane | undefined;
  let healthz: Listener | undefined;
  try {
    const table = compileNow(services.plan, services.options, registry);
    writeNames(state, registry);
    const addresses = steeredAddresses(services.plan.ports, services.options.nodeIPs);
    const warn = (message: string): void => events.warning(message);
    dataplane = await startDataplane({ config, state, table, turns, addresses, warn });
    healthz = await startHealthz(config, health, events);
  } catch (error) {
    await dataplane?.stop();
    for (const problem of host.undo()) events.warning(problem);
    throw error instanceof Failure
      ? error
      : new Failure(EXIT.HOST, `the dataplane did not start: ${(error as Error).message}`);
  }
  const sync = new Syncer({
    services,
    state,
    facts,
    registry,
    host,
    health,
    serviceHealth,
    dataplane,
    events,
  });
  await sync.serveHealth(services.plan, services.options);
  const flowTables = new FlowTableWatch({
    workers: Array.from({ length: config.workers }, (_, worker) => ({
      countersPath: state.countersPath(worker),
      flowsPaths: FAMILIES.map((family) => state.flowsPath(worker, family)),
    })),
    capacity: dataplane.flowCapacity,
    warn: (message) => events.warning(message),
    nowMs: monotonicMs,
  });
  flowTables.start();
  const icmpCopies = new IcmpCopies(config.tun);
  const notCopied = icmpCopies.start();
  if (notCopied !== null)
    events.warning(
      `ICMP errors about NodePorts are not translated (${notCopied}): path MTU discovery of their clients takes CAP_NET_RAW`,
    );

  const runner: SyncRunner = new SyncRunner(() => sync.run(runner), {
    minIntervalMs: settings.minSyncPeriodMs,
    maxIntervalMs: settings.syncPeriodMs,
    onFailure: (error) =>
      events.warning(`a change is not in force yet and will be tried again: ${error.message}`),
  });
  const reload = (): void => {
    health.queued();
    runner.request();
  };
  const watching = watchPaths(config.files, reload);
  runner.request(); // what changed between the first reading and the watch
  const started = dataplane;
  return {
    offloads: dataplane.queues.offloads,
    steering: steeringText(config.workers, dataplane.steering),
    ended: dataplane.ended,
    reload,
    async stop() {
      watching.close();
      flowTables.close();
      icmpCopies.close();
      await runner.stop();
      await Promise.all([healthz?.close(), serviceHealth.close()]);
      await started.stop();
      return host.undo();
    },
  };
}

/** Everything that a change of Services or of the host's addresses passes through. */
interface SyncParts {
  readonly services: Services;
  readonly state: StateDir;
  readonly facts: HostFacts;
  readonly registry: Registry;
  readonly host: AppliedChanges;
  readonly health: ProxyHealth;
  readonly serviceHealth: ServiceHealthServers;
  readonly dataplane: RunningDataplane;
  readonly events: ProxyEvents;
}

class Syncer {
  private readonly parts: SyncParts;
  /** Problems that are told once and not at every run. */
  private told: ReadonlySet<string> = new Set();
  private unreported = new Set<string>();

  constructor(parts: SyncParts) {
    this.parts = parts;
  }

  /**
   * Brings what the files say into force: routes first, so that no packet of a new Service misses the device; then the
   * table, to all workers at once; then the routes of what is gone.
   */
  async run(runner: SyncRunner): Promise<void> {
    const { services, state, facts, registry, host, health, events } = this.parts;
    const { publisher, steering } = this.parts.dataplane;
    const startMs = performance.now();
    const reading = services.read();
    report(reading, events);
    const { plan } = reading;
    // A run that fails must not make the next one forget what there is to tell.
    for (const service of reading.updatedServices) this.unreported.add(service);
    const options = optionsNow(services.config);
    const wanted = planHost(services.config, plan, options, facts);
    const repaired = reading.changed ? 0 : host.repair();
    if (repaired > 0) events.warning(`put back ${repaired} routes and rules that somebody had taken away`);
    const added = host.add(wanted);
    const addresses = steeredAddresses(plan.ports, options.nodeIPs);
    steering.add(addresses);
    const table = compileNow(plan, options, registry);
    writeNames(state, registry);
    const isNew = !sameBytes(table, publisher.table);
    if (isNew) {
      publisher.publish(table);
      await publisher.seen(PUBLISH_TIMEOUT_MS);
    }
    const removed = host.removeOthers(wanted);
    steering.removeOthers(addresses);
    const problems = [...added.problems, ...removed.problems, ...(await this.serveHealth(plan, options))];
    this.tell(problems);
    health.updated();
    if (reading.againMs > 0) runner.request(reading.againMs);
    const hostChanges = { made: added.made, removed: removed.removed };
    if (!isNew && this.unreported.size === 0 && hostChanges.made + hostChanges.removed === 0) return;
    events.synced({
      generation: publisher.generation,
      services: [...this.unreported].sort(),
      hostChanges,
      tookMs: performance.now() - startMs,
    });
    this.unreported = new Set();
  }

  /** @returns what cannot be served, in words */
  serveHealth({ healthChecks }: Plan, { nodePortAddresses, nodeIPs }: ProxyOptions): Promise<string[]> {
    const own = new Set(this.parts.services.config.snatPools.map((pool) => pool.own));
    const hosts = nodeIPs.filter(
      (address) => !own.has(address) && nodePortAddresses?.some((cidr) => cidrContains(cidr, address)),
    );
    return this.parts.serviceHealth.sync(healthChecks, nodePortAddresses === null ? ['::'] : hosts);
  }

  private tell(problems: readonly string[]): void {
    for (const problem of problems) if (!this.told.has(problem)) this.parts.events.warning(problem);
    this.told = new Set(problems);
  }
}

const steeringText = (workers: number, { problem }: Steering): string =>
  workers === 1 ? 'none' : problem === null ? 'ebpf' : 'automq';

const compileNow = (plan: Plan, options: ProxyOptions, registry: Registry): SharedArrayBuffer =>
  compile(plan, options, registry, Math.floor(monotonicMs() / 1000));

const sameBytes = (a: SharedArrayBuffer, b: SharedArrayBuffer): boolean =>
  Buffer.from(a).equals(Buffer.from(b));

async function startHealthz(
  { settings }: ProxyConfig,
  health: ProxyHealth,
  events: ProxyEvents,
): Promise<Listener | undefined> {
  const { healthzBindAddress: at, bindAddressHardFail } = settings;
  if (at === null) return undefined;
  try {
    return await serveHealthz(health, at.host, at.port);
  } catch (error) {
    const message = `/healthz is not answered: ${(error as Error).message}; --healthz-bind-address chooses another place`;
    if (bindAddressHardFail) throw new Failure(EXIT.HOST, message);
    events.warning(message);
    return undefined;
  }
}

function warnWithoutIPv6(plan: Plan, facts: HostFacts, events: ProxyEvents): void {
  if (facts.IPv6 !== null || !plan.ports.some(({ servicePort }) => servicePort.family === 'IPv6')) return;
  events.warning('IPv6 is switched off on this host: the IPv6 addresses of Services are not balanced');
}

/** The names behind counter rows and turns. None yet, or damaged: only the attribution of old counts is lost. */
function earlierNames(state: StateDir, warn: (message: string) => void): RegistryNames {
  const list = <Item>(path: string, isItem: (item: unknown) => item is Item): Item[] => {
    const found = state.readList(path);
    if (found?.every(isItem)) return found;
    if (found !== undefined)
      warn(`${path}: damaged; kept as ${state.setAside(path)}, what was counted is attributed anew`);
    return [];
  };
  const isName = (item: unknown): item is EndpointName => {
    const { servicePort, protocol, endpoint } = Object(item) as Partial<EndpointName>;
    return [servicePort, protocol, endpoint].every((text) => typeof text === 'string');
  };
  const isKey = (item: unknown): item is string => typeof item === 'string';
  return { endpoints: list(state.endpointsPath, isName), ports: list(state.portsPath, isKey) };
}

function writeNames(state: StateDir, registry: Registry): void {
  const { endpoints, ports } = registry.snapshot();
  state.writeList(state.endpointsPath, endpoints);
  state.writeList(state.portsPath, ports);
}

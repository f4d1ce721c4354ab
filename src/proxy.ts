/**
 * The running proxy: sources -> model -> compile -> publish -> workers, and the host around them. The one file
 * that knows all folders.
 */
import { closeSync, existsSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { FLOW_CAPACITY, type ProxyConfig } from './config.js';
import { FLOW_FILE, flowFileProblem } from './conntrack/flow-table.js';
import { compile, isBalanced } from './control/compile/compile.js';
import { EndpointIds, type EndpointName } from './control/compile/endpoint-ids.js';
import { type Frontend, frontendsOf } from './control/compile/frontends.js';
import { Publisher } from './control/publish/publisher.js';
import { loadFiles, type SetAside } from './control/sources/file.js';
import { Supervisor } from './dataplane/supervisor.js';
import type { Change } from './host/change.js';
import { planHost } from './host/plan.js';
import { requireNetAdmin } from './host/privilege.js';
import { StateDir } from './host/state-dir.js';
import { closeTunQueues, openTunQueues, type TunQueues } from './host/tun-queues.js';
import { EXIT, Failure } from './shared/failure.js';
import { signalsFor } from './table/signals.js';

/** One queue and one shard, until the steering program can tell queues apart (see docs/PARITY.md). */
const WORKERS = 1;
const START_TIMEOUT_MS = 10_000;

/** What is told to the operator while the proxy runs. */
export interface ProxyEvents {
  setAside(what: SetAside): void;
  notBalanced(frontend: Frontend): void;
  warning(message: string): void;
}

export interface Services {
  /** What is compiled and routed. */
  readonly frontends: readonly Frontend[];
  /** Addresses of the frontends, each once. */
  readonly vips: readonly string[];
}

/** Reads the manifests and reports what cannot be served. @throws nothing: bad input is set aside */
export function loadServices(files: readonly string[], events: ProxyEvents): Services {
  const { frontends, setAside } = frontendsOf(loadFiles([...files]));
  for (const what of setAside) events.setAside(what);
  for (const frontend of frontends) if (!isBalanced(frontend)) events.notBalanced(frontend);
  const balanced = frontends.filter(isBalanced);
  return { frontends: balanced, vips: [...new Set(balanced.map(({ address }) => address))] };
}

/** What `startProxy` would change on the host. */
export const plannedChanges = (config: ProxyConfig, services: Services): Change[] =>
  planHost(config.tun, config.snatPool, services.vips);

export interface RunningProxy {
  readonly workers: number;
  readonly offloads: string;
  /** Rejected when the dataplane fails for good; resolves after `stop`. */
  readonly ended: Promise<void>;
  /** Stops the workers and takes back every change to the host. @returns what could not be taken back */
  stop(): Promise<string[]>;
}

/**
 * Brings the proxy up; when it resolves, packets flow.
 * @throws Failure, with everything taken back
 */
export async function startProxy(
  config: ProxyConfig,
  services: Services,
  events: ProxyEvents,
): Promise<RunningProxy> {
  requireNetAdmin();
  const state = new StateDir(config.stateDir);
  const leftovers = state.open();
  if (leftovers.length > 0)
    events.warning('took back what an earlier flowpin left behind when it was killed');
  for (let worker = 0; worker < WORKERS; worker++) setAsideForeignFlows(state, worker, events);

  const ids = new EndpointIds(earlierEndpoints(state));
  const table = compile(services.frontends, ids);
  writeFileSync(state.endpointsPath, JSON.stringify(ids.list()));

  const changes = plannedChanges(config, services);
  state.apply(changes);
  let dataplane: Dataplane | undefined;
  try {
    dataplane = await startDataplane(config, state, table, events);
  } catch (error) {
    const problems = state.undo(changes);
    for (const problem of problems) events.warning(problem);
    throw error instanceof Failure
      ? error
      : new Failure(EXIT.HOST, `the dataplane did not start: ${(error as Error).message}`);
  }
  const { queues, supervisor, publisher, ended } = dataplane;
  return {
    workers: WORKERS,
    offloads: queues.offloads,
    ended,
    async stop() {
      await supervisor.stop();
      publisher.close();
      closeTunQueues(queues.descriptors);
      return state.undo(changes);
    },
  };
}

interface Dataplane {
  readonly queues: TunQueues;
  readonly supervisor: Supervisor;
  readonly publisher: Publisher;
  readonly ended: Promise<void>;
}

async function startDataplane(
  config: ProxyConfig,
  state: StateDir,
  table: SharedArrayBuffer,
  events: ProxyEvents,
): Promise<Dataplane> {
  const queues = openTunQueues(config.tun, WORKERS);
  const signals = signalsFor(WORKERS);
  const publisher = new Publisher(signals, table);
  const { addresses, network, mask } = config.snatPool;
  const supervisor = new Supervisor({
    workers: WORKERS,
    signals,
    startupOf: (worker) => ({
      worker,
      descriptor: queues.descriptors[worker],
      signals,
      ...publisher.connect(worker),
      flowsPath: state.flowsPath(worker),
      flowCapacity: FLOW_CAPACITY,
      countersPath: state.countersPath(worker),
      seed: config.seed,
      snatPool: { addresses, network, mask },
    }),
    onRestart: (worker, failure) => events.warning(`worker ${worker} is restarted: ${failure.message}`),
  });
  const ended = supervisor.run();
  try {
    await Promise.race([publisher.seen(START_TIMEOUT_MS), ended]);
  } catch (error) {
    ended.catch(() => {}); // the reason is being reported already
    await supervisor.stop();
    publisher.close();
    closeTunQueues(queues.descriptors);
    throw error;
  }
  return { queues, supervisor, publisher, ended };
}

/** A flows file that is not ours, or of another version or size, must not stop the start, nor be overwritten. */
function setAsideForeignFlows(state: StateDir, worker: number, events: ProxyEvents): void {
  const path = state.flowsPath(worker);
  if (!existsSync(path)) return;
  const header = Buffer.alloc(FLOW_FILE.BYTES);
  const file = openSync(path, 'r');
  readSync(file, header);
  closeSync(file);
  const problem = flowFileProblem(new Int32Array(new Uint8Array(header).buffer), FLOW_CAPACITY);
  if (problem === null) return;
  events.warning(`${path}: ${problem}; kept as ${state.setAside(path)}, beginning with no flows`);
}

function earlierEndpoints(state: StateDir): EndpointName[] {
  try {
    return JSON.parse(readFileSync(state.endpointsPath, 'utf8')) as EndpointName[];
  } catch {
    return []; // none yet, or damaged: only the attribution of old counts is lost
  }
}

// What `flowpin demo` does, without how it looks: builds the lab of seed 000, runs `flowpin up` on its node, sends
// real HTTP requests from its client, reads the counters, stops `flowpin up` and compares the node with before.
// Inside a sandbox only.

import { type CountersSnapshot, readCounters } from '../observe/counters.js';
import { STATE_DIR, startUp } from './flowpin-up.js';
import { hostState, settledHostState, stateChanges } from './host-state.js';
import type { HttpReport } from './http-client.js';
import { buildHttpenv, HTTPENV_FILE, labScript, loadedService, type ServicePortFacts } from './httpenv.js';
import type { Topology } from './topology.js';

export interface DemoOptions {
  /** Connections with one request each. */
  readonly connections: number;
  /** Requests on the kept-alive connection. */
  readonly requests: number;
}

export interface DemoResult {
  readonly service: ServicePortFacts;
  readonly http: HttpReport;
  readonly counters: CountersSnapshot;
  readonly end: UpEnd;
  /** What was not as it should be, a sentence each; empty when all is well. */
  readonly problems: readonly string[];
}

/** How `flowpin up` left its host. */
export interface UpEnd {
  readonly exitCode: number;
  /** Lines of the host's network state that appeared or disappeared, see host-state.ts. */
  readonly leftBehind: readonly string[];
}

/** Called as the demonstration gets there, for a display that grows. */
export interface DemoProgress {
  built(service: ServicePortFacts): void;
  answered(service: ServicePortFacts, http: HttpReport): void;
  counted(counters: CountersSnapshot): void;
  stopped(end: UpEnd): void;
}

/** More than the client's own bound on a run. */
const CLIENT_TIMEOUT_MS = 75_000;

/** Rejects when the lab cannot be built or `flowpin up` does not start; what it measures is never a rejection. */
export async function runDemo(options: DemoOptions, progress: DemoProgress): Promise<DemoResult> {
  const service = loadedService(HTTPENV_FILE);
  const lab = await buildHttpenv();
  try {
    const before = await settledHostState(lab.router);
    const up = await startUp(lab.router, { files: [HTTPENV_FILE] });
    progress.built(service);

    const http = await askService(lab, service, options);
    progress.answered(service, http);

    const counters = readCounters(STATE_DIR);
    progress.counted(counters);

    const { code } = await up.stop('SIGTERM', 10_000);
    const end: UpEnd = { exitCode: code, leftBehind: stateChanges(before, await hostState(lab.router)) };
    progress.stopped(end);
    return { service, http, counters, end, problems: [...problemsOf(service, http), ...endProblems(end)] };
  } finally {
    await lab.close();
  }
}

async function askService(
  lab: Topology,
  { clusterIP }: ServicePortFacts,
  { connections, requests }: DemoOptions,
): Promise<HttpReport> {
  const bounds = ['--connections', String(connections), '--requests', String(requests)];
  const client = [labScript('http-client'), '--to', clusterIP, ...bounds];
  const { code, stdout, stderr } = await lab.host('client').run(process.execPath, client, {
    timeoutMs: CLIENT_TIMEOUT_MS,
  });
  if (code !== 0) throw new Error(`the client ended with code ${code}: ${stderr.trim()}`);
  return JSON.parse(stdout) as HttpReport;
}

/** What the requests themselves prove wrong. Exported for its test. */
export function problemsOf(service: ServicePortFacts, { connections, keepAlive }: HttpReport): string[] {
  const problems: string[] = [];
  for (const [what, report] of Object.entries({
    connections,
    'requests on the kept-alive connection': keepAlive,
  })) {
    if (report.answered === report.asked) continue;
    const errors = Object.entries(report.errors).map(([code, count]) => `${code} ${count}`);
    problems.push(
      `${report.asked - report.answered} of ${report.asked} ${what} failed (${errors.join(', ')})`,
    );
  }
  const strangers = Object.keys({ ...connections.byEndpoint, ...keepAlive.byEndpoint }).filter(
    (endpoint) => !service.endpoints.includes(endpoint),
  );
  if (strangers.length > 0) problems.push(`answered by no endpoint of the Service: ${strangers.join(', ')}`);
  if (connections.answered === connections.asked && connections.serverConnections !== connections.asked) {
    problems.push(`${connections.asked} connections were ${connections.serverConnections} at the servers`);
  }
  if (keepAlive.sockets !== 1 || keepAlive.serverConnections > 1) {
    const { sockets, serverConnections } = keepAlive;
    problems.push(
      `the kept-alive connection was ${sockets} at the client, ${serverConnections} at the servers`,
    );
  }
  const kept = Object.keys(keepAlive.byEndpoint);
  if (kept.length > 1) problems.push(`the kept-alive connection moved between ${kept.join(' and ')}`);
  return problems;
}

function endProblems({ exitCode, leftBehind }: UpEnd): string[] {
  return [
    ...(exitCode === 0 ? [] : [`flowpin up ended with code ${exitCode}`]),
    ...(leftBehind.length === 0 ? [] : [`flowpin up left ${leftBehind.length} changes on the node`]),
  ];
}

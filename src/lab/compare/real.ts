/**
 * The second engine: the same workloads on real sockets, through `flowpin up` on a TUN device, in network namespaces; and
 * beside each the run in memory that should agree with it. Inside a sandbox only.
 *
 * Compared are the behaviours that `flowpin up` has: those without flow pinning it has not.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startUp } from '../flowpin-up.js';
import type { Host } from '../host.js';
import { labScript } from '../httpenv.js';
import type { LoadOrder, RealFlow } from '../load-client.js';
import { chiSquareSurvival, fisherExact } from '../statistics.js';
import { buildTopology, type Topology, type TopologySpec } from '../topology.js';
import {
  endpointAddresses,
  LAB_ADDRESS,
  LAB_PORTS,
  labServices,
  serviceManifests,
  targetPortOf,
} from './cluster.js';
import { FALSE_ALARM_LEVEL } from './judge.js';
import { loadOf } from './load.js';
import { measuresOf } from './measures.js';
import { runInMemory } from './simulation.js';
import type { Strategy } from './strategies.js';
import { connectionsOf, type LabEvent, type Workload } from './workload.js';

export const REAL_ENDPOINTS = 5;

/** What one engine saw. */
export interface Outcome {
  readonly connections: number;
  readonly failed: number;
  readonly broken: number;
  readonly datagrams: number;
  readonly unanswered: number;
  /** Flows that were answered, by endpoint; and their clients, each where it was first. */
  readonly flows: readonly number[];
  readonly clients: readonly number[];
  /** Sockets and connections that were answered by more than one endpoint. */
  readonly split: number;
}

export interface Agreement {
  readonly workload: string;
  readonly strategy: string;
  readonly memory: Outcome;
  readonly real: Outcome;
  /** Fisher's exact test of the connections that went wrong in either. */
  readonly harmP: number;
  /** Pearson's test that both spread flows (clients, where the address decides) alike over the endpoints. */
  readonly spreadP: number;
  /** Where the client's address alone decides: clients that had the same endpoint in both, of those in both; else null. */
  readonly same: readonly [number, number] | null;
  readonly agrees: boolean;
}

export interface RealOptions {
  readonly workloads: readonly Workload[];
  /** Pinned ones. */
  readonly strategies: readonly Strategy[];
  readonly seed: number;
}

/** Rejects when the hosts cannot be built or `flowpin up` does not start. */
export async function compareReal(
  { workloads, strategies, seed }: RealOptions,
  progress: (doing: string, share: number) => void,
): Promise<Agreement[]> {
  const directory = mkdtempSync(join(tmpdir(), 'flowpin-lab-'));
  const lab = await buildTopology(HOSTS);
  try {
    await addClients(lab, workloads);
    await startServers(lab);
    const agreements: Agreement[] = [];
    for (const strategy of strategies) {
      for (const workload of workloads) {
        const share = agreements.length / (strategies.length * workloads.length);
        progress(`${workload.name}: ${strategy.name}`, share);
        const flows = await runReal(lab, join(directory, 'service.json'), strategy, workload, seed);
        agreements.push(agreementOf(strategy, workload, flows, seed));
      }
    }
    return agreements;
  } finally {
    await lab.close();
    rmSync(directory, { recursive: true });
  }
}

/** Clients in 100.64.0.0/24, as in memory. */
const HOSTS: TopologySpec = {
  router: 'node',
  hosts: [
    { name: 'clients', addresses: ['100.64.0.1/24'], gateways: ['100.64.0.254'] },
    ...endpointAddresses(REAL_ENDPOINTS).map((address, number) => ({
      name: `endpoint-${number}`,
      addresses: [`${address}/24`],
      gateways: [address.replace(/\d+$/, '1')],
    })),
  ],
};

const must = async (host: Host, ...command: string[]): Promise<void> => {
  const { code, stderr } = await host.run(command[0], command.slice(1));
  if (code !== 0) throw new Error(`${command.join(' ')} on ${host.name}: ${stderr.trim()}`);
};

async function addClients(lab: Topology, workloads: readonly Workload[]): Promise<void> {
  const addresses = new Set(
    workloads.flatMap((workload) => connectionsOf(workload, 1).map(({ address }) => address)),
  );
  addresses.delete('100.64.0.1');
  const lines = [...addresses].map((address) => `addr add ${address}/24 dev eth0`).join('\n');
  const clients = lab.host('clients');
  const { code, stderr } = await clients.run('ip', ['-batch', '-'], { input: `${lines}\n` });
  if (code !== 0) throw new Error(`the clients' addresses: ${stderr.trim()}`);
}

async function startServers(lab: Topology): Promise<void> {
  const [tcp, udp] = LAB_PORTS.map(({ port }) => String(targetPortOf(port)));
  const servers = endpointAddresses(REAL_ENDPOINTS).map((address, number) => {
    const args = ['--listen', address, '--tcp', tcp, '--udp', udp, '--number', String(number)];
    return lab.host(`endpoint-${number}`).spawn(process.execPath, [labScript('load-server'), ...args]);
  });
  await Promise.all(servers.map((server) => server.line(/^ready/, 10_000)));
}

async function runReal(
  lab: Topology,
  file: string,
  strategy: Strategy,
  workload: Workload,
  seed: number,
): Promise<RealFlow[]> {
  const away = new Set<number>();
  const publish = (): void => {
    const there = endpointAddresses(REAL_ENDPOINTS).filter((_, number) => !away.has(number));
    const manifests = serviceManifests(there, LAB_ADDRESS, LAB_PORTS, {
      ...(strategy.algorithm === null
        ? {}
        : { annotations: { 'flowpin.dev/algorithm': strategy.algorithm } }),
      ...(strategy.affinity ? { sessionAffinity: 'ClientIP' } : {}),
    });
    writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }));
  };
  publish();
  const args = ['--proxy-mode', strategy.mode, '--seed', String(seed)];
  const up = await startUp(lab.router, { files: [file], args });
  const order: LoadOrder = {
    address: LAB_ADDRESS,
    ports: { TCP: LAB_PORTS[0].port, UDP: LAB_PORTS[1].port },
    connections: connectionsOf(workload, seed),
  };
  const client = lab
    .host('clients')
    .spawn(process.execPath, [labScript('load-client')], { input: JSON.stringify(order) });
  await client.line(/^began/, 10_000);
  const timers = workload.events.flatMap((event) => happen(lab, event, away, publish));
  const report = await client.line(/^\[/, workload.durationMs + 60_000);
  for (const timer of timers) clearTimeout(timer);
  await client.ended;
  const { code } = await up.stop('SIGTERM', 10_000);
  if (code !== 0) throw new Error(`flowpin up ended with code ${code}: ${up.stderr}`);
  for (let number = 0; number < REAL_ENDPOINTS; number++) await awake(lab, number);
  return JSON.parse(report) as RealFlow[];
}

/** Events that can be made to happen to real hosts. */
function happen(lab: Topology, event: LabEvent, away: Set<number>, publish: () => void): NodeJS.Timeout[] {
  const { endpoint } = event;
  const takeOut = (): void => {
    away.add(endpoint);
    publish();
  };
  switch (event.event) {
    case 'endpoint-removed':
      return [setTimeout(takeOut, event.atMs)];
    case 'endpoint-crashed':
      return [
        // It takes packets and says nothing: whatever it answers is thrown away.
        setTimeout(
          () => void must(lab.host(`endpoint-${endpoint}`), 'ip', 'route', 'replace', 'blackhole', 'default'),
          event.atMs,
        ),
        setTimeout(takeOut, event.atMs + event.noticedAfterMs),
      ];
    default:
      throw new Error(`${event.event} is for the engine in memory`);
  }
}

async function awake(lab: Topology, number: number): Promise<void> {
  const host = lab.host(`endpoint-${number}`);
  await host.run('ip', ['route', 'del', 'blackhole', 'default']);
  await must(
    host,
    'ip',
    'route',
    'replace',
    'default',
    'via',
    endpointAddresses(number + 1)[number].replace(/\d+$/, '1'),
  );
}

function agreementOf(
  strategy: Strategy,
  workload: Workload,
  flows: readonly RealFlow[],
  seed: number,
): Agreement {
  const services = labServices(REAL_ENDPOINTS);
  const run = runInMemory({ services, strategy, load: loadOf(workload, services, seed), seed, workers: 1 });
  const { connections, failed, broken, datagrams, unanswered } = measuresOf(run, strategy, null);
  const memory: Outcome = {
    ...{ connections, failed, broken, datagrams, unanswered },
    ...placesOf(
      run.flows.flatMap(({ client, endpoint, connectedMs }) =>
        connectedMs === null ? [] : { client, endpoint },
      ),
    ),
    split: run.flows.filter(({ movedMs }) => movedMs !== null).length,
  };
  const real = outcomeOf(flows);
  const harm = ({ failed, broken, unanswered }: Outcome): number => failed + broken + unanswered;
  const harmless = (outcome: Outcome): number => outcome.connections + outcome.datagrams - harm(outcome);
  const harmP = fisherExact(harm(memory), harmless(memory), harm(real), harmless(real));
  const places = strategy.chooses;
  const spreadP = homogeneity(memory[places], real[places]);
  const same =
    strategy.algorithm === 'mh' && workload.events.length === 0 ? sameEndpoints(run.flows, flows) : null;
  return {
    workload: workload.name,
    strategy: strategy.name,
    ...{ memory, real, harmP, spreadP, same },
    agrees:
      harmP >= FALSE_ALARM_LEVEL &&
      spreadP >= FALSE_ALARM_LEVEL &&
      memory.split + real.split === 0 &&
      (same === null || same[0] === same[1]),
  };
}

function outcomeOf(flows: readonly RealFlow[]): Outcome {
  const tcp = flows.filter(({ protocol }) => protocol === 'TCP');
  const answered = flows.flatMap(({ client, endpoints: [endpoint] }) =>
    endpoint === undefined ? [] : { client, endpoint },
  );
  return {
    connections: tcp.length,
    failed: tcp.filter(({ outcome }) => outcome === 'failed').length,
    broken: tcp.filter(({ outcome }) => outcome === 'broken').length,
    datagrams: flows.reduce((sum, { asked }) => sum + asked, 0),
    unanswered: flows.reduce((sum, { unanswered }) => sum + unanswered, 0),
    ...placesOf(answered),
    split: flows.filter(({ endpoints }) => endpoints.length > 1).length,
  };
}

function placesOf(
  flows: readonly { readonly client: string; readonly endpoint: number }[],
): Pick<Outcome, 'flows' | 'clients'> {
  const [ofFlows, ofClients] = [0, 0].map(() => new Array<number>(REAL_ENDPOINTS).fill(0));
  const seen = new Set<string>();
  for (const { client, endpoint } of flows) {
    ofFlows[endpoint]++;
    if (!seen.has(client)) ofClients[endpoint]++;
    seen.add(client);
  }
  return { flows: ofFlows, clients: ofClients };
}

function sameEndpoints(
  memory: readonly { readonly client: string; readonly endpoint: number }[],
  real: readonly RealFlow[],
): [number, number] {
  const byClient = new Map(memory.map(({ client, endpoint }) => [client, endpoint]));
  const known = real.filter(({ endpoints }) => endpoints.length > 0);
  return [
    known.filter(({ client, endpoints }) => byClient.get(client) === endpoints[0]).length,
    known.length,
  ];
}

/** Pearson's test of a table with two rows; endpoints without flows in both say nothing. */
function homogeneity(a: readonly number[], b: readonly number[]): number {
  const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  const [ofA, ofB] = [total(a), total(b)];
  let statistic = 0;
  let columns = 0;
  for (const [index, inA] of a.entries()) {
    const both = inA + b[index];
    if (both === 0) continue;
    columns++;
    for (const [found, of] of [
      [inA, ofA],
      [b[index], ofB],
    ] as const) {
      const expected = (both * of) / (ofA + ofB);
      statistic += (found - expected) ** 2 / expected;
    }
  }
  return columns < 2 || ofA === 0 || ofB === 0 ? 1 : chiSquareSurvival(statistic, columns - 1);
}

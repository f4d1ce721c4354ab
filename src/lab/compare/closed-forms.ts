/** What a formula says beside what the pipeline does, for the behaviours that have one. */
import { ipv4Number } from '../../wire/address.js';
import { composePacket } from '../../wire/compose.js';
import { TCP_FLAG } from '../../wire/tcp.js';
import { chiSquareSurvival } from '../statistics.js';
import { Balancer } from './balancer.js';
import { Cluster, labServices, newcomer } from './cluster.js';
import { readFrame } from './packet-view.js';
import { type StrategyName, strategyNamed } from './strategies.js';
import { connectionsOf, GROUP_DEFAULTS } from './workload.js';

export interface ClosedForm {
  readonly what: string;
  readonly formula: string;
  /** Share that the formula gives; null: a bound instead of a value. */
  readonly expected: number | null;
  /** It holds when the measured share is at most this. */
  readonly bound: number | null;
  readonly measured: number;
  /** Of so many. */
  readonly trials: number;
  /** Two-sided, of the expected share; null: a bound, or too few to tell. */
  readonly p: number | null;
}

/** @param flows connections tried for each row */
export function closedForms(seed: number, flows: number): ClosedForm[] {
  const rows: ClosedForm[] = [];
  for (const n of [2, 3, 10]) {
    for (const k of [2, 3, 5]) {
      rows.push(
        form(`per-packet, n=${n}, k=${k}: whole`, 'n^-(k-1)', n ** -(k - 1), wholeFlows(n, k, flows, seed)),
      );
    }
  }
  for (const n of [10, 100]) {
    const removed = moved('hash mod n', n, 'removed', flows, seed);
    rows.push(form(`hash mod n, ${n} -> ${n - 1}: moved`, '(n-2)/(n-1)', (n - 2) / (n - 1), removed));
    const added = moved('hash mod n', n, 'added', flows, seed);
    rows.push(form(`hash mod n, ${n} -> ${n + 1}: moved`, 'n/(n+1)', n / (n + 1), added));
  }
  for (const n of [10, 100, 250]) {
    rows.push(bound(`Maglev, ${n} -> ${n - 1}: moved`, 0.01, moved('Maglev', n, 'removed', flows, seed)));
  }
  rows.push(bound('Maglev+table, 10 -> 9: moved', 0, moved('Maglev+table', 10, 'removed', flows, seed)));
  return rows;
}

interface Counted {
  readonly hits: number;
  readonly trials: number;
}

function form(what: string, formula: string, expected: number, { hits, trials }: Counted): ClosedForm {
  const mean = trials * expected;
  const isEnough = Math.min(mean, trials - mean) >= 5;
  const z2 = (hits - mean) ** 2 / (mean * (1 - expected));
  return {
    what,
    formula,
    expected,
    bound: null,
    measured: hits / trials,
    trials,
    p: isEnough ? chiSquareSurvival(z2, 1) : null,
  };
}

const bound = (what: string, most: number, { hits, trials }: Counted): ClosedForm => ({
  what,
  formula: most === 0 ? '0' : `at most ${100 * most} %`,
  expected: null,
  bound: most,
  measured: hits / trials,
  trials,
  p: null,
});

/** How many of `flows` connections have all of their k packets at one endpoint, without a flow table. */
function wholeFlows(n: number, k: number, flows: number, seed: number): Counted {
  const probe = new Probe('per-packet', n, flows, seed);
  let hits = 0;
  for (let flow = 0; flow < flows; flow++) {
    const first = probe.endpointOf(flow, TCP_FLAG.SYN);
    let same = true;
    for (let packet = 1; packet < k; packet++) same = probe.endpointOf(flow, TCP_FLAG.ACK) === first && same;
    if (same) hits++;
  }
  return { hits, trials: flows };
}

/** How many of the connections whose endpoint stays go elsewhere after a change. Each is of another client. */
function moved(
  name: StrategyName,
  n: number,
  change: 'added' | 'removed',
  flows: number,
  seed: number,
): Counted {
  const probe = new Probe(name, n, flows, seed);
  const before = Array.from({ length: flows }, (_, flow) => probe.endpointOf(flow, TCP_FLAG.SYN));
  const gone = probe.change(change);
  let hits = 0;
  let trials = 0;
  for (let flow = 0; flow < flows; flow++) {
    if (before[flow] === gone) continue;
    trials++;
    if (probe.endpointOf(flow, TCP_FLAG.ACK) !== before[flow]) hits++;
  }
  return { hits, trials };
}

/** The pipeline under one strategy, asked for single packets. */
class Probe {
  readonly #balancer: Balancer;
  readonly #cluster: Cluster;
  readonly #services;
  readonly #connections;

  constructor(name: StrategyName, n: number, flows: number, seed: number) {
    const strategy = strategyNamed(name);
    this.#services = labServices(n);
    this.#balancer = new Balancer(1, strategy.pinned, flows, seed);
    this.#cluster = new Cluster(this.#services, strategy, this.#balancer.registry);
    this.#balancer.publish(this.#cluster.table(Balancer.clockOf(0)), 0);
    const group = {
      ...GROUP_DEFAULTS,
      protocol: 'TCP',
      connections: flows,
      addresses: flows,
      beginMs: [0, 1],
    } as const;
    this.#connections = connectionsOf(
      { name: '', what: '', durationMs: 1, clients: [group], events: [] },
      seed,
    );
  }

  /** Address of the endpoint that a packet of a flow goes to, as a number. */
  endpointOf(flow: number, flags: number): number {
    const { address, client, port } = this.#connections[flow];
    const target = this.#services.targets.TCP;
    if (target === null) throw new Error('the lab has a TCP port');
    const frame = composePacket({
      ...{ src: address, sport: port, dst: target.address, dport: target.port, protocol: 'TCP' as const },
      flags,
    });
    const [out] = this.#balancer.send(frame, client, port, 0);
    if (out === undefined) throw new Error('a packet to the Service came to nothing');
    return readFrame(out).dst;
  }

  /** @returns address of the endpoint that is gone, as a number; -1 when none is */
  change(change: 'added' | 'removed'): number {
    const address = this.#services.endpoints[3 % this.#services.endpoints.length];
    if (change === 'added') this.#cluster.add(newcomer(0));
    else this.#cluster.remove(address);
    this.#balancer.publish(this.#cluster.table(Balancer.clockOf(0)), 0);
    return change === 'added' ? -1 : ipv4Number(address);
  }
}

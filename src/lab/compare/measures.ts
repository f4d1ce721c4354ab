/** From what happened in a run to the numbers that are compared. */
import { chiSquare, chiSquareSurvival } from '../statistics.js';
import type { Cause } from './client.js';
import type { FlowRecord, RunRecord } from './simulation.js';
import type { Strategy } from './strategies.js';

/** How unevenly something lies over the endpoints. */
export interface Spread {
  /** By endpoint, in the order of the table. */
  readonly values: readonly number[];
  /** Coefficient of variation: standard deviation by mean. */
  readonly cv: number;
  readonly maxByMean: number;
}

/** Pearson's test that every endpoint had the same chance of each choice. */
export interface Fairness {
  /** Connections, or clients where the client's address decides. */
  readonly choices: number;
  readonly chiSquare: number;
  readonly degrees: number;
  /** null: fewer than 5 choices an endpoint, for which the test does not hold. */
  readonly p: number | null;
}

export interface Evenness {
  readonly flows: Spread;
  readonly packets: Spread;
  readonly bytes: Spread;
  readonly fairness: Fairness;
  /** Share of all bytes that the largest hundredth of the connections carries. */
  readonly topShare: number;
}

export interface Measures {
  /** TCP connections begun, those never made, and those that broke after they were made. */
  readonly connections: number;
  readonly failed: number;
  readonly broken: number;
  /** Broken ones whose endpoint the event had nothing to do with. */
  readonly bystanders: number;
  readonly causes: Readonly<Partial<Record<Cause, number>>>;
  /** UDP datagrams to be answered, and those that were not. */
  readonly datagrams: number;
  readonly unanswered: number;
  /** Flows with packets before and after the first event (without one: with two and more), whose endpoint stayed. */
  readonly survivors: number;
  /** Those of them that went on to another endpoint. */
  readonly moved: number;
  /**
   * From the event to the beginning of the last operation that failed or took over a second; null: no event, or such
   * operations before it too.
   */
  readonly recoverMs: number | null;
  /** null: an event has changed which endpoints there are. */
  readonly evenness: Evenness | null;
  readonly affinityViolations: number;
  readonly affinityChances: number;
  readonly staleDatagrams: number;
  /** Of the TCP connections open when the event came: the share not broken, every SURVIVAL_STEP_MS after it. */
  readonly survival: readonly number[] | null;
  /** Connections that per-packet choice leaves whole by chance: each with n^-(k-1); null where there is no such form. */
  readonly expectedWhole: number | null;
}

export const SURVIVAL_STEP_MS = 500;
const SURVIVAL_STEPS = 60;
/** What had begun so shortly before the event is its victim. */
const IN_FLIGHT_MS = 1000;

/** @param packetsOfWhole k of the workload, as `packetsOfWhole` tells it */
export function measuresOf(run: RunRecord, strategy: Strategy, packetsOfWhole: number | null): Measures {
  const { flows, endpoints, eventMs } = run;
  const tcp = flows.filter(({ protocol }) => protocol === 'TCP');
  const causes: Partial<Record<Cause, number>> = {};
  for (const { cause } of tcp) if (cause !== null) causes[cause] = (causes[cause] ?? 0) + 1;
  const survivors = flows.filter((flow) => isSurvivor(flow, run));
  const sum = (of: (flow: FlowRecord) => number): number =>
    flows.reduce((total, flow) => total + of(flow), 0);
  const isPerPacket = !strategy.pinned && strategy.algorithm === null;
  return {
    connections: tcp.length,
    failed: tcp.filter(({ outcome }) => outcome === 'failed').length,
    broken: tcp.filter(({ outcome }) => outcome === 'broken').length,
    bystanders: tcp.filter(({ outcome, endpoint }) => outcome === 'broken' && !endpoints[endpoint].touched)
      .length,
    causes,
    datagrams: sum(({ asked }) => asked),
    unanswered: sum(({ unanswered }) => unanswered),
    survivors: survivors.length,
    moved: survivors.filter(({ movedMs }) => movedMs !== null && movedMs >= (eventMs ?? 0)).length,
    recoverMs: eventMs === null ? null : recoverMs(flows, eventMs),
    evenness: endpoints.some(({ touched }) => touched) ? null : evennessOf(run, strategy),
    affinityViolations: run.affinityViolations,
    affinityChances: run.affinityChances,
    staleDatagrams: run.staleDatagrams,
    survival: eventMs === null ? null : survivalOf(tcp, eventMs),
    expectedWhole:
      isPerPacket && eventMs === null && packetsOfWhole !== null
        ? tcp.length * endpoints.length ** -(packetsOfWhole - 1)
        : null,
  };
}

function isSurvivor(
  { endpoint, beginMs, lastMs, packets }: FlowRecord,
  { endpoints, eventMs }: RunRecord,
): boolean {
  if (endpoint < 0 || endpoints[endpoint].touched) return false;
  return eventMs === null ? packets > 1 : beginMs < eventMs && lastMs >= eventMs;
}

function recoverMs(flows: readonly FlowRecord[], eventMs: number): number | null {
  const harmed = flows.flatMap(({ harmedMs }) => harmedMs);
  if (harmed.some((ms) => ms < eventMs - IN_FLIGHT_MS)) return null;
  return harmed.reduce((last, ms) => Math.max(last, ms - eventMs), 0);
}

function survivalOf(tcp: readonly FlowRecord[], eventMs: number): number[] {
  const open = tcp.filter(
    ({ connectedMs, endMs }) =>
      connectedMs !== null && connectedMs < eventMs && (endMs === null || endMs >= eventMs),
  );
  return Array.from({ length: SURVIVAL_STEPS + 1 }, (_, step) => {
    const until = eventMs + step * SURVIVAL_STEP_MS;
    const broken = open.filter(({ outcome, endMs }) => outcome === 'broken' && (endMs ?? 0) <= until).length;
    return open.length === 0 ? 0 : 1 - broken / open.length;
  });
}

/**
 * How many packets every client sends until it has all it wants, when nothing goes wrong; null when they differ.
 * @param run of a strategy that keeps connections whole
 */
export function packetsOfWhole({ flows }: RunRecord): number | null {
  const counts = new Set(flows.flatMap(({ protocol, packets }) => (protocol === 'TCP' ? packets : [])));
  const [count] = counts;
  return counts.size === 1 && count !== undefined ? count : null;
}

function evennessOf({ flows, endpoints }: RunRecord, strategy: Strategy): Evenness {
  const counts = endpoints.map((endpoint) => endpoint.flows);
  return {
    flows: spreadOf(counts),
    packets: spreadOf(endpoints.map(({ packets }) => packets)),
    bytes: spreadOf(endpoints.map(({ bytes }) => bytes)),
    fairness: fairnessOf(strategy.chooses === 'flows' ? counts : clientsByEndpoint(flows, endpoints.length)),
    topShare: topShare(flows),
  };
}

function topShare(flows: readonly FlowRecord[]): number {
  const sizes = flows.map(({ wantedBytes }) => wantedBytes).sort((a, b) => b - a);
  const top = sizes.slice(0, Math.max(1, Math.floor(sizes.length / 100)));
  const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  return total(sizes) === 0 ? 0 : total(top) / total(sizes);
}

function clientsByEndpoint(flows: readonly FlowRecord[], count: number): number[] {
  const counts = new Array<number>(count).fill(0);
  const seen = new Set<string>();
  for (const { client, endpoint } of flows) {
    if (endpoint < 0 || seen.has(client)) continue;
    seen.add(client);
    counts[endpoint]++;
  }
  return counts;
}

export function spreadOf(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (mean === 0) return { values, cv: 0, maxByMean: 0 };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { values, cv: Math.sqrt(variance) / mean, maxByMean: Math.max(...values) / mean };
}

/** Choices an endpoint that Pearson's approximation asks for (Cochran, 1954). */
const EXPECTED_MIN = 5;

export function fairnessOf(counts: readonly number[]): Fairness {
  const choices = counts.reduce((sum, count) => sum + count, 0);
  const degrees = counts.length - 1;
  const statistic = chiSquare(counts);
  const isEnough = degrees > 0 && choices >= EXPECTED_MIN * counts.length;
  return {
    choices,
    chiSquare: statistic,
    degrees,
    p: isEnough ? chiSquareSurvival(statistic, degrees) : null,
  };
}

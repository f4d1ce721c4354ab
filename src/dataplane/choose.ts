/**
 * Which endpoint of a set a new flow gets: one function for each algorithm, all over the same compiled sets. What they
 * remember between flows (turns, connections) is shared by all workers and asked for first packets only.
 */

import { finish, mix } from '../shared/hash.js';
import type { Random } from '../shared/random.js';
import { ALGORITHM, ENDPOINT, MAGLEV_SIZE, PORT, PORT_FLAG } from '../table/layout.js';
import type { ServiceTable } from '../table/service-table.js';
import { isAvoided } from './avoid.js';
import type { WorkerContext } from './context.js';

const SOURCE_SEED = 0x73682020;

/** No endpoint of the set may be chosen: a connection has tried them all. */
export const NO_ENDPOINT = -1;

/**
 * @param port offset of the PORT record
 * @param set offset of its PORT.CLUSTER or PORT.LOCAL pair, with at least one endpoint
 * @param at where the client's address stands in `cx.records`, `count` words
 * @returns offset of the chosen ENDPOINT record, or NO_ENDPOINT
 */
export function choose(cx: WorkerContext, port: number, set: number, at: number, count: number): number {
  const { table } = cx;
  const size = table.words[set + 1];
  let index = chooseIndex(cx, port, set, size, at, count);
  if ((table.words[port] & PORT_FLAG.RETRY) === 0) return table.endpointAt(set, index);
  if (choosesAnew(table.words[port + PORT.ALGORITHM])) {
    for (let tries = Math.min(size, TRIES_MAX); tries > 0; tries--) {
      const endpoint = table.endpointAt(set, index);
      if (!isAvoided(cx, table.words[endpoint + ENDPOINT.ID], true)) return endpoint;
      index = chooseIndex(cx, port, set, size, at, count);
    }
  }
  const welcome = nextWelcome(cx, set, size, index, true);
  return welcome === NO_ENDPOINT ? nextWelcome(cx, set, size, index, false) : welcome;
}

/** Turns taken or draws made before the neighbours of avoided endpoints are looked for. */
const TRIES_MAX = 16;

/** Whether choosing once more gives another endpoint. Then all others share alike what an avoided one would have got. */
const choosesAnew = (algorithm: number): boolean =>
  algorithm === ALGORITHM.ROUND_ROBIN || algorithm === ALGORITHM.CASCADE || algorithm === ALGORITHM.UNIFORM;

/** The chosen endpoint, or the first behind it that is not avoided. @param boxed the penalty box counts */
function nextWelcome(cx: WorkerContext, set: number, size: number, index: number, boxed: boolean): number {
  const { table } = cx;
  for (let step = 0; step < size; step++) {
    const endpoint = table.endpointAt(set, (index + step) % size);
    if (!isAvoided(cx, table.words[endpoint + ENDPOINT.ID], boxed)) return endpoint;
  }
  return NO_ENDPOINT;
}

function chooseIndex(
  cx: WorkerContext,
  port: number,
  set: number,
  size: number,
  at: number,
  count: number,
): number {
  const { table, random } = cx;
  if (size === 1) return 0;
  switch (table.words[port + PORT.ALGORITHM]) {
    case ALGORITHM.UNIFORM:
      return random.below(size);
    case ALGORITHM.ROUND_ROBIN:
      return (Atomics.add(cx.turns, table.words[port + PORT.ROW], 1) >>> 0) % size;
    case ALGORITHM.LEAST_CONNECTION:
      return leastLoaded(cx, set, size, 0);
    case ALGORITHM.SHORTEST_EXPECTED_DELAY:
      return leastLoaded(cx, set, size, 1);
    case ALGORITHM.NEVER_QUEUE: {
      const idle = firstIdle(cx, set, size);
      return idle >= 0 ? idle : leastLoaded(cx, set, size, 1);
    }
    case ALGORITHM.SOURCE_HASH:
      return (hashSource(cx, at, count) >>> 0) % size;
    case ALGORITHM.MAGLEV: {
      const lookup = table.words[port + PORT.MAGLEV + (set === port + PORT.LOCAL ? 1 : 0)];
      return table.words[lookup + ((hashSource(cx, at, count) >>> 0) % MAGLEV_SIZE)];
    }
    default:
      return cascade(table, random, size);
  }
}

/**
 * kube-proxy's iptables mode: rules tried in order with probability 1/n, 1/(n-1), ..., 1/2, the last one always.
 * Literally one draw a rule, as the kernel's statistic match does (xt_statistic.c), so that the choice follows the
 * printed probabilities to the last bit.
 * @returns an index from 0 to `count` - 1
 */
export function cascade(table: ServiceTable, random: Random, count: number): number {
  for (let remaining = count; remaining > 1; remaining--) {
    if (random.next31() < table.cascadeThreshold(remaining)) return count - remaining;
  }
  return count - 1;
}

/**
 * The endpoint with the smallest (flows + extra) / weight, the first of equals: ip_vs_lc and ip_vs_wlc with `extra` 0,
 * ip_vs_sed with 1. Compared by cross products, as IPVS does, to stay with integers.
 */
function leastLoaded(cx: WorkerContext, set: number, size: number, extra: number): number {
  const { table, active } = cx;
  let best = 0;
  let bestLoad = 0;
  let bestWeight = 0;
  for (let index = 0; index < size; index++) {
    const endpoint = table.endpointAt(set, index);
    const load = active.of(table.words[endpoint + ENDPOINT.ID]) + extra;
    const weight = table.words[endpoint + ENDPOINT.WEIGHT];
    if (index === 0 || load * bestWeight < bestLoad * weight) {
      best = index;
      bestLoad = load;
      bestWeight = weight;
    }
  }
  return best;
}

/** The first endpoint without a flow, or -1 (ip_vs_nq). */
function firstIdle(cx: WorkerContext, set: number, size: number): number {
  const { table, active } = cx;
  for (let index = 0; index < size; index++) {
    if (active.of(table.words[table.endpointAt(set, index) + ENDPOINT.ID]) === 0) return index;
  }
  return -1;
}

/** Of the client's address alone, as ip_vs_sh and ip_vs_mh hash without their port flags. */
function hashSource(cx: WorkerContext, at: number, count: number): number {
  let hash = SOURCE_SEED;
  for (let i = 0; i < count; i++) hash = mix(hash, cx.records[at + i]);
  return finish(hash);
}

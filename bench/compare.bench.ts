/**
 * What each balancing behaviour does to users, from `flowpin lab`: the same clients under every strategy, in memory, with
 * other clients in every round.
 */
import { labServices } from '../src/lab/compare/cluster.js';
import { compareInMemory } from '../src/lab/compare/compare.js';
import { loadOf } from '../src/lab/compare/load.js';
import { LAB_ENDPOINTS, labWorkloads } from '../src/lab/compare/scenarios.js';
import { STRATEGIES } from '../src/lab/compare/strategies.js';
import { type Figure, figureOf } from './figures.js';

const SCENARIOS = ['short connections', 'endpoint removed'];

/**
 * @param rounds seeds
 * @returns in percent: connections that broke, flows that moved though their endpoint stayed, and the coefficient of variation
 *   of flows over the endpoints
 */
export function compareFigures(rounds: number): Figure[] {
  const services = labServices(LAB_ENDPOINTS);
  const workloads = labWorkloads(1).filter(({ name }) => SCENARIOS.includes(name));
  const values = new Map<string, number[]>();
  const add = (id: string, share: number): void => {
    values.set(id, [...(values.get(id) ?? []), 100 * share]);
  };
  for (let seed = 1; seed <= rounds; seed++) {
    const loads = workloads.map((workload) => loadOf(workload, services, seed));
    const options = { services, loads, strategies: STRATEGIES, seed, workers: 1, proofs: null };
    for (const { eventMs, rows } of compareInMemory(options, () => {}).scenarios) {
      for (const { strategy, measures } of rows) {
        const name = strategy.replaceAll(' ', '-');
        if (eventMs !== null) add(`compare.moved.${name}`, measures.moved / measures.survivors);
        else {
          add(`compare.broken.${name}`, measures.broken / measures.connections);
          add(`compare.uneven.${name}`, measures.evenness?.flows.cv ?? 0);
        }
      }
    }
  }
  return [...values].map(([id, shares]) => figureOf(id, '%', shares));
}

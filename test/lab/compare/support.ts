import { labServices } from '../../../src/lab/compare/cluster.js';
import { loadOf } from '../../../src/lab/compare/load.js';
import { type Measures, measuresOf, packetsOfWhole } from '../../../src/lab/compare/measures.js';
import { LAB_ENDPOINTS, labWorkloads } from '../../../src/lab/compare/scenarios.js';
import { type RunRecord, runInMemory } from '../../../src/lab/compare/simulation.js';
import { type StrategyName, strategyNamed } from '../../../src/lab/compare/strategies.js';
import type { Workload } from '../../../src/lab/compare/workload.js';

/** Printed by every test that depends on it. */
export const SEED = Number(process.env.FLOWPIN_TEST_SEED ?? 7);

export function workloadNamed(name: string): Workload {
  const found = labWorkloads(1).find((workload) => workload.name === name);
  if (found === undefined) throw new Error(`no workload ${name}`);
  return found;
}

export function runOf(strategy: StrategyName, workload: Workload, workers = 2): RunRecord {
  const services = labServices(LAB_ENDPOINTS);
  const load = loadOf(workload, services, SEED);
  return runInMemory({ services, strategy: strategyNamed(strategy), load, seed: SEED, workers });
}

/** Measured before, by strategy and name of the workload. */
const known = new Map<string, Measures>();

export function measured(strategy: StrategyName, workload: Workload): Measures {
  const key = `${strategy}, ${workload.name}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const run = runOf(strategy, workload);
  const measures = measuresOf(run, strategyNamed(strategy), packetsOfWhole(run));
  known.set(key, measures);
  return measures;
}

/** Everything that `flowpin lab` does: every workload under every strategy, the closed forms, the proof of the cascade. */
import { type CascadeProof, proveCascade } from './cascade-proof.js';
import { type ClosedForm, closedForms } from './closed-forms.js';
import type { Services } from './cluster.js';
import { FALSE_ALARM_LEVEL, judge } from './judge.js';
import type { Load } from './load.js';
import { type Measures, measuresOf, packetsOfWhole } from './measures.js';
import { type RunRecord, runInMemory } from './simulation.js';
import type { Strategy } from './strategies.js';

export interface Row {
  readonly strategy: string;
  readonly measures: Measures;
}

export interface Scenario {
  readonly name: string;
  readonly what: string;
  readonly durationMs: number;
  /** Of the first event; null: nothing happens. */
  readonly eventMs: number | null;
  readonly rows: readonly Row[];
  /** What the numbers say, in words. */
  readonly sentences: readonly string[];
}

/** All p-values of a comparison are looked at; so often one of them is small by chance. */
export interface FalseAlarms {
  /** FALSE_ALARM_LEVEL. */
  readonly level: number;
  readonly tests: number;
  /** Probability of one false alarm or more in the whole report. */
  readonly any: number;
}

export interface Comparison {
  readonly seed: number;
  readonly service: string;
  readonly targets: readonly { readonly protocol: string; readonly address: string }[];
  readonly endpoints: readonly string[];
  readonly strategies: readonly { readonly name: string; readonly what: string }[];
  readonly scenarios: readonly Scenario[];
  readonly falseAlarms: FalseAlarms;
  readonly closedForms: readonly ClosedForm[];
  readonly cascade: CascadeProof | null;
}

export interface ComparisonOptions {
  readonly services: Services;
  readonly loads: readonly Load[];
  readonly strategies: readonly Strategy[];
  readonly seed: number;
  readonly workers: number;
  /** How many flows each closed form, and how many draws for each endpoint the cascade is measured with; null: left out. */
  readonly proofs: { readonly flows: number; readonly draws: number } | null;
}

/** @param progress told what is being done, and the share that is done */
export function compareInMemory(
  options: ComparisonOptions,
  progress: (doing: string, share: number) => void,
): Comparison {
  const { services, loads, strategies, seed, workers, proofs } = options;
  const steps = loads.length * strategies.length + (proofs === null ? 0 : 2);
  let done = 0;
  const scenarios = loads.map((load): Scenario => {
    const runs = strategies.map((strategy) => {
      progress(`${load.name}: ${strategy.name}`, done++ / steps);
      return { strategy, run: runInMemory({ services, strategy, load, seed, workers }) };
    });
    return scenarioOf(load, runs);
  });
  if (proofs !== null) progress('closed forms', done++ / steps);
  const forms = proofs === null ? [] : closedForms(seed, proofs.flows);
  if (proofs !== null) progress('proof of the cascade', done++ / steps);
  const cascade = proofs === null ? null : proveCascade(seed, proofs.draws);
  const ps = scenarios.flatMap(({ rows }) =>
    rows.flatMap(({ measures }) => measures.evenness?.fairness.p ?? []),
  );
  const tests = ps.length + forms.filter(({ p }) => p !== null).length;
  return {
    seed,
    service: services.service,
    targets: Object.values(services.targets).flatMap((target) =>
      target === null ? [] : { protocol: target.protocol, address: `${target.address}:${target.port}` },
    ),
    endpoints: services.endpoints,
    strategies: strategies.map(({ name, what }) => ({ name, what })),
    scenarios,
    falseAlarms: { level: FALSE_ALARM_LEVEL, tests, any: 1 - (1 - FALSE_ALARM_LEVEL) ** tests },
    closedForms: forms,
    cascade,
  };
}

function scenarioOf(
  load: Load,
  runs: readonly { readonly strategy: Strategy; readonly run: RunRecord }[],
): Scenario {
  const reference = runs.find(({ strategy }) => strategy.pinned)?.run;
  const k = reference === undefined ? null : packetsOfWhole(reference);
  const judged = runs.map(({ strategy, run }) => ({ strategy, measures: measuresOf(run, strategy, k) }));
  return {
    name: load.name,
    what: load.what,
    durationMs: load.durationMs,
    eventMs: runs[0]?.run.eventMs ?? null,
    rows: judged.map(({ strategy, measures }) => ({ strategy: strategy.name, measures })),
    sentences: judge(judged, k),
  };
}

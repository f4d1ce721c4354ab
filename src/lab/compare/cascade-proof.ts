/**
 * That the cascade 1/n, 1/(n-1), ..., 1 is uniform, for every number of endpoints that Kubernetes plans for: computed exactly
 * from the probabilities as they are printed and as the kernel compares them, and measured with the data plane's own function.
 */
import { Registry } from '../../control/compile/registry.js';
import { probabilityText } from '../../control/export/probability.js';
import { cascade } from '../../dataplane/choose.js';
import { Random } from '../../shared/random.js';
import { cascadeThreshold } from '../../table/layout.js';
import { ServiceTable } from '../../table/service-table.js';
import { Cluster, labServices } from './cluster.js';
import { type Fairness, fairnessOf } from './measures.js';
import { strategyNamed } from './strategies.js';

/** Endpoints of a Service that Kubernetes plans for (sig-scalability thresholds). */
export const CASCADE_MAX = 250;

export interface CascadeStep {
  readonly endpoints: number;
  /** Largest relative deviation of any endpoint's chance from 1/n; exact but for its own rounding. */
  readonly bias: number;
  /** The same for rules written with five digits, as older versions of kube-proxy did: 0.33333, listed as 0.33332999982. */
  readonly biasOfFiveDigits: number;
  readonly fairness: Fairness;
}

export interface CascadeProof {
  readonly steps: readonly CascadeStep[];
  readonly worstBias: number;
  readonly worstBiasOfFiveDigits: number;
  /** Probability of the first rule of three: as kube-proxy writes it, and as iptables lists it. */
  readonly written: string;
  readonly listed: string;
  readonly drawsByEndpoint: number;
  /** Smallest p-value of all the tests, and the chance of one as small among as many fair ones. */
  readonly smallestP: number;
  readonly chanceOfSmallest: number;
}

export function proveCascade(seed: number, drawsByEndpoint: number): CascadeProof {
  const random = new Random(seed);
  const table = tableOf(CASCADE_MAX);
  const steps = Array.from({ length: CASCADE_MAX }, (_, i): CascadeStep => {
    const endpoints = i + 1;
    const counts = new Array<number>(endpoints).fill(0);
    for (let draw = 0; draw < endpoints * drawsByEndpoint; draw++)
      counts[cascade(table, random, endpoints)]++;
    return {
      endpoints,
      bias: biasOf(endpoints, cascadeThreshold),
      biasOfFiveDigits: biasOf(endpoints, (left) => Math.round(Number((1 / left).toFixed(5)) * 2 ** 31)),
      fairness: fairnessOf(counts),
    };
  });
  const tested = steps.flatMap(({ fairness }) => fairness.p ?? []);
  const smallestP = Math.min(...tested);
  return {
    steps,
    worstBias: Math.max(...steps.map(({ bias }) => bias)),
    worstBiasOfFiveDigits: Math.max(...steps.map(({ biasOfFiveDigits }) => biasOfFiveDigits)),
    written: probabilityText(3),
    listed: (cascadeThreshold(3) / 2 ** 31).toFixed(11),
    drawsByEndpoint,
    smallestP,
    chanceOfSmallest: 1 - (1 - smallestP) ** tested.length,
  };
}

/**
 * The chance of endpoint i is the product of all rules before it not matching, and its own matching: integers over a power
 * of 2^31, so nothing is rounded until the end.
 */
export function biasOf(endpoints: number, thresholdOf: (remaining: number) => number): number {
  const ONE = 1n << 31n;
  let reached = 1n; // over 2^(31 * rules so far)
  let denominator = 1n;
  let worst = 0;
  for (let remaining = endpoints; remaining >= 1; remaining--) {
    const threshold = remaining === 1 ? ONE : BigInt(thresholdOf(remaining));
    denominator *= ONE;
    const chance = reached * threshold;
    worst = Math.max(worst, Math.abs(ratio(chance * BigInt(endpoints) - denominator, denominator)));
    reached *= ONE - threshold;
  }
  return worst;
}

/** A quotient as a number, to 2^-100. */
const ratio = (numerator: bigint, denominator: bigint): number =>
  Number((numerator << 100n) / denominator) / 2 ** 100;

function tableOf(endpoints: number): ServiceTable {
  const registry = new Registry(new Int32Array(new SharedArrayBuffer(64)), 1);
  return ServiceTable.from(new Cluster(labServices(endpoints), strategyNamed('random'), registry).table(0));
}

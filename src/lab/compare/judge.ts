/** What the numbers of a scenario mean to users, one sentence for each measure that has something to say. */
import { fairMaximumChance } from '../statistics.js';
import { grouped, outOf, percent, seconds } from '../wording.js';
import type { ClosedForm } from './closed-forms.js';
import type { Measures } from './measures.js';
import type { Strategy } from './strategies.js';

/** A fair choice is called unfair with this probability, by one test. */
export const FALSE_ALARM_LEVEL = 0.001;

interface Judged {
  readonly strategy: Strategy;
  readonly measures: Measures;
}

/** Whether formulas and pipeline agree. */
export function closedFormsSentence(forms: readonly ClosedForm[]): string {
  const apart = forms.filter(
    ({ measured, bound, p }) => (bound !== null && measured > bound) || (p !== null && p < FALSE_ALARM_LEVEL),
  );
  return apart.length === 0
    ? `All ${forms.length} agree: no p below ${FALSE_ALARM_LEVEL}, no bound passed.`
    : `Not as the formula says: ${list(apart.map(({ what }) => what))}.`;
}

/** @param k packets of every client until it has all it wants; null when they differ */
export function judge(judged: readonly Judged[], k: number | null): string[] {
  return [
    ...brokenSentences(judged, k),
    ...failedSentences(judged),
    ...movedSentences(judged),
    ...recoverSentences(judged),
    ...(judged.some(({ measures }) => measures.survival !== null) ? [] : evennessSentences(judged)),
    ...affinitySentences(judged),
    ...datagramSentences(judged),
  ];
}

function brokenSentences(judged: readonly Judged[], k: number | null): string[] {
  const sentences: string[] = [];
  for (const { strategy, measures } of judged) {
    const { connections, broken, failed, expectedWhole } = measures;
    if (expectedWhole === null || k === null) continue;
    const n = measures.evenness?.flows.values.length ?? 0;
    sentences.push(
      `${strategy.name} breaks ${grouped(broken)} of ${grouped(connections)} connections: of a connection's ${k} packets all ` +
        `must happen to draw the same of ${n} endpoints, which ${shareText(n ** -(k - 1))} do (n^-(k-1)); ` +
        `expected whole ${decimal(expectedWhole)}, found ${grouped(connections - broken - failed)}.`,
    );
  }
  const rest = judged.filter(({ measures }) => measures.expectedWhole === null && measures.connections > 0);
  const whole = rest.filter(({ measures }) => measures.broken === 0);
  if (whole.length > 0) {
    const pinned = judged.filter(({ strategy }) => strategy.pinned);
    const isAllPinned = whole.length === pinned.length && whole.every(({ strategy }) => strategy.pinned);
    const where = isAllPinned
      ? 'any that has a flow table'
      : list(whole.map(({ strategy }) => strategy.name));
    sentences.push(`No connection broke under ${where}.`);
  }
  const stateless = rest.filter(
    ({ strategy, measures }) => !strategy.pinned && (measures.causes.reset ?? 0) > 0,
  );
  if (stateless.length > 0) {
    const counts = stateless.map(({ strategy, measures }) => {
      const of =
        measures.survival !== null && measures.bystanders > 0
          ? ` (${grouped(measures.bystanders)} of endpoints that stayed)`
          : '';
      return `${strategy.name} ${grouped(measures.causes.reset ?? 0)}${of}`;
    });
    sentences.push(
      `Reset because without a flow table later packets went to endpoints that know nothing of the connection: ${list(counts)}.`,
    );
  }
  const lost = rest.filter(({ strategy, measures }) => strategy.pinned && measures.broken > 0);
  if (lost.length > 0) {
    const bystanders = lost.reduce((sum, { measures }) => sum + measures.bystanders, 0);
    const whose =
      bystanders === 0
        ? 'all of endpoints that went away'
        : `${grouped(bystanders)} of them of endpoints that stayed`;
    sentences.push(
      `With a flow table ${rangeText(lost.map(({ measures }) => measures.broken))} of ` +
        `${grouped(lost[0].measures.connections)} connections broke, ${whose}.`,
    );
  }
  return sentences;
}

function failedSentences(judged: readonly Judged[]): string[] {
  const failing = judged.filter(({ measures }) => measures.failed > 0);
  const withRetry = judged.find(({ strategy }) => strategy.mode === 'userspace');
  if (failing.length === 0) return [];
  const names = list(failing.map(({ strategy, measures }) => `${strategy.name} ${grouped(measures.failed)}`));
  const spared =
    withRetry?.measures.failed === 0
      ? ` ${withRetry.strategy.name} none: a SYN that nobody answers in 250 ms goes to another endpoint, and that one is avoided for a while.`
      : '';
  return [`New connections that could not be made: ${names}.${spared}`];
}

function movedSentences(judged: readonly Judged[]): string[] {
  const moving = judged.filter(
    ({ strategy, measures }) => measures.moved > 0 && !(strategy.algorithm === null && !strategy.pinned),
  );
  if (moving.length === 0) return [];
  const parts = moving.map(({ strategy, measures }) => {
    const { moved, survivors } = measures;
    return `${strategy.name} ${grouped(moved)} of ${grouped(survivors)} (${percent(moved / survivors)})`;
  });
  const tables = judged.filter(({ strategy }) => strategy.pinned);
  const still = tables.every(({ measures }) => measures.moved === 0) ? '; with a flow table none did' : '';
  return [`Flows that moved though their endpoint stayed: ${list(parts)}${still}.`];
}

function recoverSentences(judged: readonly Judged[]): string[] {
  const known = judged.filter(({ measures }) => measures.recoverMs !== null);
  const hurt = known.filter(({ measures }) => (measures.recoverMs ?? 0) > 0);
  if (known.length === 0) return [];
  if (hurt.length === 0)
    return [`No client noticed the event under ${list(known.map(({ strategy }) => strategy.name))}.`];
  const parts = hurt.map(({ strategy, measures }) => `${strategy.name} ${seconds(measures.recoverMs ?? 0)}`);
  return [
    `From the event until nothing begun went wrong or took over a second: ${list(parts)}` +
      `${hurt.length < known.length ? '; the others at once' : ''}.`,
  ];
}

function evennessSentences(judged: readonly Judged[]): string[] {
  return [...fewSamples(judged), ...oneClient(judged), ...unfair(judged), ...sizes(judged)];
}

/** A skew that equal chances give too: k/k#37932 and its like. */
function fewSamples(judged: readonly Judged[]): string[] {
  const found = judged.find(
    ({ strategy }) =>
      strategy.pinned && strategy.mode === 'iptables' && !strategy.affinity && strategy.algorithm === null,
  );
  const evenness = found?.measures.evenness;
  if (found === undefined || evenness === null || evenness === undefined) return [];
  const { values } = evenness.flows;
  const { choices, p } = evenness.fairness;
  const n = values.length;
  if (choices === 0 || n < 2) return [];
  const most = Math.max(...values);
  const least = Math.min(...values);
  const flows = found.measures.datagrams > 0 ? 'flows' : 'connections';
  if (p === null) {
    return [
      `${found.strategy.name} gave one endpoint ${most} of ${choices} ${flows} and another ${least}: with equal chances for ${n} ` +
        `endpoints somebody gets ${most} or more in ${outOf(fairMaximumChance(choices, n, most))} runs. The skew is few samples, not the probabilities.`,
    ];
  }
  if (p < FALSE_ALARM_LEVEL) return [];
  return [
    `${found.strategy.name} gave its endpoints ${grouped(least)} to ${grouped(most)} ${flows}: equal chances give a spread at least this uneven ` +
      `in ${outOf(p)} runs (chi-square, p = ${p.toPrecision(2)}). The spread is chance, the probabilities are equal.`,
  ];
}

function oneClient(judged: readonly Judged[]): string[] {
  const stuck = judged.filter(({ strategy, measures }) => {
    const { evenness } = measures;
    return (
      strategy.chooses === 'clients' &&
      evenness !== null &&
      evenness.fairness.choices === 1 &&
      evenness.flows.values.length > 1
    );
  });
  if (stuck.length === 0) return [];
  return [
    `${list(stuck.map(({ strategy }) => strategy.name))} sent everything to one endpoint: they choose by client address, and behind one NAT all ` +
      'users are one client.',
  ];
}

function unfair(judged: readonly Judged[]): string[] {
  return judged.flatMap(({ strategy, measures }) => {
    const fairness = measures.evenness?.fairness;
    if (!strategy.even || fairness?.p == null || fairness.p >= FALSE_ALARM_LEVEL) return [];
    const of = strategy.chooses === 'clients' ? 'clients' : 'connections';
    return [
      `${strategy.name} is uneven beyond chance: equal chances for ${grouped(fairness.choices)} ${of} give such a spread in ` +
        `${outOf(fairness.p)} runs.`,
    ];
  });
}

/** Even connections, uneven load. */
function sizes(judged: readonly Judged[]): string[] {
  const even = judged.flatMap(({ strategy, measures }) => {
    const { evenness } = measures;
    return strategy.pinned && evenness !== null && evenness.flows.cv < 0.02 && evenness.bytes.cv > 0.1
      ? [{ strategy, evenness }]
      : [];
  });
  const [first] = even;
  if (first === undefined) return [];
  return [
    `${list(even.map(({ strategy }) => strategy.name))} gave every endpoint as many connections and yet one of them ` +
      `${first.evenness.bytes.maxByMean.toFixed(1)} times the mean in bytes: the largest hundredth of the connections carries ` +
      `${percent(first.evenness.topShare)} of them. Connections are balanced, not load.`,
  ];
}

function affinitySentences(judged: readonly Judged[]): string[] {
  const promised = judged.find(({ strategy }) => strategy.affinity);
  const chance = judged.find(({ strategy }) => strategy.pinned && strategy.chooses === 'flows');
  if (promised === undefined || promised.measures.affinityChances === 0) return [];
  const { affinityViolations: violations, affinityChances: chances } = promised.measures;
  const other =
    chance === undefined
      ? ''
      : `; without affinity (${chance.strategy.name}) ${percent(chance.measures.affinityViolations / Math.max(1, chance.measures.affinityChances))} of such connections change`;
  const what = violations === 0 ? 'never changed' : `changed ${grouped(violations)} times`;
  return [
    `Under ${promised.strategy.name} a client's endpoint ${what} in ${grouped(chances)} further connections${other}.`,
  ];
}

function datagramSentences(judged: readonly Judged[]): string[] {
  const [first] = judged;
  if (first === undefined || first.measures.datagrams === 0) return [];
  const sentences: string[] = [];
  const stale = judged.reduce((sum, { measures }) => sum + measures.staleDatagrams, 0);
  if (first.measures.survival !== null) {
    sentences.push(
      stale === 0
        ? 'No datagram went to an endpoint that no longer served: a UDP flow is looked at again with its next packet.'
        : `${grouped(stale)} datagrams went to endpoints that no longer served.`,
    );
  }
  const lost = judged.filter(({ measures }) => measures.unanswered > 0);
  if (lost.length > 0) {
    const counts = lost.map(({ measures }) => measures.unanswered);
    sentences.push(`Unanswered datagrams: ${rangeText(counts)} of ${grouped(first.measures.datagrams)}.`);
  } else if (first.measures.survival === null) {
    const split = judged.find(({ strategy }) => !strategy.pinned && strategy.algorithm === null);
    const apart =
      split === undefined
        ? ''
        : ` ${split.strategy.name} sent ${percent(split.measures.moved / Math.max(1, split.measures.survivors))} of the pairs to two endpoints, ` +
          'which single datagrams do not mind.';
    sentences.push(`Every datagram was answered: two at once from one socket are no race here.${apart}`);
  }
  return sentences;
}

const list = (parts: readonly string[]): string =>
  parts.length < 2 ? (parts[0] ?? '') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;

function rangeText(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? grouped(least) : `${grouped(least)} to ${grouped(most)}`;
}

const decimal = (value: number): string => (value >= 0.05 ? value.toFixed(1) : 'none');

const shareText = (share: number): string =>
  share >= 0.0005 ? percent(share) : `1 in 10^${Math.round(-Math.log10(share))}`;

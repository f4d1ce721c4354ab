/** The comparison on a terminal: at most 80 columns. Pure: a comparison in, text out. */
import { columns, text } from '../text-table.js';
import { grouped, percent, seconds } from '../wording.js';
import type { CascadeProof } from './cascade-proof.js';
import type { ClosedForm } from './closed-forms.js';
import type { Comparison, Scenario } from './compare.js';
import { closedFormsSentence } from './judge.js';
import type { Measures } from './measures.js';

const WIDTH = 80;

/** The whole report, with a line feed at its end. */
export function comparisonText(comparison: Comparison): string {
  const { scenarios, closedForms, cascade } = comparison;
  const parts = [
    heading(comparison),
    ...scenarios.map(scenarioText),
    ...(closedForms.length === 0 ? [] : [closedFormsText(closedForms)]),
    ...(cascade === null ? [] : [cascadeText(cascade)]),
    ...(comparison.falseAlarms.tests === 0 ? [] : [falseAlarmsText(comparison)]),
  ];
  return `${parts.join('\n\n')}\n`;
}

function heading({ service, targets, endpoints, strategies, seed }: Comparison): string {
  const where = targets.map(({ protocol, address }) => `${address}/${protocol.toLowerCase()}`).join(', ');
  const table = columns(['', ''], 2);
  for (const { name, what } of strategies) table.push([name, what]);
  const intro =
    `flowpin lab: the same clients under ${strategies.length} balancing behaviours. Service ${service} (${where}), ` +
    `${endpoints.length} endpoints, seed ${seed}. Real packets through the compiled table and the pipeline; hosts and time are simulated.`;
  return `${wrapped(intro, '')}\n${text(table)}`;
}

function scenarioText(scenario: Scenario): string {
  const { name, what, eventMs } = scenario;
  const title = wrapped(`${name.toUpperCase()}  ${what}${sizeText(scenario)}`, '');
  const table = eventMs === null && hasEvenness(scenario) ? evennessTable(scenario) : eventTable(scenario);
  const sentences = scenario.sentences.map((sentence) => wrapped(`- ${sentence}`, '  '));
  return [title, table, ...sentences].join('\n');
}

const hasEvenness = ({ rows }: Scenario): boolean => rows.every(({ measures }) => measures.evenness !== null);

function sizeText({ rows }: Scenario): string {
  const { connections = 0, datagrams = 0 } = rows[0]?.measures ?? {};
  const parts = [
    ...(connections > 0 ? [`${grouped(connections)} connections`] : []),
    ...(datagrams > 0 ? [`${grouped(datagrams)} datagrams`] : []),
  ];
  return ` (${parts.join(', ')})`;
}

function evennessTable({ rows }: Scenario): string {
  const table = columns(['', 'broken', 'moved', 'flows/ep', 'cv', 'packets', 'bytes', 'max/mean', 'p']);
  for (const { strategy, measures } of rows) {
    const { evenness } = measures;
    if (evenness === null) continue;
    const { flows, packets, bytes, fairness } = evenness;
    table.push([
      strategy,
      brokenText(measures),
      movedText(measures),
      `${Math.min(...flows.values)}-${Math.max(...flows.values)}`,
      flows.cv.toFixed(2),
      packets.cv.toFixed(2),
      bytes.cv.toFixed(2),
      bytes.maxByMean.toFixed(2),
      pText(fairness.p),
    ]);
  }
  return text(table);
}

function eventTable({ rows }: Scenario): string {
  const table = columns(['', 'broken', 'failed', 'moved', 'recovers', 'unanswered', 'stale', 'affinity']);
  for (const { strategy, measures } of rows) {
    const { connections, failed, recoverMs, unanswered, datagrams, staleDatagrams } = measures;
    const { affinityViolations, affinityChances } = measures;
    table.push([
      strategy,
      brokenText(measures),
      connections === 0 ? '-' : grouped(failed),
      movedText(measures),
      recoverMs === null ? '-' : recoverMs === 0 ? 'at once' : seconds(recoverMs),
      datagrams === 0 ? '-' : grouped(unanswered),
      datagrams === 0 ? '-' : grouped(staleDatagrams),
      affinityChances === 0 ? '-' : percent(affinityViolations / affinityChances),
    ]);
  }
  return text(table);
}

const brokenText = ({ connections, broken }: Measures): string => (connections === 0 ? '-' : grouped(broken));

const movedText = ({ moved, survivors }: Measures): string =>
  survivors === 0 ? '-' : percent(moved / survivors);

export const pText = (p: number | null): string =>
  p === null ? '-' : p < 0.0001 ? '<1e-4' : p >= 0.995 ? '1' : p.toPrecision(2);

export const CLOSED_FORM_COLUMNS = ['', 'formula', 'expected', 'measured', 'of', 'p'];

export const closedFormCells = ({ what, formula, expected, measured, trials, p }: ClosedForm): string[] => [
  what,
  formula,
  expected === null ? '-' : shareText(expected),
  shareText(measured),
  grouped(trials),
  pText(p),
];

function closedFormsText(forms: readonly ClosedForm[]): string {
  const table = columns(CLOSED_FORM_COLUMNS, 2);
  for (const form of forms) table.push(closedFormCells(form));
  const title = 'CLOSED FORMS  what a formula says, and what the pipeline does';
  return `${title}\n${text(table)}\n- ${closedFormsSentence(forms)}`;
}

/** Small shares keep their first digits. */
export const shareText = (share: number): string =>
  share === 0 || share >= 0.001 ? `${(100 * share).toFixed(2)} %` : `${(100 * share).toPrecision(1)} %`;

function cascadeText(cascade: CascadeProof): string {
  return [
    'CASCADE  1/n, 1/(n-1), ..., 1 for every n from 1 to 250',
    ...cascadeSentences(cascade).map((s) => wrapped(`- ${s}`, '  ')),
  ].join('\n');
}

export function cascadeSentences(cascade: CascadeProof): string[] {
  const { written, listed, worstBias, worstBiasOfFiveDigits, drawsByEndpoint, smallestP, chanceOfSmallest } =
    cascade;
  return [
    `kube-proxy writes the first of three rules as ${written} and iptables lists it as ${listed}: the kernel compares 31 random bits ` +
      'with the nearest multiple of 2^-31.',
    `Computed exactly from these numbers, no endpoint's chance differs from 1/n by more than ${worstBias.toExponential(1)} of it ` +
      `(with the five digits of old versions ${(100 * worstBiasOfFiveDigits).toFixed(2)} %). The cascade is uniform; a skew has another cause.`,
    `Measured with ${grouped(drawsByEndpoint)} draws an endpoint, the smallest p-value of the 249 tests is ${smallestP.toPrecision(2)}; ` +
      `chance alone gives one as small in ${Math.round(100 * chanceOfSmallest)} of 100 runs.`,
  ];
}

function falseAlarmsText(comparison: Comparison): string {
  return wrapped(`STATISTICS  ${falseAlarmsSentence(comparison)}`, '');
}

export function falseAlarmsSentence({ falseAlarms: { level, tests, any } }: Comparison): string {
  return (
    `A choice counts as uneven when equal chances give such a spread in fewer than ${level * 1000} of 1,000 runs ` +
    `(Pearson's chi-square). With ${tests} tests in this report, a fair data plane is accused somewhere in ${percent(any)} of all reports.`
  );
}

/** @param indent of the lines behind the first */
function wrapped(sentence: string, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of sentence.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = indent + word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join('\n');
}

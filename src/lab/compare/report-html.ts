/** The comparison as one page that needs nothing else: text, tables and drawings, no script, no network. */
import { grouped, percent, seconds } from '../wording.js';
import {
  biasChart,
  cascadePChart,
  distributionChart,
  harmChart,
  survivalChart,
  wholeFlowsChart,
} from './charts.js';
import type { ClosedForm } from './closed-forms.js';
import type { Comparison, Scenario } from './compare.js';
import { closedFormsSentence } from './judge.js';
import type { Evenness } from './measures.js';
import {
  CLOSED_FORM_COLUMNS,
  cascadeSentences,
  closedFormCells,
  falseAlarmsSentence,
  pText,
} from './report-table.js';

/** The same comparison gives the same bytes. */
export function comparisonHtml(comparison: Comparison): string {
  const { scenarios, closedForms, cascade } = comparison;
  const sections: string[] = [overview(comparison), ...scenarios.map(scenarioHtml)];
  if (closedForms.length > 0) {
    sections.push(
      section(
        'Closed forms',
        'what a formula says, and what the pipeline does',
        list([closedFormsSentence(closedForms)]),
        `<div class="pair">${figure(
          wholeFlowsChart('whole', closedForms),
          'Choice per packet, no flow table. Lines: n<sup>-(k-1)</sup>. Points: measured.',
        )}${closedFormsTable(closedForms)}</div>`,
      ),
    );
  }
  if (cascade !== null) {
    sections.push(
      section(
        'The cascade is uniform',
        '1/n, 1/(n-1), ..., 1 for every n from 1 to 250',
        list(cascadeSentences(cascade)),
        `<div class="pair">${figure(biasChart('bias', cascade.steps), 'Computed exactly from the probabilities as they are written.')}${figure(
          cascadePChart('p', cascade.steps),
          'Measured: fair choices scatter evenly between 0 and 1. Line: the level of an alarm.',
        )}</div>`,
      ),
    );
  }
  if (comparison.falseAlarms.tests > 0)
    sections.push(section('Statistics', '', `<p>${escaped(falseAlarmsSentence(comparison))}</p>`));
  return page(comparison, sections);
}

function closedFormsTable(forms: readonly ClosedForm[]): string {
  return table(CLOSED_FORM_COLUMNS, forms.map(closedFormCells));
}

function overview({ strategies, scenarios }: Comparison): string {
  const cell = (scenario: Scenario, index: number): string => {
    const { connections, broken, failed, datagrams, unanswered } = scenario.rows[index].measures;
    const [bad, all] = connections > 0 ? [broken + failed, connections] : [unanswered, datagrams];
    const share = all === 0 ? 0 : bad / all;
    return `<td class="heat" style="--share:${Math.sqrt(share).toFixed(3)}">${bad === 0 ? '0' : percent(share)}</td>`;
  };
  const head = scenarios.map(({ name }) => `<th class="tilt"><span>${escaped(name)}</span></th>`).join('');
  const rows = strategies.map(
    ({ name, what }, index) =>
      `<tr><th>${escaped(name)}<small>${escaped(what)}</small></th>${scenarios.map((scenario) => cell(scenario, index)).join('')}</tr>`,
  );
  return section(
    'What went wrong for users',
    'share of connections that broke or could not be made; for DNS, of unanswered datagrams',
    `<table class="overview"><thead><tr><td></td>${head}</tr></thead><tbody>${rows.join('')}</tbody></table>`,
  );
}

function scenarioHtml(scenario: Scenario, index: number): string {
  const { name, what, rows, eventMs, sentences } = scenario;
  const { connections = 0, datagrams = 0 } = rows[0]?.measures ?? {};
  const figures: string[] = [];
  if (rows.every(({ measures }) => measures.evenness !== null) && eventMs === null) {
    figures.push(
      figure(distributionChart(`d${index}`, scenario), 'What each endpoint had. Dashed: an equal share.'),
    );
  }
  if (eventMs !== null && connections > 0) {
    figures.push(
      figure(
        survivalChart(`s${index}`, scenario),
        `Connections open when it happened, ${seconds(eventMs)} after the start: the share not broken, by time since.`,
      ),
    );
  }
  if (eventMs !== null) figures.push(figure(harmChart(`h${index}`, scenario), ''));
  const size = [
    ...(connections > 0 ? [`${grouped(connections)} connections`] : []),
    ...(datagrams > 0 ? [`${grouped(datagrams)} datagrams`] : []),
  ].join(', ');
  return section(
    heading(name),
    `${what} (${size})`,
    list(sentences),
    ...figures,
    `<details><summary>All numbers</summary>${numbers(scenario)}</details>`,
  );
}

function numbers({ rows }: Scenario): string {
  const hasEvenness = rows.every(({ measures }) => measures.evenness !== null);
  const head = [
    ...['', 'broken', 'failed', 'moved', 'of', 'recovers', 'unanswered', 'stale', 'affinity broken', 'of'],
    ...(hasEvenness ? ['cv flows', 'packets', 'bytes', 'max/mean', 'p'] : []),
  ];
  return table(
    head,
    rows.map(({ strategy, measures: m }) => [
      strategy,
      grouped(m.broken),
      grouped(m.failed),
      grouped(m.moved),
      grouped(m.survivors),
      m.recoverMs === null ? '-' : m.recoverMs === 0 ? 'at once' : seconds(m.recoverMs),
      grouped(m.unanswered),
      grouped(m.staleDatagrams),
      grouped(m.affinityViolations),
      grouped(m.affinityChances),
      ...(hasEvenness && m.evenness !== null ? evennessCells(m.evenness) : []),
    ]),
  );
}

const evennessCells = ({ flows, packets, bytes, fairness }: Evenness): string[] => [
  flows.cv.toFixed(2),
  packets.cv.toFixed(2),
  bytes.cv.toFixed(2),
  bytes.maxByMean.toFixed(2),
  pText(fairness.p),
];

const heading = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

const section = (title: string, what: string, ...parts: string[]): string =>
  `<section><h2>${escaped(title)}</h2>${what === '' ? '' : `<p class="what">${escaped(what)}</p>`}${parts.join('\n')}</section>`;

const list = (sentences: readonly string[]): string =>
  `<ul>${sentences.map((sentence) => `<li>${escaped(sentence)}</li>`).join('')}</ul>`;

/** @param caption may hold markup */
const figure = (svg: string, caption: string): string =>
  `<figure>${caption === '' ? '' : `<figcaption>${caption}</figcaption>`}${svg}</figure>`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, values: readonly string[]): string =>
    values
      .map((value, at) => `<${at === 0 ? 'th' : tag}>${escaped(value)}</${at === 0 ? 'th' : tag}>`)
      .join('');
  return `<table><thead><tr>${cells('th', head)}</tr></thead><tbody>${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('')}</tbody></table>`;
}

/** Units stay on the line of their number. */
const escaped = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replace(/(\d) (%|ms|s)(?=\W|$)/g, '$1&nbsp;$2');

function page(
  { service, targets, endpoints, seed, strategies }: Comparison,
  sections: readonly string[],
): string {
  const where = targets.map(({ protocol, address }) => `${address}/${protocol.toLowerCase()}`).join(', ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>flowpin lab</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>flowpin lab</h1>
<p>The same clients under ${strategies.length} balancing behaviours. Service ${escaped(service)} (${escaped(where)}), ${endpoints.length} endpoints,
seed ${seed}: the same seed gives the same page. Real packets go through the compiled Service table and the pipeline of the data plane;
hosts and time are simulated.</p>
</header>
${sections.join('\n')}
</body>
</html>
`;
}

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 1160px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 0; }
header p, .what { color: #555; margin: 0 0 .6rem; }
section { border-top: 1px solid #ddd; padding: 1.3rem 0 .6rem; margin-top: 1.2rem; }
ul { margin: .4rem 0 .8rem; padding-left: 1.2rem; }
li { margin: .15rem 0; max-width: 68rem; }
figure { margin: .6rem 0 1rem; overflow-x: auto; }
figcaption { color: #555; font-size: .87rem; margin-bottom: .3rem; }
.pair { display: flex; gap: 2rem; flex-wrap: wrap; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; margin: .4rem 0; }
th, td { padding: .18rem .55rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
th { font-weight: 600; }
tbody th, thead th:first-child { text-align: left; }
td:nth-child(2):not(.heat) { text-align: right; }
summary { cursor: pointer; color: #0072b2; font-size: .9rem; }
.overview th small { display: block; font-size: .75rem; font-weight: 400; color: #666; }
.overview .tilt { vertical-align: bottom; text-align: left; padding: 0; border: 0; }
.overview .tilt span { writing-mode: vertical-rl; transform: rotate(180deg); padding: .4rem 0; font-weight: 400; }
.heat { text-align: center; min-width: 2.3rem; background: color-mix(in srgb, #d55e00 calc(var(--share) * 70%), #f3f8fb); }
`;

/** The results as one HTML page: charts by what they answer, then every figure. */

import { AIMS, aimText, measuredText } from './aims.js';
import { type Bar, barChart, type Line, lineChart } from './chart.js';
import { type Figure, numberText, type Results } from './figures.js';
import type { Peer } from './peers.js';

/** flowpin stands out; the kernel, the limit and the proxies that end connections are three kinds. */
const COLOR: { readonly [peer in Peer]: string } = {
  flowpin: '#d9480f',
  'c-loop': '#868e96',
  iptables: '#1864ab',
  nftables: '#4dabf7',
  haproxy: '#2b8a3e',
  'node-pipe': '#8ce99a',
};
const colorOf = (peer: string): string => COLOR[peer as Peer] ?? '#999';

const REAL: readonly [id: string, title: string][] = [
  ['tun.tcp1', 'Bulk TCP, 1 stream'],
  ['tun.tcp8', 'Bulk TCP, 8 streams'],
  ['tun.udp64.1', 'UDP, 64-byte packets, 1 flow'],
  ['tun.udp64.1000', 'UDP, 64-byte packets, 1,000 flows'],
  ['tun.udp1400.1', 'UDP, 1400-byte packets, 1 flow'],
  ['tun.cpu', 'CPU time of the proxy process, a packet (less is better)'],
  ['tun.cps', 'New connections'],
  ['tun.http', 'HTTP, kept alive'],
];

const LATENCY: readonly [id: string, title: string][] = [
  ['tun.http.p50', 'HTTP latency, median'],
  ['tun.http.p99', 'HTTP latency, 99 %'],
  ['tun.http.p999', 'HTTP latency, 99.9 %'],
];

export function page(results: Results): string {
  const { figures } = results;
  const byPeer = ([id, title]: readonly [string, string]): string =>
    bars(
      title,
      figures.filter((figure) => figure.id === id),
      ({ peer }) => peer,
    );
  const own = (title: string, pattern: RegExp): string =>
    bars(
      title,
      figures.filter(({ id }) => pattern.test(id)),
      ({ id }) => id.replace(pattern, '$1'),
    );
  const sections: [string, string[]][] = [
    ['Real traffic', REAL.map(byPeer)],
    ['Latency (less is better)', LATENCY.map(byPeer)],
    [
      'Many Services, and workers',
      [
        lines('First packet of a flow, there and back (less is better)', 'scale.first', figures),
        lines('Table lookup, in memory (less is better)', 'lookup', figures),
        own('Workers: UDP, 64-byte packets, 1,000 flows', /^scale\.workers\.(.*)/),
      ],
    ],
    [
      'In memory, one worker',
      [
        own('Known flows, by family and number of flows', /^pipeline\.hit\.((?:v4|v6|tcp)\..*)/),
        own('New flows', /^pipeline\.new\.((?:v4|v6|tcp)\..*)/),
        own('Known flows, by number of Services', /^pipeline\.hit\.services\.(.*)/),
        own('New flows, by number of Services', /^pipeline\.new\.services\.(.*)/),
        own('Steps (less is better)', /^step\.(.*)/),
        own('A change of Services (less is better)', /^((?:compile|publish)\..*)/),
      ],
    ],
  ];
  const shown = sections
    .map(([title, charts]) => [title, charts.filter((chart) => chart !== '')] as const)
    .filter(([, charts]) => charts.length > 0);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>flowpin: benchmark of ${escaped(results.date.slice(0, 10))}</title>
<style>${STYLE}</style>
<h1>flowpin: benchmark</h1>
${facts(results)}
${aims(figures)}
${shown.map(([title, charts]) => `<h2>${title}</h2>\n<div class="charts">${charts.join('\n')}</div>`).join('\n')}
<h2>Every figure</h2>
${figureTable(figures)}
${skipped(results)}
</html>
`;
}

function bars(title: string, figures: readonly Figure[], nameOf: (figure: Figure) => string): string {
  const [first] = figures;
  if (first === undefined) return '';
  return barChart(
    title,
    first.unit,
    figures.map((figure): Bar => {
      const { median, min, max, peer } = figure;
      return {
        ...{ name: nameOf(figure), value: median, min, max },
        color: colorOf(peer),
        label: numberText(median),
      };
    }),
  );
}

/** Figures PREFIX.<services> of every peer that has them. */
function lines(title: string, prefix: string, figures: readonly Figure[]): string {
  const found = figures.filter(({ id }) => id.startsWith(`${prefix}.`));
  const [first] = found;
  if (first === undefined) return '';
  const peers = [...new Set(found.map(({ peer }) => peer))];
  return lineChart(
    title,
    first.unit,
    'Services',
    peers.map(
      (peer): Line => ({
        ...{ name: peer, color: colorOf(peer) },
        points: found
          .filter((figure) => figure.peer === peer)
          .map(({ id, median, min, max }) => ({
            x: Number(id.slice(prefix.length + 1)),
            value: median,
            min,
            max,
          })),
      }),
    ),
  );
}

function facts({ machine, versions, date, quick }: Results): string {
  const all = [...Object.entries({ ...machine, ...versions }), ['date', date]];
  const warning = quick ? '<p><strong>A quick run: for a first look only.</strong></p>' : '';
  return `${warning}<dl>${all.map(([name, value]) => `<dt>${escaped(String(name))}</dt><dd>${escaped(String(value))}</dd>`).join('')}</dl>
<p>Bars and points are medians of the rounds, whiskers and bands go from the smallest to the largest. All peers were measured in
one run, taking turns within each round, in three namespaces of their own: client, proxy, server. Trust ratios, not values.</p>`;
}

const aims = (figures: readonly Figure[]): string =>
  tableOf(
    ['work', 'aim', 'measured'],
    AIMS.map((aim) => [aim.work, aimText(aim).replaceAll('`', ''), measuredText(aim, figures)]),
  );

const figureTable = (figures: readonly Figure[]): string =>
  tableOf(
    ['figure', 'peer', 'median', 'min', 'max', 'unit', 'rounds'],
    figures.map(({ id, peer, unit, median, min, max, rounds }) => [
      ...[id, peer, ...[median, min, max].map(numberText), unit, String(rounds)],
    ]),
  );

const skipped = ({ skipped }: Results): string =>
  skipped.length === 0
    ? ''
    : `<h2>Not measured</h2>\n${tableOf(
        ['figure', 'peer', 'reason'],
        skipped.map(({ id, peer, reason }) => [id, peer, reason]),
      )}`;

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`;
  return `<div class="table"><table>${row(head, 'th')}${rows.map((cells) => row(cells, 'td')).join('\n')}</table></div>`;
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const STYLE = `
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 1000px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: .85rem } dt { color: #777 } dd { margin: 0 }
.charts { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 1.2rem 2rem } .charts svg { max-width: 100%; height: auto }
.table { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0 }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #eee; font-variant-numeric: tabular-nums }
`;

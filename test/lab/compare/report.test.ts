import { t } from 'tap';
import { labServices } from '../../../src/lab/compare/cluster.js';
import { type Comparison, compareInMemory } from '../../../src/lab/compare/compare.js';
import { loadOf } from '../../../src/lab/compare/load.js';
import { comparisonHtml } from '../../../src/lab/compare/report-html.js';
import { comparisonText } from '../../../src/lab/compare/report-table.js';
import { STRATEGIES } from '../../../src/lab/compare/strategies.js';
import { workloadNamed } from './support.js';

const progress: string[] = [];
const comparison: Comparison = compareInMemory(
  {
    services: labServices(10),
    loads: ['keep-alive', 'one address', 'DNS', 'endpoint crashed'].map((name) =>
      loadOf(workloadNamed(name), labServices(10), 1),
    ),
    strategies: STRATEGIES,
    seed: 1,
    workers: 1,
    proofs: { flows: 300, draws: 5 },
  },
  (doing) => progress.push(doing),
);

t.test('the terminal shows 80 columns at most, every scenario and every strategy', async (t) => {
  const text = comparisonText(comparison);
  for (const line of text.split('\n')) t.ok(line.length <= 80, line);
  for (const name of ['KEEP-ALIVE', 'ONE ADDRESS', 'DNS', 'ENDPOINT CRASHED', 'CLOSED FORMS', 'CASCADE'])
    t.match(text, name);
  for (const { name } of STRATEGIES)
    t.equal(text.split(`\n  ${name}  `).length, 6, `${name} in the list and four tables`);
  t.equal(progress.length, 4 * STRATEGIES.length + 2);
});

t.test('sentences say why', async (t) => {
  const text = comparisonText(comparison).replaceAll(/\n +/g, ' ');
  t.match(
    text,
    /somebody gets 5 or more in \d+ of 100 runs\. The skew is few samples, not the probabilities/,
  );
  t.match(text, 'behind one NAT all users are one client');
  t.match(text, 'rr+retry none: a SYN that nobody answers in 250 ms goes to another endpoint');
  t.match(text, 'iptables lists it as 0.33333333349');
  t.match(text, /a fair data plane is accused somewhere in [\d.]+ % of all reports/);
});

t.test('the page is whole in itself, and the same again', async (t) => {
  const html = comparisonHtml(comparison);
  t.ok(html === comparisonHtml(comparison), 'the same bytes');
  t.notMatch(html, /<script|<link|<img|@import|url\((?!#)/);
  const addresses = new Set(html.match(/https?:\/\/[^"\s<]+/g));
  t.same([...addresses], ['http://www.w3.org/2000/svg', 'http://www.w3.org/1999/xlink'], 'names, not places');
  t.equal(html.split('<svg').length - 1, 3 + 2 + 3, 'three distributions, two of the crash, three proofs');
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  t.equal(new Set(ids).size, ids.length, 'no id twice');
  for (const { name } of comparison.scenarios) t.match(html, name.slice(1));
});

/** From rounds to what is read: medians, ratios, tables, charts. */
import t from 'tap';
import { AIMS, aimText, measuredText } from '../../bench/aims.js';
import { type Figure, figureLine, figureOf, numberText, type Results } from '../../bench/figures.js';
import { page } from '../../bench/page.js';
import { performanceTables, withTables } from '../../bench/report.js';

const results = (figures: readonly Figure[]): Results => ({
  machine: { cpu: 'A <fast> one', cores: 2, memoryGiB: 4, kernel: '6.18' },
  versions: { node: 'v20.0.0', iptables: '1.8.9 (nf_tables)' },
  date: '2026-11-20T10:00:00.000Z',
  quick: false,
  figures,
  skipped: [{ id: 'tun', peer: 'haproxy', reason: 'haproxy is not installed' }],
});

const FIGURES = [
  figureOf('tun.tcp1', 'Gbit/s', [9, 10, 12]),
  figureOf('tun.tcp1', 'Gbit/s', [20, 8, 5, 4, 2], 'c-loop'),
  figureOf('scale.first.10', 'us', [50]),
  figureOf('scale.first.1000', 'us', [51]),
  figureOf('scale.first.10', 'us', [20], 'iptables'),
  figureOf('pipeline.alloc', 'bytes/packet', [0.011]),
  figureOf('lookup.10', 'ns', [8]),
  figureOf('lookup.100000', 'ns', [12]),
];

t.test('a figure is the median of its rounds, with both extremes', async (t) => {
  t.match(figureOf('x', 'ns', [3, 1, 2]), { median: 2, min: 1, max: 3, rounds: 3, peer: 'flowpin' });
  t.match(figureOf('x', 'ns', [4, 1, 2, 3]), { median: 2.5, min: 1, max: 4, rounds: 4 });
  t.match(figureOf('x', 'ns', [7]), { median: 7, min: 7, max: 7, rounds: 1 });
  t.match(figureLine(FIGURES[1]!), /^tun\.tcp1 +c-loop +5 Gbit\/s +\(2 to 20, 5 rounds\)$/);
});

for (const [value, text] of [
  [0.0123456, '0.01235'],
  [12.3456, '12.35'],
  [1234.56, '1,235'],
  [1234567, '1,235,000'],
] as const) {
  t.test(`${value} is written with four digits that mean something, and never an exponent`, async (t) => {
    t.equal(numberText(value), text);
  });
}

t.test(
  'an aim is held against the same figure of a peer, against another figure, or stands for itself',
  async (t) => {
    const said = (work: string, peer?: string) => {
      const aim = AIMS.find(
        (aim) => aim.work === work && (peer === undefined || aim.against?.peer === peer),
      )!;
      return `${aimText(aim)}: ${measuredText(aim, FIGURES)}`;
    };
    t.equal(said('bulk TCP, 1 stream', 'c-loop'), 'at least 1 x c-loop: 2.00 x');
    t.equal(said('bulk TCP, 1 stream', 'haproxy'), 'at least 1.4 x haproxy: not measured');
    t.equal(said('lookup among 100,000 Services'), 'at most 1.3 x `lookup.10`: 1.50 x');
    t.equal(said('allocated for a packet'), 'at most 0 bytes: 0.011 bytes');
  },
);

t.test('the tables: machine, versions, date, a column for each peer, what was skipped', async (t) => {
  const text = performanceTables(results(FIGURES));
  t.match(text, /^2026-11-20, A <fast> one, 2 cores, 4 GiB, Linux 6\.18\.$/m);
  t.match(text, /^node v20\.0\.0; iptables 1\.8\.9 \(nf_tables\)\.$/m);
  t.match(text, /^\| `tun\.tcp1` \| Gbit\/s \| 10 \| 5 \|$/m);
  t.match(text, /^\| `scale\.first` \| flowpin \| us \| 50 \| 51 \|/m);
  t.match(text, /^\| `scale\.first` \| iptables \| us \| 20 \| {2}\|/m);
  t.match(text, /^- `tun`, haproxy: haproxy is not installed$/m);
});

t.test('only what is between the marks is made anew, also a second time', async (t) => {
  const document = [
    'before',
    '<!-- figures: begin (npm run bench:report) -->',
    'old',
    '<!-- figures: end -->',
    'behind',
  ].join('\n');
  const once = withTables(document, 'new');
  t.match(once, /^before\n<!-- figures: begin .*-->\n\nnew\n\n<!-- figures: end -->\nbehind$/);
  t.equal(withTables(once, 'new'), once);
  t.throws(() => withTables('no marks', 'new'), /the document has no lines/);
});

t.test('the page needs nothing beside it and shows every figure', async (t) => {
  const html = page(results(FIGURES));
  t.notMatch(html, /(?:src|href)=|@import|url\((?!#)/, 'loads nothing');
  t.notMatch(html, /<script/);
  t.match(html, /A &lt;fast&gt; one/, 'text is no markup');
  for (const { id } of FIGURES) t.match(html, `<td>${id}</td>`);
  const charts = html.match(/<svg[\s\S]*?<\/svg>/g) ?? [];
  t.equal(charts.length, 3, 'bulk TCP, first packets, lookup: none for what was not measured');
  const [bulk = ''] = charts;
  for (const text of ['Bulk TCP, 1 stream', 'Gbit/s', 'flowpin', 'c-loop', '10', '5'])
    t.match(bulk, `>${text}</text>`);
});

t.test('results without a figure still make a page and tables', async (t) => {
  t.match(page(results([])), /<h1>/);
  t.match(performanceTables(results([])), /not measured/);
});

/**
 * The pictures of the HTML report, as SVG. Drawn by vega-lite while the report is written: the page has no script. The same
 * comparison gives the same bytes.
 */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { CascadeStep } from './cascade-proof.js';
import type { ClosedForm } from './closed-forms.js';
import type { Scenario } from './compare.js';
import { FALSE_ALARM_LEVEL } from './judge.js';
import { SURVIVAL_STEP_MS } from './measures.js';

/** Okabe and Ito's colours, which also those tell apart who do not see red or green. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7'];
const GOOD = '#0072b2';
const BAD = '#d55e00';

/** Share of connections, packets and bytes that each endpoint had, under every strategy. */
export function distributionChart({ rows }: Scenario): Promise<string> {
  const values = rows.flatMap(({ strategy, measures: { evenness } }) => {
    if (evenness === null) return [];
    const shares = { flows: evenness.flows, packets: evenness.packets, bytes: evenness.bytes };
    return Object.entries(shares).flatMap(([of, spread]) => {
      const total = spread.values.reduce((sum, value) => sum + value, 0);
      return spread.values.map((value, index) => ({
        strategy,
        of,
        endpoint: index + 1,
        share: total === 0 ? 0 : value / total,
        even: 1 / spread.values.length,
      }));
    });
  });
  return svgOf({
    data: { values },
    facet: facetOf(rows),
    columns: 3,
    spec: {
      width: 330,
      height: 84,
      layer: [
        {
          mark: { type: 'bar' },
          encoding: {
            x: { field: 'endpoint', type: 'ordinal', title: null, axis: { labelAngle: 0, ticks: false } },
            xOffset: { field: 'of', sort: ['flows', 'packets', 'bytes'] },
            y: {
              field: 'share',
              type: 'quantitative',
              title: null,
              axis: { format: '.0%', tickCount: 3 },
            },
            color: {
              field: 'of',
              type: 'nominal',
              sort: ['flows', 'packets', 'bytes'],
              scale: { range: COLOURS.slice(0, 3) },
              title: 'share of',
            },
          },
        },
        {
          mark: { type: 'rule', color: '#333', strokeDash: [3, 3] },
          encoding: { y: { aggregate: 'mean', field: 'even', type: 'quantitative' } },
        },
      ],
    },
  });
}

/** Of the connections open when the event came, the share that lives on. */
export function survivalChart({ rows }: Scenario): Promise<string> {
  const values = rows.flatMap(({ strategy, measures: { survival } }) =>
    (survival ?? []).map((share, step) => ({ strategy, seconds: (step * SURVIVAL_STEP_MS) / 1000, share })),
  );
  return svgOf({
    data: { values },
    facet: facetOf(rows),
    columns: 3,
    spec: {
      width: 330,
      height: 72,
      mark: { type: 'area', line: { color: GOOD }, color: GOOD, opacity: 0.25, interpolate: 'step-after' },
      encoding: {
        x: { field: 'seconds', type: 'quantitative', title: null, axis: { labelExpr: "datum.label + ' s'" } },
        y: {
          field: 'share',
          type: 'quantitative',
          title: null,
          scale: { domain: [0, 1] },
          axis: { format: '.0%', values: [0, 0.5, 1] },
        },
      },
    },
  });
}

/** Three rows of bars, one strategy under the other: moved, broken, not made. */
export function harmChart({ rows }: Scenario): Promise<string> {
  const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
  const values = rows.flatMap(({ strategy, measures: m }) => [
    { strategy, what: 'flows moved, endpoint stayed', share: share(m.moved, m.survivors) },
    { strategy, what: 'connections broken', share: share(m.broken, m.connections) },
    { strategy, what: 'connects failed', share: share(m.failed, m.connections) },
  ]);
  return svgOf({
    data: { values },
    facet: {
      field: 'what',
      type: 'nominal',
      title: null,
      header: HEADER,
      sort: ['flows moved, endpoint stayed', 'connections broken', 'connects failed'],
    },
    columns: 3,
    spec: {
      width: 266,
      height: { step: 18 },
      layer: [
        { mark: { type: 'bar', color: BAD }, encoding: { x: X_SHARE, y: Y_STRATEGY } },
        {
          mark: { type: 'text', align: 'left', dx: 4, color: '#333' },
          encoding: {
            x: X_SHARE,
            y: Y_STRATEGY,
            text: { field: 'share', type: 'quantitative', format: '.1~%' },
          },
        },
      ],
    },
    resolve: { axis: { y: 'independent' } },
  });
}

/** Lines are the formula, points are measured. */
export function wholeFlowsChart(forms: readonly ClosedForm[]): Promise<string> {
  const found = forms.flatMap(({ what, expected, measured }) => {
    const numbers = /n=(\d+), k=(\d+)/.exec(what);
    if (numbers === null || expected === null) return [];
    return [{ endpoints: `${numbers[1]} endpoints`, k: Number(numbers[2]), expected, measured }];
  });
  const shape = {
    x: {
      field: 'k',
      type: 'quantitative',
      title: 'packets of the connection',
      scale: { domain: [2, 5] },
      axis: { tickCount: 4 },
    },
    color: {
      field: 'endpoints',
      type: 'nominal',
      sort: null,
      title: null,
      scale: { range: COLOURS },
    },
  } as const;
  const y = (field: string) =>
    ({
      field,
      type: 'quantitative',
      title: 'connections that stay whole',
      scale: { type: 'log', domain: [0.0001, 1] },
      axis: { format: '~%', values: [0.0001, 0.001, 0.01, 0.1, 1] },
    }) as const;
  return svgOf({
    data: { values: found },
    width: 340,
    height: 200,
    layer: [
      { mark: { type: 'line' }, encoding: { ...shape, y: y('expected') } },
      {
        transform: [{ filter: 'datum.measured > 0' }],
        mark: { type: 'point', filled: true, size: 60, opacity: 1 },
        encoding: { ...shape, y: y('measured') },
      },
    ],
  });
}

/** How far the cascade is from uniform, by the number of endpoints. */
export function biasChart(steps: readonly CascadeStep[]): Promise<string> {
  const values = steps.flatMap(({ endpoints, bias, biasOfFiveDigits }) => [
    { endpoints, bias, digits: '10 digits' },
    { endpoints, bias: biasOfFiveDigits, digits: '5 digits (old)' },
  ]);
  return svgOf({
    data: { values: values.filter(({ bias }) => bias > 0) },
    width: 420,
    height: 180,
    mark: { type: 'line' },
    encoding: {
      x: { field: 'endpoints', type: 'quantitative', title: 'endpoints', scale: { domain: [0, 250] } },
      y: {
        field: 'bias',
        type: 'quantitative',
        title: 'largest deviation from 1/n',
        scale: { type: 'log' },
        axis: { format: '.0e', tickCount: 6 },
      },
      color: { field: 'digits', type: 'nominal', title: null, scale: { range: COLOURS } },
    },
  });
}

/** The p-values of the measured cascades: evenly scattered, as those of fair ones are. */
export function cascadePChart(steps: readonly CascadeStep[]): Promise<string> {
  const values = steps.flatMap(({ endpoints, fairness: { p } }) => (p === null ? [] : [{ endpoints, p }]));
  return svgOf({
    data: { values },
    width: 420,
    height: 180,
    layer: [
      {
        mark: { type: 'point', filled: true, color: GOOD, size: 18, opacity: 0.8 },
        encoding: {
          x: { field: 'endpoints', type: 'quantitative', title: 'endpoints', scale: { domain: [0, 250] } },
          y: { field: 'p', type: 'quantitative', title: 'p-value', scale: { domain: [0, 1] } },
        },
      },
      {
        mark: { type: 'rule', color: BAD },
        encoding: { y: { datum: FALSE_ALARM_LEVEL } },
      },
    ],
  });
}

/** One small chart for each strategy, in their own order. */
const facetOf = (rows: Scenario['rows']) => ({
  field: 'strategy',
  type: 'nominal',
  sort: rows.map(({ strategy }) => strategy),
  title: null,
  header: HEADER,
});

const HEADER = { labelFontSize: 12, labelFontWeight: 'bold', labelAnchor: 'start' } as const;
const X_SHARE = {
  field: 'share',
  type: 'quantitative',
  title: null,
  scale: { domain: [0, 1.15] },
  axis: { format: '.0%', values: [0, 0.25, 0.5, 0.75, 1] },
} as const;
const Y_STRATEGY = { field: 'strategy', type: 'nominal', sort: null, title: null } as const;

async function svgOf(spec: Record<string, unknown>): Promise<string> {
  const styled = {
    ...spec,
    background: 'transparent',
    config: {
      font: 'system-ui, sans-serif',
      view: { stroke: null },
      axis: {
        labelColor: '#444',
        titleColor: '#444',
        titleFontWeight: 'normal',
        gridColor: '#e6e6e6',
        domainColor: '#999',
      },
      legend: {
        labelFontSize: 11,
        orient: 'top',
        titleOrient: 'left',
        titleFontWeight: 'normal',
        offset: 12,
      },
      facet: { spacing: 18 },
    },
  } as unknown as TopLevelSpec;
  const view = new View(parse(compile(styled).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

/**
 * The pictures of the HTML report, as SVG text. Drawn while the report is written: the page has no script. The same comparison
 * gives the same bytes.
 */
import { type EChartsOption, init } from 'echarts';
import type { CascadeStep } from './cascade-proof.js';
import type { ClosedForm } from './closed-forms.js';
import type { Row, Scenario } from './compare.js';
import { FALSE_ALARM_LEVEL } from './judge.js';
import { SURVIVAL_STEP_MS } from './measures.js';

/** Okabe and Ito's colours, which also those tell apart who do not see red or green. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73'];
const [GOOD, BAD] = COLOURS;
const FONT = 'system-ui, sans-serif';
const TEXT = { fontFamily: FONT, fontSize: 11, color: '#444' };
const AXIS_LINE = { lineStyle: { color: '#999' } };
const LEGEND = { top: 0, itemGap: 18, itemWidth: 12, itemHeight: 10, selectedMode: false, textStyle: TEXT };
const GRID_LINES = { lineStyle: { color: '#e6e6e6' } };

/** Share of connections, packets and bytes that each endpoint had, under every strategy. */
export function distributionChart(key: string, { rows }: Scenario): string {
  const shares = (values: readonly number[]): number[] => {
    const total = values.reduce((sum, value) => sum + value, 0);
    return values.map((value) => (total === 0 ? 0 : value / total));
  };
  const of = ['flows', 'packets', 'bytes'] as const;
  const most = Math.max(
    ...rows.flatMap(({ measures: { evenness } }) =>
      evenness === null ? [] : of.flatMap((what) => shares(evenness[what].values)),
    ),
  );
  const legend = { ...LEGEND, left: 44, data: [...of] };
  return multiples(key, rows, 84, legend, ({ measures: { evenness } }) => ({
    xAxis: {
      type: 'category',
      data: evenness?.flows.values.map((_, index) => String(index + 1)) ?? [],
    },
    yAxis: {
      type: 'value',
      min: 0,
      max: Math.ceil(most * 20) / 20,
      splitNumber: 3,
      axisLabel: { formatter: asPercent },
    },
    series:
      evenness === null
        ? []
        : of.map((what, index) => ({
            type: 'bar',
            name: what,
            color: COLOURS[index],
            barGap: '0%',
            data: shares(evenness[what].values),
            ...(index === 0 ? { markLine: rule(1 / evenness.flows.values.length, '#333') } : {}),
          })),
  }));
}

/** Of the connections open when the event came, the share that lives on. */
export function survivalChart(key: string, { rows }: Scenario): string {
  return multiples(key, rows, 72, undefined, ({ measures: { survival } }) => ({
    xAxis: { type: 'value', min: 0, max: 'dataMax', axisLabel: { formatter: '{value} s' } },
    yAxis: { type: 'value', min: 0, max: 1, interval: 0.5, axisLabel: { formatter: asPercent } },
    series: [
      {
        type: 'line',
        step: 'end',
        symbol: 'none',
        color: GOOD,
        areaStyle: { opacity: 0.2 },
        data: (survival ?? []).map((share, step) => [(step * SURVIVAL_STEP_MS) / 1000, share]),
      },
    ],
  }));
}

/** Three charts of bars, a strategy each: moved, broken, not made. */
export function harmChart(key: string, { rows }: Scenario): string {
  // "-" is no value: of no flows none can have moved.
  const share = (part: number, whole: number): number | string => (whole === 0 ? '-' : part / whole);
  const charts: [title: string, of: (row: Row) => number | string][] = [
    ['flows moved, endpoint stayed', ({ measures: m }) => share(m.moved, m.survivors)],
    ['connections broken', ({ measures: m }) => share(m.broken, m.connections)],
    ['connects failed', ({ measures: m }) => share(m.failed, m.connections)],
  ];
  const height = 20 * rows.length;
  const [width, left, gap] = [250, 92, 128];
  return svg(key, PAGE_WIDTH, height + 50, {
    title: charts.map(([text], at) => ({ text, left: left + at * (width + gap), top: 0, textStyle: TITLE })),
    grid: charts.map((_, at) => ({ left: left + at * (width + gap), top: 24, width, height })),
    xAxis: charts.map((_, gridIndex) => ({
      gridIndex,
      type: 'value',
      min: 0,
      max: 1,
      interval: 0.25,
      axisLabel: { ...TEXT, formatter: asPercent },
      splitLine: GRID_LINES,
    })),
    yAxis: charts.map((_, gridIndex) => ({
      gridIndex,
      type: 'category',
      inverse: true,
      data: rows.map(({ strategy }) => strategy),
      axisTick: { show: false },
      axisLabel: TEXT,
      axisLine: AXIS_LINE,
    })),
    series: charts.map(([, of], at) => ({
      type: 'bar',
      xAxisIndex: at,
      yAxisIndex: at,
      color: BAD,
      barWidth: '75%',
      data: rows.map(of),
      label: {
        ...TEXT,
        show: true,
        position: 'right',
        formatter: ({ value }) => `${Number((100 * Number(value)).toFixed(1))} %`,
      },
    })),
  });
}

/** Lines are the formula, points are measured. */
export function wholeFlowsChart(key: string, forms: readonly ClosedForm[]): string {
  const found = forms.flatMap(({ what, expected, measured }) => {
    const numbers = /n=(\d+), k=(\d+)/.exec(what);
    if (numbers === null || expected === null) return [];
    return [{ name: `${numbers[1]} endpoints`, k: Number(numbers[2]), expected, measured }];
  });
  const names = [...new Set(found.map(({ name }) => name))];
  return svg(key, 440, 290, {
    legend: { ...LEGEND, left: 60, data: names },
    grid: { left: 66, right: 14, top: 34, bottom: 44 },
    xAxis: named('packets of the connection', 28, { type: 'value', min: 2, max: 5, interval: 1 }),
    yAxis: named('connections that stay whole', 50, {
      type: 'log',
      min: 0.0001,
      max: 1,
      axisLabel: { ...TEXT, formatter: asPercent },
      splitLine: GRID_LINES,
    }),
    series: names.flatMap((name, index) => {
      const points = found.filter((point) => point.name === name);
      return [
        {
          ...{ type: 'line' as const, name, color: COLOURS[index], symbol: 'none' },
          data: points.map(({ k, expected }) => [k, expected]),
        },
        {
          ...{ type: 'scatter' as const, name, color: COLOURS[index], symbolSize: 8 },
          data: points.filter(({ measured }) => measured > 0).map(({ k, measured }) => [k, measured]),
        },
      ];
    }),
  });
}

/** How far the cascade is from uniform, by the number of endpoints. */
export function biasChart(key: string, steps: readonly CascadeStep[]): string {
  const line = (name: string, color: string | undefined, of: (step: CascadeStep) => number) => ({
    ...{ type: 'line' as const, name, symbol: 'none' },
    ...(color === undefined ? {} : { color }),
    data: steps.filter((step) => of(step) > 0).map((step) => [step.endpoints, of(step)]),
  });
  return svg(key, 520, 270, {
    legend: { ...LEGEND, left: 60 },
    grid: { left: 66, right: 14, top: 34, bottom: 44 },
    xAxis: named('endpoints', 28, { type: 'value', min: 0, max: 250, interval: 50 }),
    yAxis: named('largest deviation from 1/n', 50, {
      type: 'log',
      min: 1e-10,
      max: 1e-2,
      axisLabel: { ...TEXT, formatter: (value: number) => value.toExponential(0) },
      splitLine: GRID_LINES,
    }),
    series: [
      line('10 digits', GOOD, ({ bias }) => bias),
      line('5 digits (old)', BAD, ({ biasOfFiveDigits }) => biasOfFiveDigits),
    ],
  });
}

/** The p-values of the measured cascades: evenly scattered, as those of fair ones are. */
export function cascadePChart(key: string, steps: readonly CascadeStep[]): string {
  return svg(key, 520, 270, {
    grid: { left: 52, right: 14, top: 34, bottom: 44 },
    xAxis: named('endpoints', 28, { type: 'value', min: 0, max: 250, interval: 50 }),
    yAxis: named('p-value', 34, { type: 'value', min: 0, max: 1, axisLabel: TEXT, splitLine: GRID_LINES }),
    series: [
      {
        type: 'scatter',
        symbolSize: 5,
        color: GOOD,
        data: steps.flatMap(({ endpoints, fairness: { p } }) => (p === null ? [] : [[endpoints, p]])),
        markLine: rule(FALSE_ALARM_LEVEL, BAD),
      },
    ],
  });
}

const PAGE_WIDTH = 1112;
const COLUMNS = 3;
const TITLE = { fontFamily: FONT, fontSize: 12, fontWeight: 'bold', color: '#1c1c1c' } as const;

/** What a chart of one strategy is made of; where it stands is added. */
interface Panel {
  readonly xAxis: object;
  readonly yAxis: { readonly axisLabel: object };
  readonly series: readonly object[];
}

/** One small chart for each strategy, all with the same axes. */
function multiples(
  key: string,
  rows: readonly Row[],
  height: number,
  legend: object | undefined,
  panelOf: (row: Row) => Panel,
): string {
  const [left, gap] = [44, 30];
  const width = (PAGE_WIDTH - left - (COLUMNS - 1) * gap - 16) / COLUMNS;
  const top = legend === undefined ? 0 : 28;
  const place = (at: number) => ({
    left: left + (at % COLUMNS) * (width + gap),
    top: top + Math.floor(at / COLUMNS) * (height + 48),
  });
  const panels = rows.map(panelOf);
  const lines = Math.ceil(rows.length / COLUMNS);
  return svg(key, PAGE_WIDTH, top + lines * (height + 48), {
    ...(legend === undefined ? {} : { legend }),
    title: rows.map(({ strategy: text }, at) => ({ text, ...place(at), padding: 0, textStyle: TITLE })),
    grid: rows.map((_, at) => ({ ...place(at), top: place(at).top + 22, width, height })),
    xAxis: panels.map(({ xAxis }, gridIndex) => ({
      ...{ gridIndex, axisLine: AXIS_LINE, axisTick: { show: false }, splitLine: { show: false } },
      ...xAxis,
      axisLabel: { ...TEXT, ...('axisLabel' in xAxis ? (xAxis.axisLabel as object) : {}) },
    })),
    yAxis: panels.map(({ yAxis }, gridIndex) => ({
      ...{ gridIndex, splitLine: GRID_LINES },
      ...yAxis,
      axisLabel: { ...TEXT, ...yAxis.axisLabel, show: gridIndex % COLUMNS === 0 },
    })),
    series: panels.flatMap(({ series }, at) =>
      series.map((one) => ({ ...one, xAxisIndex: at, yAxisIndex: at })),
    ),
  } as EChartsOption);
}

/** A dashed line across. */
const rule = (yAxis: number, color: string | undefined) => ({
  silent: true,
  symbol: 'none',
  label: { show: false },
  lineStyle: { type: 'dashed', width: 1, ...(color === undefined ? {} : { color }) } as const,
  data: [{ yAxis }],
});

/** An axis with its name beside it. @param gap from the axis to its name */
const named = <Axis extends object>(name: string, nameGap: number, axis: Axis) => ({
  ...{ name, nameLocation: 'middle' as const, nameGap, nameTextStyle: TEXT },
  ...{ axisLine: AXIS_LINE, axisLabel: TEXT, splitLine: { show: false } },
  ...axis,
});

const asPercent = (share: number): string => `${round(100 * share)} %`;

const round = (value: number): number => Number(value.toPrecision(3));

/** @param key of the chart on its page: names inside begin with it, so that no two charts share one */
function svg(key: string, width: number, height: number, option: EChartsOption): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  // Nothing on the page can be clicked.
  const series = [option.series ?? []].flat().map((one) => ({ ...one, silent: true }));
  chart.setOption({ animation: false, ...option, series } as EChartsOption);
  const text = chart.renderToSVGString();
  chart.dispose();
  // The library counts names over all charts of the process.
  const names = new Map<string, string>();
  return text.replaceAll(/\bzr\d+-[\w-]+/g, (name) => {
    const known = names.get(name) ?? `${key}-${names.size}`;
    names.set(name, known);
    return known;
  });
}

/** Charts as SVG text, drawn without a browser. */
import { type ECharts, type EChartsOption, init } from 'echarts';

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly color: string;
  /** The value as it is printed at the bar. */
  readonly label: string;
}

export interface Line {
  readonly name: string;
  readonly color: string;
  readonly points: readonly {
    readonly x: number;
    readonly value: number;
    readonly min: number;
    readonly max: number;
  }[];
}

const WIDTH = 460;
const BAR_HEIGHT = 30;
const FRAME_HEIGHT = 56;
const LINES_HEIGHT = 280;
const TEXT = { fontFamily: 'system-ui, sans-serif', fontSize: 12, color: '#333' };
const WHISKER = '#555';

/** Horizontal bars in the order given, each with a whisker from its smallest to its largest round. */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  return svg(FRAME_HEIGHT + BAR_HEIGHT * bars.length, {
    title: heading(title, unit),
    // Room for fonts that are wider than the one widths were guessed for.
    grid: { left: 24, right: 74, top: 38, bottom: 6, containLabel: true },
    xAxis: {
      type: 'value',
      min: 0,
      // Whiskers are not counted by the axis itself.
      max: Math.max(...bars.map(({ max }) => max)),
      axisLabel: { show: false },
      splitLine: { lineStyle: { color: '#eee' } },
    },
    yAxis: {
      type: 'category',
      inverse: true,
      data: bars.map(({ name }) => name),
      axisLabel: TEXT,
      axisTick: { show: false },
    },
    series: [
      {
        type: 'bar',
        barWidth: '60%',
        data: bars.map(({ value, color }) => ({ value, itemStyle: { color } })),
      },
      {
        type: 'custom',
        data: bars.map(({ min, max }, index) => [index, min, max]),
        encode: { y: 0, x: [1, 2] },
        z: 3,
        renderItem: (_, api) => {
          const [from, y] = api.coord([api.value(1), api.value(0)]);
          const [to] = api.coord([api.value(2), api.value(0)]);
          return {
            type: 'group',
            children: whisker(from ?? 0, y ?? 0, to ?? 0, bars, api.value(0) as number),
          };
        },
      },
    ],
  });
}

/** The line from min to max with its ends, and the value behind it. */
function whisker(from: number, y: number, to: number, bars: readonly Bar[], index: number) {
  const line = (x1: number, y1: number, x2: number, y2: number) => ({
    type: 'line' as const,
    shape: { x1, y1, x2, y2 },
    style: { stroke: WHISKER, lineWidth: 1 },
  });
  return [
    line(from, y, to, y),
    line(from, y - 4, from, y + 4),
    line(to, y - 4, to, y + 4),
    {
      type: 'text' as const,
      x: to + 6,
      y,
      style: {
        text: bars[index]?.label ?? '',
        verticalAlign: 'middle' as const,
        font: '12px system-ui, sans-serif',
      },
    },
  ];
}

/** Lines over a logarithmic x axis, the y axis from zero, with a band from the smallest to the largest round. */
export function lineChart(title: string, unit: string, xName: string, lines: readonly Line[]): string {
  const xs = lines.flatMap(({ points }) => points.map(({ x }) => x));
  return svg(LINES_HEIGHT, {
    title: heading(title, unit),
    legend: { top: 28, left: 0, textStyle: TEXT, data: lines.map(({ name }) => name) },
    grid: { left: 8, right: 24, top: 62, bottom: 26, containLabel: true },
    xAxis: {
      type: 'log',
      name: xName,
      nameLocation: 'middle',
      nameGap: 26,
      nameTextStyle: TEXT,
      min: Math.min(...xs),
      max: Math.max(...xs),
      axisLabel: { ...TEXT, formatter: (value: number) => value.toLocaleString('en-US') },
      splitLine: { show: false },
    },
    yAxis: { type: 'value', min: 0, axisLabel: TEXT, splitLine: { lineStyle: { color: '#eee' } } },
    series: lines.flatMap(({ name, color, points }) => [
      {
        type: 'line' as const,
        name,
        color,
        symbolSize: 7,
        data: points.map(({ x, value }) => [x, value]),
      },
      // A band is drawn as its lower edge, unseen, with its height stacked upon it.
      ...[
        { edge: points.map(({ x, min }) => [x, min]), opacity: 0 },
        { edge: points.map(({ x, min, max }) => [x, max - min]), opacity: 0.15 },
      ].map(({ edge, opacity }) => ({
        type: 'line' as const,
        stack: `range of ${name}`,
        stackStrategy: 'all' as const,
        data: edge,
        symbol: 'none',
        lineStyle: { opacity: 0 },
        areaStyle: { color, opacity },
      })),
    ]),
  });
}

const heading = (title: string, unit: string) => ({
  text: title,
  subtext: unit,
  left: 0,
  top: 0,
  itemGap: 2,
  textStyle: { ...TEXT, fontSize: 13, fontWeight: 'bold' as const },
  subtextStyle: { ...TEXT, fontSize: 11, color: '#777' },
});

function svg(height: number, option: EChartsOption): string {
  const chart: ECharts = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  chart.setOption({ animation: false, ...option });
  const text = chart.renderToSVGString();
  chart.dispose();
  return text;
}

/** Both engines side by side on a terminal: at most 80 columns. */
import { columns, text } from '../text-table.js';
import { grouped } from '../wording.js';
import { FALSE_ALARM_LEVEL } from './judge.js';
import type { Agreement, Outcome } from './real.js';
import { pText } from './report-table.js';

/** @param agreements of all workloads and strategies */
export function agreementsText(agreements: readonly Agreement[]): string {
  const workloads = [...new Set(agreements.map(({ workload }) => workload))];
  const parts = workloads.map((name) => {
    const of = agreements.filter(({ workload }) => workload === name);
    const table = columns(['', '', 'failed', 'broken', 'unanswered', 'flows by endpoint'], 2);
    for (const { strategy, memory, real, harmP, spreadP } of of) {
      table.push([strategy, 'memory', ...cells(memory)]);
      table.push(['', 'real', ...cells(real)]);
      table.push(['', 'p', pText(harmP), '', '', pText(spreadP)]);
    }
    const { connections = 0, datagrams = 0 } = of[0]?.memory ?? {};
    const size = datagrams === 0 ? '' : `, ${grouped(datagrams)} datagrams`;
    return `${name.toUpperCase()}  ${grouped(connections)} connections${size}\n${text(table)}`;
  });
  return `flowpin lab --real: the same workloads in memory, and on real sockets through
flowpin up on a TUN device in network namespaces.

${parts.join('\n\n')}

${sentences(agreements).join('\n')}
`;
}

const cells = ({ failed, broken, datagrams, unanswered, flows }: Outcome): string[] => [
  grouped(failed),
  grouped(broken),
  datagrams === 0 ? '-' : grouped(unanswered),
  flows.join(' '),
];

function sentences(agreements: readonly Agreement[]): string[] {
  const apart = agreements.filter(({ agrees }) => !agrees);
  const tests = 2 * agreements.length;
  const any = 100 * (1 - (1 - FALSE_ALARM_LEVEL) ** tests);
  const same = agreements.flatMap(({ strategy, same }) => (same === null ? [] : [{ strategy, same }]));
  return [
    apart.length === 0
      ? `- The engines agree in all ${agreements.length} comparisons.`
      : `- The engines differ: ${apart.map(({ workload, strategy }) => `${strategy} (${workload})`).join(', ')}.`,
    `- p: Fisher's exact test of what went wrong, and chi-square of who got how many.\n  Below ${FALSE_ALARM_LEVEL} is an alarm; with ${tests} tests two engines that are alike are called\n  different in ${any.toFixed(1)} % of all reports.`,
    ...same.map(
      ({ strategy, same: [found, of] }) =>
        `- ${strategy}: ${grouped(found)} of ${grouped(of)} flows had the same endpoint in both.`,
    ),
  ];
}

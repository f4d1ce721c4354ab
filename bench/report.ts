/**
 * `node report.js RESULTS.json PAGE.html PERFORMANCE.md`: what `npm run bench -- --json` wrote, as a page with charts that needs
 * nothing beside it, and as the tables between the two marks of PERFORMANCE.md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AIMS, aimText, measuredText } from './aims.js';
import { type Figure, numberText, type Results } from './figures.js';
import { page } from './page.js';
import { PEERS } from './peers.js';

const BEGIN = '<!-- figures: begin (npm run bench:report) -->';
const END = '<!-- figures: end -->';

/** The part of PERFORMANCE.md that is made anew. */
export function performanceTables(results: Results): string {
  const { figures } = results;
  const peers = PEERS.filter((peer) =>
    figures.some(({ id, peer: of }) => of === peer && id.startsWith('tun.')),
  );
  const real = figures.filter(({ id, peer }) => id.startsWith('tun.') && peer === 'flowpin');
  const cellOf = (id: string, peer: string) =>
    cell(figures.find((one) => one.id === id && one.peer === peer));
  return [
    measuredWith(results),
    '### Against what is aimed at',
    table(
      ['work', 'aim', 'measured'],
      AIMS.map((aim) => [aim.work, aimText(aim), measuredText(aim, figures)]),
    ),
    '### Real traffic through a TUN device, and through what else carries it',
    table(
      ['figure', 'unit', ...peers],
      real.map(({ id, unit }) => [`\`${id}\``, unit, ...peers.map((peer) => cellOf(id, peer))]),
    ),
    '### In memory, one worker',
    matrix(figures, 'flows', ['pipeline.hit.v4', 'pipeline.new.v4', 'pipeline.hit.v6', 'pipeline.new.v6']),
    '### With many Services',
    matrix(figures, 'Services', ['scale.first', 'lookup', 'pipeline.hit.services', 'pipeline.new.services']),
    others(figures),
    ...(results.skipped.length === 0
      ? []
      : [
          'Not measured:',
          results.skipped.map(({ id, peer, reason }) => `- \`${id}\`, ${peer}: ${reason}`).join('\n'),
        ]),
  ].join('\n\n');
}

function measuredWith({ machine, versions, date, quick, figures }: Results): string {
  const rounds = Math.min(...figures.filter(({ id }) => id.startsWith('tun.')).map(({ rounds }) => rounds));
  const { cpu, cores, memoryGiB, kernel } = machine;
  const of = Object.entries(versions).map(([program, version]) => `${program} ${version}`);
  return [
    `${date.slice(0, 10)}, ${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}.`,
    `${of.join('; ')}.`,
    `Medians${Number.isFinite(rounds) ? ` of ${rounds} rounds at least` : ''}${quick ? ', a quick run: for a first look only' : ''}.`,
  ].join('\n');
}

/** Figures PREFIX.<number> of every peer that has them, a row each, a column for each number. */
function matrix(figures: readonly Figure[], what: string, prefixes: readonly string[]): string {
  const rows = prefixes.flatMap((prefix) => {
    const of = figures.filter(({ id }) => id.slice(0, id.lastIndexOf('.')) === prefix);
    return [...new Set(of.map(({ peer }) => peer))].map((peer) =>
      of.filter((figure) => figure.peer === peer),
    );
  });
  const numberOf = ({ id }: Figure): string => id.slice(id.lastIndexOf('.') + 1);
  const columns = [...new Set(rows.flat().map(numberOf))];
  return table(
    ['figure', 'peer', 'unit', ...columns.map((column) => `${column} ${what}`)],
    rows.map((row) => [
      `\`${row[0]?.id.slice(0, -numberOf(row[0]).length - 1)}\``,
      row[0]?.peer ?? '',
      row[0]?.unit ?? '',
      ...columns.map((column) => cell(row.find((figure) => numberOf(figure) === column))),
    ]),
  );
}

/** What stands in no table, in a line. */
function others(figures: readonly Figure[]): string {
  const named = figures.filter(({ id }) => /^(compile|publish|scale\.workers)\b/.test(id));
  return named.map(({ id, median, unit }) => `\`${id}\` ${numberText(median)} ${unit}`).join(', ');
}

const cell = (figure: Figure | undefined): string => (figure === undefined ? '' : numberText(figure.median));

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** @returns the document with what is between its marks replaced. @throws when it has no marks */
export function withTables(document: string, tables: string): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`the document has no lines "${BEGIN}" and "${END}"`);
  return `${document.slice(0, begin)}${BEGIN}\n\n${tables}\n\n${document.slice(end)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [json, html, markdown] = process.argv.slice(2);
  if (json === undefined || html === undefined || markdown === undefined) {
    console.error('usage: node report.js RESULTS.json PAGE.html PERFORMANCE.md');
    process.exit(2);
  }
  const results = JSON.parse(readFileSync(json, 'utf8')) as Results;
  writeFileSync(html, page(results));
  writeFileSync(markdown, withTables(readFileSync(markdown, 'utf8'), performanceTables(results)));
}

/**
 * Writes docs/CONFORMANCE.md: each requirement of test/support/requirements.ts with the tests that show it. The tests are found
 * in their sources: every `t.test(name, shows(...ids), ...)`. test/scripts/rfc-page.test.ts fails when the page is not up to date.
 *
 *   npm run rfc-page
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { type Requirement, RFCS } from '../test/support/requirements.js';

export const PAGE = 'docs/CONFORMANCE.md';

export interface ShownBy {
  /** As PARITY names tests: `dataplane/related`. */
  readonly file: string;
  /** The words of the case; what is filled in from a table of cases is an ellipsis. */
  readonly name: string;
  readonly requirement: string;
}

/** Of all test files, in the order of the files and of the cases in them. */
export function testsOfRepository(): ShownBy[] {
  return readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts'))
    .sort()
    .flatMap((path) => testsIn(path.replace(/\.test\.ts$/, ''), readFileSync(join('test', path), 'utf8')));
}

/** @throws Error when a marked case has no name that can be read */
export function testsIn(file: string, text: string): ShownBy[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: ShownBy[] = [];
  const visit = (node: ts.Node, path: readonly string[]): void => {
    let inner = path;
    if (isTestCall(node)) {
      const name = nameOf(node.arguments[0]);
      const marks = node.arguments[1];
      if (marks !== undefined && isCallOf(marks, 'shows')) {
        if (name === null) throw new Error(`${file}: the name of a case with shows(...) is not spelt out`);
        for (const id of marks.arguments)
          if (ts.isStringLiteral(id))
            found.push({ file, name: [...path, name].join(' › '), requirement: id.text });
      }
      inner = [...path, name ?? '…'];
    }
    ts.forEachChild(node, (child) => visit(child, inner));
  };
  visit(source, []);
  return found;
}

const isCallOf = (node: ts.Node, name: string): node is ts.CallExpression =>
  ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === name;

const isTestCall = (node: ts.Node): node is ts.CallExpression =>
  ts.isCallExpression(node) &&
  ts.isPropertyAccessExpression(node.expression) &&
  node.expression.name.text === 'test' &&
  ts.isIdentifier(node.expression.expression) &&
  node.expression.expression.text === 't';

function nameOf(node: ts.Node | undefined): string | null {
  if (node === undefined) return null;
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return null;
  return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
}

/** What is wrong between requirements and tests; nothing when the page may be written. */
export function problemsOf(shown: readonly ShownBy[]): string[] {
  const problems: string[] = [];
  const ids = new Set<string>();
  for (const [rfc, { items }] of Object.entries(RFCS)) {
    for (const [item, requirement] of Object.entries<Requirement>(items)) {
      const id = `${rfc} ${item}`;
      ids.add(id);
      const { stands, because } = requirement;
      const isMet = stands === 'yes' || stands === 'rfc';
      if (isMet && !shown.some((test) => test.requirement === id)) problems.push(`${id}: no test shows it`);
      if (!isMet && !because) problems.push(`${id}: no reason is given`);
    }
  }
  for (const { file, requirement } of shown)
    if (!ids.has(requirement)) problems.push(`${file}: there is no ${requirement}`);
  return problems;
}

const STANDS = {
  yes: 'yes',
  rfc: 'yes with `rfc`, no with `linux`',
  no: '**no**',
  'not applicable': 'not applicable',
} as const;

/** The page, in Markdown. */
export function pageOf(shown: readonly ShownBy[]): string {
  const sections = Object.entries(RFCS).map(([rfc, { about, items }]) => {
    const rows = Object.entries<Requirement>(items).map(([item, { asks, force, stands, because }]) => {
      const tests = shown
        .filter(({ requirement }) => requirement === `${rfc} ${item}`)
        .map(({ file, name }) => `\`${file}\`: ${name}`);
      const cells = [
        item,
        `${asks} (${force})`,
        STANDS[stands] + (because ? `: ${because}` : ''),
        tests.join('; '),
      ];
      return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
    });
    return [`## ${rfc} (${about})`, '', '| | asks | | test |', '|---|---|---|---|', ...rows, ''].join('\n');
  });
  return [
    '# Conformance with the RFCs about NAT',
    '',
    '<!-- Written by scripts/rfc-page.ts (npm run rfc-page) from test/support/requirements.ts and the tests. Do not edit. -->',
    '',
    `How flowpin stands to what RFC 4787, 5382, 5508 and 7857 ask of a NAT, in our own words. They were written for hosts behind a`,
    `source NAT; a Service is a destination NAT, and some of it has nothing to apply to.`,
    totals(),
    '',
    '`linux` and `rfc` are the two profiles of `--conntrack-timeouts`; `linux` is the default. Tests are named as in PARITY.md: the file',
    'under `test/` and the words of the case, with an ellipsis for what a table of cases fills in.',
    '',
    ...sections,
  ].join('\n');
}

function totals(): string {
  const all = Object.values(RFCS).flatMap(({ items }) => Object.values<Requirement>(items));
  const count = (stands: Requirement['stands']): number =>
    all.filter((item) => item.stands === stands).length;
  return `Of ${all.length} items ${count('yes')} are met, ${count('rfc')} with one of the two profiles of timeouts only, ${count('no')} are not, ${count('not applicable')} do not apply.`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const shown = testsOfRepository();
  const problems = problemsOf(shown);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
  else writeFileSync(PAGE, pageOf(shown));
}

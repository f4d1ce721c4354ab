/**
 * Turns the TAP that one test file wrote into named tests, so that the totals mean something to a reader.
 *
 * Counted are the leaves: a `t.test` block that holds no further block is one test, however many assertions it makes.
 * Assertions that stand beside blocks (at a file's top level, or in a block that also holds blocks) are together
 * one more test, named after where they stand. A test that skipped an assertion counts as skipped: it has shown
 * less than its name says. A todo is a skip.
 */
import { Parser, type Result } from 'tap-parser';

export interface NamedTest {
  name: string;
  outcome: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped; empty otherwise. */
  reason: string;
  /** What went wrong, one text per failed assertion; empty unless failed. */
  failures: string[];
}

/** One event of tap-parser's log, as in `['assert', Result]`. */
type Entry = [event: string, data?: unknown];

/** Lines of a single failure that are worth reading; a longer diff is cut here. */
const FAILURE_LINES_MAX = 80;

export function tally(tap: string, file: string): NamedTest[] {
  const tests: NamedTest[] = [];
  const log = Parser.parse(tap) as Entry[];
  collect(log, [], undefined, file, tests);
  const plan = log.find(([event]) => event === 'plan')?.[1] as { end: number; comment: string } | undefined;
  if (tests.length === 0 && plan?.end === 0 && plan.comment && plan.comment !== 'no tests found') {
    tests.push({ name: file, outcome: 'skipped', reason: plan.comment, failures: [] });
  }
  return tests;
}

/** What a test file printed between its TAP. */
export function withoutTap(tap: string): string {
  const log = Parser.parse(tap) as Entry[];
  return log.flatMap(([event, data]) => (event === 'extra' ? [String(data)] : [])).join('');
}

/**
 * Adds the tests of one block. `outer` is the block's own closing test point; a file has none.
 */
function collect(
  log: Entry[],
  path: string[],
  outer: Result | undefined,
  file: string,
  tests: NamedTest[],
): void {
  const countBefore = tests.length;
  const hasBlocks = outer === undefined || log.some(([event]) => event === 'child');
  const own: Result[] = [];
  let block: Entry[] | undefined;
  for (const [event, data] of log) {
    if (event === 'child') {
      if (block) tests.push(unfinished(block, path));
      block = data as Entry[];
    } else if (event === 'assert') {
      const point = data as Result;
      if (block) collect(block, [...path, point.name], point, file, tests);
      else if (hasBlocks && (point.skip || point.todo))
        tests.push(judge([...path, point.name].join(' › '), [point]));
      else own.push(point);
      block = undefined;
    } else if (event === 'bailout') {
      tests.push({
        name: path.join(' › ') || file,
        outcome: 'failed',
        reason: '',
        failures: [`bail out: ${data}`],
      });
    }
  }
  if (block) tests.push(unfinished(block, path));

  const name = path.join(' › ') || file;
  if (!hasBlocks) tests.push(judge(name, own, outer));
  else if (own.length > 0) tests.push(judge(name, own));
  // A block can fail by itself, with nothing in it to blame: a time-out, or a plan that was not met.
  else if (outer && !outer.ok && !tests.slice(countBefore).some((test) => test.outcome === 'failed')) {
    tests.push(judge(name, [outer]));
  }
}

function judge(name: string, points: Result[], outer?: Result): NamedTest {
  const all = outer ? [...points, outer] : points;
  const skips = all.filter((point) => point.skip || point.todo);
  const failed = points.filter((point) => !point.ok && !point.todo);
  if (failed.length === 0 && outer && !outer.ok && !outer.todo) failed.push(outer);
  if (failed.length > 0) return { name, outcome: 'failed', reason: '', failures: failed.map(describe) };
  if (skips.length > 0) return { name, outcome: 'skipped', reason: reasonOf(skips), failures: [] };
  return { name, outcome: 'passed', reason: '', failures: [] };
}

function reasonOf(skips: Result[]): string {
  const reasons = skips.map(({ skip, todo, name }) => {
    if (typeof skip === 'string') return skip;
    if (todo) return typeof todo === 'string' ? `todo: ${todo}` : 'todo';
    return name || 'no reason given';
  });
  return [...new Set(reasons)].join('; ');
}

/** A block whose closing test point never came: the process ended inside it. */
function unfinished(block: Entry[], path: string[]): NamedTest {
  const heading = String(block.find(([event]) => event === 'comment')?.[1] ?? '').trim();
  const name = [...path, heading.replace(/^# Subtest:?\s*/, '') || 'unnamed'].join(' › ');
  return { name, outcome: 'failed', reason: '', failures: ['did not finish'] };
}

interface Diagnostics {
  at?: { fileName?: string; lineNumber?: number; columnNumber?: number };
  diff?: string;
  stack?: string;
  source?: string;
  tapCaught?: string;
  [key: string]: unknown;
}

function describe(point: Result): string {
  const { at, diff, stack, source, tapCaught, ...others } = (point.diag ?? {}) as Diagnostics;
  const where = at?.fileName ? ` (${at.fileName}:${at.lineNumber}:${at.columnNumber})` : '';
  const lines = [`${point.name || 'failed'}${where}`];
  if (diff) lines.push(...diff.trimEnd().split('\n'));
  else {
    for (const [key, value] of Object.entries(others)) {
      if (value !== null) lines.push(`${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`);
    }
    if (source) lines.push(...source.trimEnd().split('\n'));
  }
  // The way to a failed comparison is its own line; the way to a thrown error is its stack.
  if (stack && (tapCaught || !at)) lines.push(...stack.trimEnd().split('\n'));
  const cut = lines.length - FAILURE_LINES_MAX;
  if (cut > 0) lines.splice(FAILURE_LINES_MAX, cut, `... ${cut} more lines`);
  return lines.join('\n');
}

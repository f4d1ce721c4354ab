/**
 * Runs the checks and the compiled test files, each as a process of its own, and prints what a person wants to know: a
 * line per file, the skipped tests with their reasons, the failures with their diffs, and `N passed, M failed`.
 *
 * The files are tap tests run with plain node, which is what the tap documentation offers beside its own runner. That one
 * starts four times slower (it adds its TypeScript loader to each file), loses the results of the
 * other files when one hangs, and leaves behind what a killed test had started. Settings are its own: `tap` in package.json.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type NamedTest, tally, withoutTap } from './tap-tally.js';

interface Job {
  /** What the reader sees: the source file of a test, the name of a check. */
  name: string;
  command: string[];
  /** How the outcome is read: a test file by its TAP, a check by its exit code. */
  kind: 'tap' | 'check';
  /** What to do about a failed check. */
  hint?: string;
}

interface Report {
  job: Job;
  tests: NamedTest[];
  seconds: number;
}

interface Ended {
  stdout: string;
  stderr: string;
  /** What is wrong with how the process ended, or empty. */
  trouble: string;
}

/** A file that gave its last result but keeps running has left something open. */
const LINGER_MS_MAX = 10_000;
/** How long processes may take to end after the one that started them. */
const LEFTOVER_MS_MAX = 3000;
/** tap ends a hanging file itself after its time-out. This ends one that cannot even do that, and its children. */
const KILL_FACTOR = 5;
const LONG_FACTOR = 10;
const OUTPUT_LINES_MAX = 40;
const CHECK_LINES_MAX = 200;

const running = new Set<ChildProcess>();

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const patterns = args.filter((arg) => !arg.startsWith('--'));
  const flags = new Set(args.filter((arg) => arg.startsWith('--')));
  const unknown = [...flags].filter((flag) => !['--long', '--compiled', '--not-compiled'].includes(flag));
  if (unknown.length > 0) {
    console.error(`unknown option ${unknown.join(' ')}; usage: scripts/test [--long] [PATTERN...]`);
    process.exit(2);
  }
  const settings = JSON.parse(readFileSync('package.json', 'utf8')).tap;
  const long = flags.has('--long');
  const timeoutSec = settings.timeout * (long ? LONG_FACTOR : 1);
  const env = {
    ...process.env,
    TAP: '1',
    TAP_TIMEOUT: String(timeoutSec),
    ...(long ? { FLOWPIN_LONG: '1' } : {}),
  };

  const tests = testFiles(patterns);
  const serial = tests.filter((job) =>
    settings.serial.some((folder: string) => job.command.at(-1)?.startsWith(`${folder}/`)),
  );
  const parallel = tests.filter((job) => !serial.includes(job));
  const checks = patterns.length === 0 ? CHECKS : [];

  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop(signal));
  const reports = [
    ...(flags.has('--not-compiled') ? [compilerReport()] : []),
    ...(await runAll([...checks, ...parallel], settings.jobs, env, timeoutSec)),
    ...(await runAll(serial, 1, env, timeoutSec)),
  ];
  if (tests.length === 0) reports.push(noFileReport(patterns));
  process.exitCode = conclude(reports) ? 0 : 1;
}

const BIOME = [
  'check',
  '--colors=off',
  '--reporter=concise',
  '--error-on-warnings',
  '--max-diagnostics=none',
];
const CHECKS: Job[] = [
  {
    name: 'biome (lint and format)',
    kind: 'check',
    command: ['node_modules/.bin/biome', ...BIOME],
    hint: '`npm run format` mends most of it',
  },
  { name: 'tidy (scripts/tidy.ts)', kind: 'check', command: [process.execPath, 'dist/scripts/tidy.js'] },
];

function testFiles(patterns: string[]): Job[] {
  const wanted = patterns.map((pattern) => pattern.replace(/^(\.\/)?(dist\/)?/, '').replace(/\.[jt]s$/, ''));
  return readdirSync('dist/test', { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.js'))
    .map((path) => join('test', path.replace(/\.js$/, '.ts')))
    .filter((source) => wanted.length === 0 || wanted.some((pattern) => source.includes(pattern)))
    .sort()
    .map((name) => ({
      name,
      kind: 'tap',
      command: [process.execPath, '--enable-source-maps', join('dist', name.replace(/\.ts$/, '.js'))],
    }));
}

async function runAll(
  jobs: Job[],
  atOnce: number,
  env: NodeJS.ProcessEnv,
  timeoutSec: number,
): Promise<Report[]> {
  const reports: Report[] = [];
  const queue = [...jobs];
  const lane = async (): Promise<void> => {
    for (let job = queue.shift(); job; job = queue.shift()) {
      const begun = performance.now();
      const ended = await run(job, env, timeoutSec * 1000);
      const tests = job.kind === 'tap' ? readTap(job, ended) : [readCheck(job, ended)];
      const report = { job, tests, seconds: (performance.now() - begun) / 1000 };
      reports.push(report);
      printLine(report);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return reports.sort((a, b) => jobs.indexOf(a.job) - jobs.indexOf(b.job));
}

/** Runs one process in a process group of its own, so that whatever it starts can be ended with it. */
async function run(job: Job, env: NodeJS.ProcessEnv, timeoutMs: number): Promise<Ended> {
  const [file = '', ...args] = job.command;
  const child = spawn(file, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const ended: Ended = { stdout: '', stderr: '', trouble: '' };
  const kill = (why: string): void => {
    ended.trouble = why;
    signalGroup(child, 'SIGKILL');
  };
  const hardMs = timeoutMs * KILL_FACTOR;
  const hard = setTimeout(kill, hardMs, `killed: still running after ${hardMs / 1000} s`);
  let linger: NodeJS.Timeout | undefined;

  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ended.stdout += text;
    // The line with the whole time is the last thing that tap has to say.
    if (/^# time=/m.test(text))
      linger ??= setTimeout(kill, LINGER_MS_MAX, 'killed: it left something open, so it did not end');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.stderr += text;
  });
  const closed = new Promise((resolve) => child.once('close', resolve));
  await new Promise<void>((resolve) => {
    child.once('error', (error) => {
      ended.trouble = error.message;
      resolve();
    });
    child.once('exit', (code, signal) => {
      if (signal) ended.trouble ||= `ended by ${signal}`;
      else if (code) ended.trouble ||= `exit code ${code}`;
      resolve();
    });
  });
  clearTimeout(hard);
  clearTimeout(linger);
  const left = await leftovers(child);
  if (left.length > 0) kill(`left processes behind: ${left.join(', ')}`);
  await closed;
  running.delete(child);
  return ended;
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (!child.pid) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Nobody is left in the group.
  }
}

/** What is still alive in the group of an ended process, after a moment to end by itself. */
async function leftovers(child: ChildProcess): Promise<string[]> {
  let left = groupMembers(child.pid);
  for (
    const until = Date.now() + LEFTOVER_MS_MAX;
    left.length > 0 && Date.now() < until;
    left = groupMembers(child.pid)
  ) {
    await sleep(50);
  }
  return left;
}

function groupMembers(group: number | undefined): string[] {
  const members: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // proc(5): `pid (comm) state ppid pgrp ...`, and comm may hold spaces and parentheses.
      const [state, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(pgrp) === group && state !== 'Z')
        members.push(`${pid} ${stat.slice(stat.indexOf('('), stat.lastIndexOf(')') + 1)}`);
    } catch {
      // It ended while being looked at.
    }
  }
  return members;
}

/** On an interrupted run: what is running gets a moment to clean up. */
async function stop(signal: NodeJS.Signals): Promise<void> {
  console.log(`stopped by ${signal}`);
  for (const child of running) signalGroup(child, signal);
  const until = Date.now() + LEFTOVER_MS_MAX;
  while (running.size > 0 && Date.now() < until) await sleep(50);
  for (const child of running) signalGroup(child, 'SIGKILL');
  process.exit(signal === 'SIGINT' ? 130 : 143);
}

function readTap(job: Job, ended: Ended): NamedTest[] {
  const tests = tally(ended.stdout, job.name);
  let failed = tests.findLast((test) => test.outcome === 'failed');
  if (!failed && (ended.trouble || tests.length === 0)) {
    failed = { name: 'the file as a whole', outcome: 'failed', reason: '', failures: [] };
    tests.push(failed);
    if (tests.length === 1) failed.failures.push('ran no test');
  }
  if (!failed) return tests;
  // What goes wrong with a file often goes wrong with its last test: it is told there, and counted once.
  const output = excerpt(withoutTap(ended.stdout) + ended.stderr);
  // With exit code 1 tap says only that a test failed.
  if (ended.trouble && !(failed.failures.length > 0 && ended.trouble === 'exit code 1')) {
    failed.failures.push(ended.trouble);
  }
  if (output) failed.failures.push(`the file also printed:\n${output}`);
  return tests;
}

function readCheck(job: Job, ended: Ended): NamedTest {
  const lines = (ended.stdout + ended.stderr).trim().split('\n');
  const cut = lines.length - CHECK_LINES_MAX;
  if (cut > 0) lines.splice(CHECK_LINES_MAX, cut, `... ${cut} more lines`);
  if (job.hint) lines.push(job.hint);
  const failures = ended.trouble ? [...lines, ended.trouble] : [];
  return { name: job.name, outcome: ended.trouble ? 'failed' : 'passed', reason: '', failures };
}

/** The end of what a failed file printed, which is where it says why. */
function excerpt(text: string): string {
  const lines = text.trim().split('\n');
  const cut = lines.length - OUTPUT_LINES_MAX;
  return (cut > 0 ? [`... ${cut} lines before`, ...lines.slice(-OUTPUT_LINES_MAX)] : lines).join('\n');
}

const compilerReport = (): Report => ({
  job: { name: 'typescript', kind: 'check', command: [] },
  tests: [
    {
      name: 'typescript',
      outcome: 'failed',
      reason: '',
      failures: ['does not compile, see the errors at the top'],
    },
  ],
  seconds: 0,
});

const noFileReport = (patterns: string[]): Report => ({
  job: { name: 'test files', kind: 'check', command: [] },
  tests: [
    { name: 'test files', outcome: 'failed', reason: '', failures: [`none matches ${patterns.join(' ')}`] },
  ],
  seconds: 0,
});

function countOf(tests: NamedTest[], outcome: NamedTest['outcome']): number {
  return tests.filter((test) => test.outcome === outcome).length;
}

function totals(tests: NamedTest[]): string {
  const skipped = countOf(tests, 'skipped');
  return `${countOf(tests, 'passed')} passed, ${countOf(tests, 'failed')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function printLine({ job, tests, seconds }: Report): void {
  const mark = countOf(tests, 'failed') > 0 ? 'FAIL' : 'ok  ';
  console.log(
    `${mark} ${job.name.padEnd(50)} ${totals(tests).padEnd(22)} ${seconds.toFixed(1).padStart(6)} s`,
  );
}

/** Prints what deserves reading at the end; true when nothing failed. */
function conclude(reports: Report[]): boolean {
  const all = reports.flatMap(({ job, tests }) => tests.map((test) => ({ job, test })));
  const title = (job: Job, test: NamedTest): string =>
    test.name === job.name ? job.name : `${job.name} › ${test.name}`;
  const skipped = all.filter(({ test }) => test.outcome === 'skipped');
  if (skipped.length > 0) console.log('\nSkipped:');
  for (const { job, test } of skipped) console.log(`  ${title(job, test)}: ${test.reason}`);
  const failed = all.filter(({ test }) => test.outcome === 'failed');
  if (failed.length > 0) console.log('\nFailed:');
  for (const [index, { job, test }] of failed.entries()) {
    console.log(`\n${index + 1}) ${title(job, test)}`);
    for (const failure of test.failures) console.log(failure.replace(/^(?=.)/gm, '   '));
  }
  console.log(`\n${totals(all.map(({ test }) => test))}`);
  return failed.length === 0;
}

await main();

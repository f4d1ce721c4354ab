import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import t, { type Test } from 'tap';

const RUNNER = resolve('dist/scripts/run-tests.js');
const TAP = "import t from 'tap';\n";

/** Runs the runner on test files of its own, with a time-out of half a second; gives what it printed and its exit code. */
function run(
  t: Test,
  files: Record<string, string>,
  ...args: string[]
): { lines: string[]; code: number | null } {
  const cwd = t.testdir({
    'package.json': JSON.stringify({
      type: 'module',
      tap: { jobs: 2, timeout: 0.5, serial: ['dist/test/e2e'] },
    }),
    dist: { test: files },
  });
  const { stdout, status } = spawnSync(process.execPath, [RUNNER, ...args], { cwd, encoding: 'utf8' });
  return { lines: stdout.trimEnd().split('\n'), code: status };
}

t.test('passed and skipped', async (t) => {
  const text = `${TAP}t.test('a', async (t) => t.ok(true)); t.test('b', { skip: 'not here' }, async () => {});`;
  const { lines, code } = run(t, { 'good.test.js': text }, 'good');
  t.equal(lines.at(-1), '1 passed, 0 failed, 1 skipped');
  t.ok(lines.includes('  test/good.test.ts › b: not here'));
  t.equal(code, 0);
});

const BROKEN: [what: string, text: string, said: RegExp][] = [
  ['an assertion', `${TAP}t.test('a', async (t) => t.equal(1, 2, 'sum'));`, /sum/],
  [
    'a crash after the tests',
    `${TAP}t.test('a', async (t) => t.ok(1)); t.teardown(() => process.kill(process.pid, 9));`,
    /SIGKILL/,
  ],
  ['a file that does not load', "import './nowhere.js';", /ERR_MODULE_NOT_FOUND/],
  ['a file without tests', `${TAP}`, /ran no test/],
  [
    'a test that waits for ever',
    `${TAP}t.test('a', async () => { await new Promise((r) => setTimeout(r, 60000)); });`,
    /timeout!/,
  ],
  [
    'a test that blocks the process',
    `${TAP}t.test('a', async () => { for (;;); });`,
    /killed: still running after/,
  ],
  [
    'a process left behind',
    `${TAP}import { spawn } from 'node:child_process';
     t.test('a', async (t) => { spawn('sleep', ['60'], { stdio: 'ignore' }).unref(); t.ok(1); });`,
    /left processes behind: \d+ \(sleep\)/,
  ],
];
for (const [what, text, said] of BROKEN) {
  t.test(`failed: ${what}`, async (t) => {
    const { lines, code } = run(t, { 'bad.test.js': text }, 'bad');
    t.match(lines.at(-1), /^\d passed, 1 failed$/);
    t.match(lines.join('\n'), said);
    t.equal(code, 1);
  });
}

t.test('failed: no file matches', async (t) => {
  const { lines, code } = run(t, {}, 'nothing');
  t.match(lines.join('\n'), /none matches nothing/);
  t.equal(lines.at(-1), '0 passed, 1 failed');
  t.equal(code, 1);
});

t.test('--long reaches the tests', async (t) => {
  const text = `${TAP}t.test('a', async (t) => t.equal(process.env.FLOWPIN_LONG, '1'));`;
  t.equal(run(t, { 'long.test.js': text }, '--long', 'long').code, 0);
  t.equal(run(t, { 'long.test.js': text }, 'long').code, 1);
});

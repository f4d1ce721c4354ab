/** That every command of a batch is accounted for, whatever ip(8) makes of it. */
import { spawnSync } from 'node:child_process';
import { type Command, ip, runCommands } from '../../src/host/change.js';
import { tapInSandbox } from './support.js';

const t = await tapInSandbox();

const rule = (words: string): string => `rule ${words} lookup 100`;
const rulesLeft = (): string[] => {
  const { stdout } = spawnSync('ip', ['rule', 'show'], { encoding: 'utf8' });
  return [...stdout.matchAll(/^(7\d\d):/gm)].map(([, pref]) => pref ?? '');
};
const takeAway = (): void => {
  for (const pref of rulesLeft()) spawnSync('ip', ['rule', 'del', 'pref', pref]);
};
const commands = (...lines: string[]): Command[] => lines.map((words) => ip(words));

const ADD = [rule('add pref 701'), rule('add pref 702'), rule('add pref 703'), rule('add pref 704')];
const DUPLICATE = rule('add pref 701');
/** ip(8) ends at words that it does not know, whatever `-force` says, and does not say at which line. */
const UNKNOWN = rule('add pref 709 ipproto none-such');

const cases = [
  {
    name: 'a line that the kernel refuses ends the batch there',
    lines: [ADD[0]!, DUPLICATE, ADD[1]!],
    goOn: false,
    failed: [1],
    left: ['701'],
  },
  {
    name: 'a line that the kernel refuses is passed over',
    lines: [ADD[0]!, DUPLICATE, ADD[1]!],
    goOn: true,
    failed: [1],
    left: ['701', '702'],
  },
  {
    name: 'a line that ip does not know ends the batch there',
    lines: [ADD[0]!, ADD[1]!, UNKNOWN, ADD[2]!],
    goOn: false,
    failed: [2],
    left: ['701', '702'],
  },
  {
    name: 'lines that ip does not know are passed over, and so are those that the kernel refuses around them',
    lines: [UNKNOWN, ADD[0]!, DUPLICATE, ADD[1]!, UNKNOWN, DUPLICATE, ADD[2]!, UNKNOWN, ADD[3]!],
    goOn: true,
    failed: [0, 2, 4, 5, 7],
    left: ['701', '702', '703', '704'],
  },
];

for (const { name, lines, goOn, failed, left } of cases) {
  t.test(name, async (t) => {
    t.teardown(takeAway);
    const failures = runCommands(commands(...lines), () => goOn);
    t.strictSame(
      failures.map(({ index }) => index),
      failed,
    );
    for (const { index, reason } of failures)
      t.match(reason, lines[index] === UNKNOWN ? /ipproto/ : /File exists/);
    t.strictSame(rulesLeft(), left);
  });
}

t.test('what an undo takes back behind a line that ip does not know is taken back', async (t) => {
  t.strictSame(runCommands(commands(...ADD)), []);
  const undo = ADD.map((words) => words.replace('add', 'del'));
  const failures = runCommands(commands(UNKNOWN, ...undo), () => true);
  t.strictSame(
    failures.map(({ index }) => index),
    [0],
  );
  t.strictSame(rulesLeft(), []);
});

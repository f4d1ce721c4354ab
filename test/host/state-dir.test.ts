/** Applying, taking back and recovering, on settings that do not exist: a failing command needs no privilege. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { AppliedChanges, type Journal } from '../../src/host/applied-changes.js';
import { type Change, readSysctl, runCommands, sysctl } from '../../src/host/change.js';
import { readHostFacts } from '../../src/host/facts.js';
import { StateDir } from '../../src/host/state-dir.js';
import { Failure } from '../../src/shared/failure.js';

const impossible: Change = {
  apply: sysctl('net.flowpin.nothing', '1'),
  undo: sysctl('net.flowpin.nothing', '0'),
};

const FACTS = readHostFacts('flowpin0');

const journalOf = (state: StateDir): Journal => ({
  write: (changes) => state.writeJournal(changes, FACTS),
  remove: () => state.remove(),
});

t.test('a change that fails is named, and the directory is gone again', async (t) => {
  const path = join(t.testdir(), 'state', 'flowpin0');
  const state = new StateDir(path);
  t.equal(state.open(), null);
  t.throws(
    () => new AppliedChanges(journalOf(state)).add([impossible]),
    /`sysctl -w net.flowpin.nothing=1` failed: .*ENOENT/,
  );
  t.equal(existsSync(path), false);
});

t.test('the journal names the process that wrote it', async (t) => {
  const path = join(t.testdir(), 'flowpin0');
  const state = new StateDir(path);
  state.open();
  state.writeJournal([], FACTS);
  const journal = JSON.parse(readFileSync(join(path, 'journal.json'), 'utf8')) as { pid: number };
  t.equal(journal.pid, process.pid);
  state.remove();
  t.equal(existsSync(path), false);
});

t.test('what a killed process left is found by the next start; flows stay', async (t) => {
  const path = join(t.testdir(), 'flowpin0');
  mkdirSync(path);
  const ended = spawnSync('true').pid;
  writeFileSync(
    join(path, 'journal.json'),
    JSON.stringify({ pid: ended, startTime: '1', changes: [impossible], facts: FACTS }),
  );
  writeFileSync(join(path, 'flows-0'), 'flows');
  t.match(new StateDir(path).open(), { changes: [impossible], facts: FACTS });
  t.equal(existsSync(join(path, 'journal.json')), true, 'until it was taken back');
  t.equal(readFileSync(join(path, 'flows-0'), 'utf8'), 'flows');
});

t.test('a directory that a running process works with is left alone', async (t) => {
  const path = join(t.testdir(), 'flowpin0');
  const state = new StateDir(path);
  state.open();
  state.writeJournal([], FACTS);
  t.throws(() => new StateDir(path).open(), /already runs with .* \(process \d+\)/);
  t.equal(existsSync(join(path, 'journal.json')), true);
});

t.test(
  'a process number that was given out again is not taken for the one that wrote the journal',
  async (t) => {
    const path = join(t.testdir(), 'flowpin0');
    mkdirSync(path);
    writeFileSync(
      join(path, 'journal.json'),
      JSON.stringify({ pid: process.pid, startTime: '1', changes: [], facts: FACTS }),
    );
    t.match(new StateDir(path).open(), { changes: [] });
  },
);

t.test('a damaged journal stops the start and says what to look at', async (t) => {
  for (const text of ['{', '{}', 'null', '{"pid":1,"undo":[]}']) {
    const dir = t.testdir({ 'journal.json': text });
    t.throws(() => new StateDir(dir).open(), Failure);
    t.throws(() => new StateDir(dir).open(), /damaged; check `ip link`/);
  }
});

t.test('a state directory that cannot be made says how to choose another', async (t) => {
  const file = join(t.testdir({ file: '' }), 'file', 'below');
  t.throws(() => new StateDir(file).open(), /--state-dir/);
});

t.test('commands stop at the first that fails, unless it may', async (t) => {
  t.match(runCommands([impossible.apply, impossible.apply]), [{ index: 0, reason: /ENOENT/ }]);
  t.strictSame(
    runCommands([impossible.apply, impossible.apply], () => true).map(({ index }) => index),
    [0, 1],
  );
});

t.test('a dot in the name of a device is not one between the parts of a setting', async (t) => {
  t.equal(readSysctl('net.ipv4.conf.no/such.forwarding'), null);
  t.match(runCommands([sysctl('net.ipv4.conf.no/such.forwarding', '1')]), [
    { reason: 'conf/no.such/forwarding' },
  ]);
});

t.test('names of endpoints are written when there are more of them, and survive', async (t) => {
  const path = join(t.testdir(), 'flowpin0');
  const state = new StateDir(path);
  state.open();
  state.writeList(state.endpointsPath, ['a']);
  t.equal(readFileSync(state.endpointsPath, 'utf8'), '["a"]');
  writeFileSync(state.endpointsPath, 'untouched');
  state.writeList(state.endpointsPath, ['a']);
  t.equal(readFileSync(state.endpointsPath, 'utf8'), 'untouched');
  state.writeList(state.endpointsPath, ['a', 'b']);
  t.equal(readFileSync(state.endpointsPath, 'utf8'), '["a","b"]');
});

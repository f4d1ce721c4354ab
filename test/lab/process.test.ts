import { t } from 'tap';
import { type HostState, stateChanges } from '../../src/lab/host-state.js';
import { run, start } from '../../src/lab/process.js';
import { SeededBytes } from '../../src/lab/seeded-bytes.js';
import { addressOf, splitAddress } from '../../src/lab/socket-address.js';

t.test('a process: its lines, its ending', async (t) => {
  const talker = start('sh', ['-c', 'echo one; printf tw; sleep 0.1; echo o; printf three; read x; exit 5'], {
    input: '',
  });
  t.equal(await talker.line(/^tw/, 5000), 'two', 'a line counts when it is whole');
  t.equal(await talker.line(/^o/, 5000), 'one', 'earlier lines are not lost');
  await t.rejects(talker.line(/three/, 5000), /ended with code 5 before it printed/, 'half a line is none');
  t.strictSame(await talker.ended, { code: 5, signal: null });
});

t.test('a wait ends, and so does a process that will not', async (t) => {
  const deaf = start('sh', ['-c', 'trap "" TERM; echo up; echo why >&2; while :; do sleep 0.05; done']);
  await deaf.line(/^up$/, 5000);
  await t.rejects(
    deaf.line(/never/, 20),
    /did not print \/never\/ within 20 ms:\nwhy$/,
    'with its last words',
  );
  t.strictSame(await deaf.stop('SIGTERM', 100), { code: 137, signal: 'SIGKILL' });
  t.strictSame(await start('sleep', ['30']).stop('SIGTERM'), { code: 143, signal: 'SIGTERM' });
  t.equal((await run('sleep', ['30'], { timeoutMs: 50 })).code, 137, 'run has a bound too');
});

t.test('a program that is not there', async (t) => {
  const { code, stderr } = await run('no-such-program', []);
  t.equal(code, 127);
  t.match(stderr, 'ENOENT');
  await t.rejects(start('no-such-program', []).line(/x/, 5000), /ended with code 127/);
});

t.test('run gives input, output and environment', async (t) => {
  const done = await run('sh', ['-c', 'cat; echo "$LAB" >&2'], { input: 'text\n', env: { LAB: 'seen' } });
  t.strictSame(done, { code: 0, stdout: 'text\n', stderr: 'seen\n' });
});

t.test('changes of a state: lines gone and come, order aside', async (t) => {
  const state = (routes: string, rules = 'x'): HostState => new Map(Object.entries({ routes, rules }));
  const before = state('a\nb\nb\nc');
  t.strictSame(stateChanges(before, state('c\nb\nb\na')), []);
  t.strictSame(stateChanges(before, state('a\nb\nc\nd')), ['routes: - b', 'routes: + d']);
  t.strictSame(stateChanges(before, new Map([['routes', 'a\nb\nb\nc']])), ['rules: - x', 'rules: + ']);
});

t.test('seeded bytes', async (t) => {
  const whole = new SeededBytes(7).next(64);
  const source = new SeededBytes(7);
  t.strictSame(
    Buffer.concat([source.next(16), source.next(44), source.next(4)]),
    whole,
    'the same in pieces',
  );
  t.notSame(new SeededBytes(8).next(64), whole, 'another seed, other bytes');
  t.equal(new SeededBytes(1).next(3).length, 3, 'lengths that are no multiple of 4');
  const counts = new Uint32Array(256);
  for (const byte of new SeededBytes(0).next(1 << 18)) counts[byte] = (counts[byte] ?? 0) + 1;
  t.ok(
    counts.every((count) => count > 800 && count < 1250),
    'every byte value about 1024 times in 256 KiB',
  );
});

t.test('addresses with ports', async (t) => {
  t.strictSame(splitAddress('10.0.0.1:80'), { host: '10.0.0.1', port: 80 });
  t.strictSame(splitAddress('[fd00::1]:443'), { host: 'fd00::1', port: 443 });
  t.equal(addressOf('fd00::1', 443), '[fd00::1]:443');
  t.equal(addressOf('10.0.0.1', 80), '10.0.0.1:80');
  t.equal(addressOf(undefined, undefined), '?:?');
  for (const bad of ['10.0.0.1', 'fd00::1:80', ':80', '10.0.0.1:65536', '10.0.0.1:x', '']) {
    t.throws(() => splitAddress(bad), RangeError, bad);
  }
});

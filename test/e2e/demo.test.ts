// `flowpin demo` as a person runs it: what it prints, how it ends, and that nothing of it remains.

import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { t } from 'tap';
import { flowpinArgs } from '../../src/lab/flowpin-up.js';
import { packageFile } from '../../src/lab/package-root.js';
import { type LabProcess, run, start } from '../../src/lab/process.js';
import { sandboxUnavailable } from '../../src/lab/sandbox.js';
import { FILE_TIMEOUT_MS } from './support.js';

t.setTimeout(FILE_TIMEOUT_MS);

const unavailable = sandboxUnavailable();
const skip = unavailable ?? false;

/** Arguments of env(1) that run the demonstration, without the hooks that tap's runner gives its children. */
const demo = ['-u', 'NODE_OPTIONS', process.execPath, ...flowpinArgs('demo')];

/** An environment that every process of one demonstration inherits, whoever its parent is, and nothing else has. */
function marked(): { mark: string; env: Record<string, string> } {
  const mark = `FLOWPIN_TEST_MARK=${randomUUID()}`;
  return { mark, env: { FLOWPIN_TEST_MARK: mark.slice(mark.indexOf('=') + 1) } };
}

/** Processes with the mark, as this machine sees them. The kernel's ending of a pid namespace takes a moment. */
async function remaining(mark: string): Promise<string[]> {
  for (let round = 0; round < 40; round++) {
    if (processesWith(mark).length === 0) return [];
    await sleep(50);
  }
  return processesWith(mark);
}

function processesWith(mark: string): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark)) return [];
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
    } catch {
      return []; // ended meanwhile, or another user's
    }
  });
}

/** The demonstration once its node runs: `flowpin up` is ready and requests are on their way. */
async function runningDemo(env: Record<string, string>): Promise<LabProcess> {
  const running = start('env', [...demo, '--connections', '20000'], { env });
  await running.line(/^Service table/, 20_000);
  return running;
}

t.test('prints the table, the spread, the kept-alive connection, and leaves nothing', { skip }, async (t) => {
  const { mark, env } = marked();
  const { code, stdout, stderr } = await run('env', demo, { env, timeoutMs: 60_000 });
  t.equal(code, 0, stderr);
  t.equal(stderr, '', 'nothing on standard error');
  t.match(stdout, /default\/httpenv +10\.103\.145\.7:8888\/TCP +10\.244\.0\.3:8888 +0\.33333333349\n/);
  t.match(
    stdout,
    /^ +10\.244\.1\.2:8888 +0\.50000000000\n +10\.244\.2\.2:8888 +1\n/m,
    'the rest of the cascade',
  );
  t.match(stdout, /^300 connections, each a new flow: all answered/m);
  t.match(stdout, /^ {2}10\.244\.2\.2:8888 +\d+ +\d+\.\d % +100$/m, 'each endpoint beside its expectation');
  t.match(stdout, /p = 0?\.?\d/, 'and how surprising that is');
  t.match(stdout, /^200 requests on 1 connection: all answered by 10\.244\.\d\.\d:8888\.$/m);
  t.match(stdout, /^Packets through the TUN device$/m);
  t.match(stdout, / forwarded [\d,]+ · passed \d+ · rejected 0 · dropped 0$/m);
  t.match(stdout, /^Left behind: nothing\./m);
  t.strictSame(
    stdout.split('\n').filter((line) => line.length > 80),
    [],
    'no line is longer than 80 columns',
  );
  t.notMatch(stdout, '\u001b', 'no control characters where it is not a terminal');
  t.strictSame(await remaining(mark), [], 'no process remains');
});

t.test('--json prints one object that says the same', { skip }, async (t) => {
  const flags = ['--json', '--connections', '30', '--requests', '10'];
  const { code, stdout, stderr } = await run('env', [...demo, ...flags], { timeoutMs: 60_000 });
  t.equal(code, 0, stderr);
  t.match(JSON.parse(stdout), {
    service: { name: 'default/httpenv', clusterIP: '10.103.145.7:8888' },
    http: {
      connections: { asked: 30, answered: 30, errors: {} },
      keepAlive: { asked: 10, answered: 10, sockets: 1 },
    },
    counters: { dropped: {} },
    end: { exitCode: 0, leftBehind: [] },
    problems: [],
  });
});

for (const [signal, expected] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGKILL', 137],
] as const) {
  t.test(`${signal} in the middle leaves nothing`, { skip }, async (t) => {
    const { mark, env } = marked();
    const running = await runningDemo(env);
    // Outer process, unshare, inner process, three servers, flowpin up: it is really in the middle.
    t.ok(processesWith(mark).length >= 7, 'the whole lab was running');
    t.equal((await running.stop(signal, 10_000)).code, expected);
    t.strictSame(await remaining(mark), [], 'no process remains');
    t.notMatch(running.stdout, 'Left behind', 'it did not run to its end');
  });
}

t.test('ends quietly when its reader goes away', { skip }, async (t) => {
  const { mark, env } = marked();
  const pipe = ['-c', '"$@" | head -n 1', 'sh', 'env', ...demo];
  const { stdout, stderr } = await run('sh', pipe, { env, timeoutMs: 60_000 });
  t.match(stdout, /^flowpin demo: .*\n$/);
  t.equal(stderr, '');
  t.strictSame(await remaining(mark), [], 'no process remains');
});

// As another user, without privileges. Its own mount namespace has the package at a place every user can reach, and
// a /dev/net/tun of the asked mode; both are gone with it.
const OTHER_USER = [
  '--reuid',
  '65534',
  '--regid',
  '65534',
  '--clear-groups',
  '--inh-caps=-all',
  '--bounding-set=-all',
];
const ROOM = `
  set -e
  mount -t tmpfs room /mnt
  mkdir /mnt/package && mount --bind "$1" /mnt/package
  mknod -m "$2" /mnt/tun c 10 200 && mount --bind /mnt/tun /dev/net/tun
  shift 2
  exec setpriv ${OTHER_USER.join(' ')} "$@"`;

function asOtherUser(tunMode: string, command: readonly string[], env = {}): ReturnType<typeof run> {
  const room = ['--mount', 'sh', '-c', ROOM, 'sh', packageFile(), tunMode, ...command];
  return run('unshare', room, { env, timeoutMs: 60_000 });
}

/** The command line of the demonstration in the other user's room. */
const roomDemo = ['env', ...demo.map((arg) => arg.replace(packageFile(), '/mnt/package'))];

/** Why these tests cannot play another user here. */
async function noOtherUser(): Promise<string | false> {
  if (unavailable !== null) return unavailable;
  if (process.geteuid?.() !== 0) return 'needs root, to become another user';
  const { code, stderr } = await asOtherUser('666', [process.execPath, '-e', '']);
  return code === 0 ? false : `another user cannot run Node.js here: ${stderr.trim()}`;
}
const noRoom = await noOtherUser();

/** Whether this machine lets an unprivileged user make namespaces at all. */
async function noUserNamespaces(): Promise<string | false> {
  if (noRoom !== false) return noRoom;
  const { code, stderr } = await asOtherUser('666', [
    'unshare',
    '--user',
    '--map-root-user',
    '--net',
    'true',
  ]);
  return code === 0 ? false : `unprivileged user namespaces are not allowed here: ${stderr.trim()}`;
}

t.test(
  'runs without root where user namespaces and /dev/net/tun allow it',
  { skip: await noUserNamespaces() },
  async (t) => {
    const { mark, env } = marked();
    const { code, stdout, stderr } = await asOtherUser('666', roomDemo, env);
    t.equal(code, 0, stderr);
    t.match(stdout, /^300 connections, each a new flow: all answered/m);
    t.match(stdout, /^Left behind: nothing\./m);
    t.strictSame(await remaining(mark), [], 'no process remains');
  },
);

t.test(
  'says in one line what is missing when it may not use /dev/net/tun, exit 3',
  { skip: await noUserNamespaces() },
  async (t) => {
    const { code, stdout, stderr } = await asOtherUser('600', roomDemo);
    t.equal(code, 3);
    t.equal(stdout, '');
    t.match(
      stderr,
      /^flowpin: the demonstration cannot run here: \/dev\/net\/tun .*root\n$/,
      'one line, with what to do',
    );
  },
);

t.test(
  'says in one line when namespaces are refused, exit 3',
  { skip: await noUserNamespaces() },
  async (t) => {
    // The limit is the user namespace's own (namespaces(7)), so this refuses nothing to the rest of the machine.
    const refused =
      'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --inh-caps=-all --bounding-set=-all "$@"';
    const command = ['unshare', '--user', '--map-root-user', 'sh', '-c', refused, 'sh', ...roomDemo];
    const { code, stdout, stderr } = await asOtherUser('666', command);
    t.equal(code, 3);
    t.equal(stdout, '');
    t.match(stderr, /^flowpin: the demonstration cannot run here: namespaces are refused \(.+\): .+\n$/);
  },
);

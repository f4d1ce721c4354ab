// A private set of namespaces (net, mount, pid; and user when not root) in which a whole lab runs.
//
//   outer process                            the terminal, the exit code, the signals
//     └─ unshare --fork --kill-child         dies with the outer process (PR_SET_PDEATHSIG)
//          └─ the same script again          process 1 of the pid namespace: every host, server and client
//                                            of the lab is its descendant
//
// Invariant: nothing outlives process 1. When it ends, however it ends, the kernel kills every process of its
// pid namespace (pid_namespaces(7)) and with the last of them frees the network and mount namespaces and their
// devices. The network namespace has no link to the machine's, so no packet can leave.

import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Set in the environment of everything that runs inside a sandbox. */
const INSIDE = 'FLOWPIN_SANDBOX';

/** Signals a person or a supervisor stops a command with, and the exit code that says so (128 + number). */
const STOP_SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
type StopSignal = keyof typeof STOP_SIGNALS;

/** An inner process that has not ended this long after a signal is killed, so that Ctrl-C always ends the command. */
const STOP_GRACE_MS = 15_000;

/** True in the process that {@link enterSandbox} started inside the namespaces; false again in its children. */
export function insideSandbox(): boolean {
  return process.env[INSIDE] === '1' && process.pid === 1;
}

export interface SandboxOptions {
  /** Leave NODE_OPTIONS and Node.js's own flags outside, such as the hooks that a test runner loads with them. */
  readonly plainNode?: boolean;
}

/**
 * Outside: runs this same script with the same arguments inside a new sandbox, with the terminal shared, passes
 * SIGHUP, SIGINT and SIGTERM on, and ends this process with the inner one's exit code; the promise never settles.
 * Inside: returns, and from then on the first of these signals ends the process with 128 + its number.
 *
 * Call it only when {@link sandboxUnavailable} answers null.
 */
export function enterSandbox(options: SandboxOptions = {}): Promise<void> {
  if (insideSandbox()) {
    becomeInner();
    return Promise.resolve();
  }
  return new Promise(() => runInner(options));
}

let answer: string | null | undefined;

/**
 * Why no sandbox can be made here, in one line that also says what to do about it; null when one can. Found out by
 * making one (about 30 ms) with everything a lab needs in it, not by reading settings. The answer is kept.
 */
export function sandboxUnavailable(): string | null {
  if (insideSandbox()) return null;
  if (answer === undefined) answer = whyUnavailable();
  return answer;
}

/** Arguments of setpriv(1) that run a command in new namespaces. `user`: without being root, mapped to root inside. */
function inNamespaces(user: boolean, command: readonly string[]): string[] {
  return [
    ...['--pdeathsig', 'KILL'],
    ...['unshare', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
    ...(user ? ['--user', '--map-root-user'] : []),
    ...command,
  ];
}

let userNamespace = false;

function runInner({ plainNode = false }: SandboxOptions): void {
  if (sandboxUnavailable() !== null) throw new Error('enterSandbox called where no sandbox can be made');
  const node = plainNode
    ? ['env', '-u', 'NODE_OPTIONS', process.execPath]
    : [process.execPath, ...process.execArgv];
  const script = ['sh', '-c', PREPARE, 'sh', ...node, ...process.argv.slice(1)];
  // A message channel carries the signals: unshare --fork blocks SIGINT and SIGTERM while it waits, and the inner
  // process's id is not known out here.
  const inner = spawn('setpriv', inNamespaces(userNamespace, script), {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, [INSIDE]: '1' },
  });
  for (const signal of Object.keys(STOP_SIGNALS) as StopSignal[]) {
    process.on(signal, () => {
      if (inner.connected) inner.send(signal, () => {});
      setTimeout(() => inner.kill('SIGKILL'), STOP_GRACE_MS).unref();
    });
  }
  inner.on('error', (error) => {
    process.stderr.write(`cannot start the sandbox: ${error.message}\n`);
    process.exit(3);
  });
  inner.on('exit', (code, signal) => {
    process.exit(
      code ?? (signal !== null && signal in STOP_SIGNALS ? STOP_SIGNALS[signal as StopSignal] : 137),
    );
  });
}

function becomeInner(): void {
  // Ctrl-C comes twice, from the terminal and from the outer process: the first ends everything.
  const stop = (signal: StopSignal): void => process.exit(STOP_SIGNALS[signal]);
  // Process 1 of a pid namespace gets no default signal actions (pid_namespaces(7)): without these listeners it
  // would ignore its stop signals.
  for (const signal of Object.keys(STOP_SIGNALS) as StopSignal[]) process.on(signal, stop);
  process.on('message', stop);
  process.on('disconnect', () => stop('SIGHUP'));
  process.channel?.unref();
}

// What has to be true inside before the script starts. /run is private: the names of `ip netns` and flowpin's state
// directory must not meet the machine's own.
const PREPARE = 'mount -t tmpfs flowpin-lab /run && ip link set lo up || exit 3; exec "$@"';

/** Exit codes of the trial, one per thing that can be refused. */
const REFUSED = { mount: 41, link: 42, netns: 43, tun: 44 } as const;

const TRIAL = [
  `mount -t tmpfs flowpin-lab /run || exit ${REFUSED.mount}`,
  `ip link set lo up || exit ${REFUSED.link}`,
  `ip netns add trial || exit ${REFUSED.netns}`,
  `nsenter --net=/run/netns/trial true || exit ${REFUSED.netns}`,
  // Asks for the device the way flowpin will: open /dev/net/tun, TUNSETIFF.
  `ip tuntap add name trial mode tun || exit ${REFUSED.tun}`,
].join('\n');

const TOOLS = {
  ip: 'iproute2',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
} as const;

function whyUnavailable(): string | null {
  if (process.platform !== 'linux') return 'network namespaces need Linux: run it in a Linux machine or VM';
  for (const [tool, debianPackage] of Object.entries(TOOLS)) {
    if (!onPath(tool)) return `\`${tool}\` is not installed: apt install ${debianPackage}`;
  }
  const root = process.geteuid?.() === 0;
  // Root without CAP_SYS_ADMIN (a container) may still have user namespaces.
  const asRoot = root ? trial(false) : null;
  if (asRoot?.status === 0) return null;
  const asUser = trial(true);
  if (asUser.status === 0) {
    userNamespace = true;
    return null;
  }
  return explain(asRoot !== null && asRoot.status > 1 ? asRoot : asUser, root);
}

interface Trial {
  status: number;
  said: string;
}

function trial(user: boolean): Trial {
  const done = spawnSync('setpriv', inNamespaces(user, ['sh', '-c', TRIAL]), {
    encoding: 'utf8',
    timeout: 10_000,
    env: { ...process.env, LC_ALL: 'C' },
  });
  const said = (done.stderr ?? '').trim().split('\n').at(-1) ?? '';
  return { status: done.status ?? 1, said: said === '' ? (done.error?.message ?? 'no reason given') : said };
}

function explain({ status, said }: Trial, root: boolean): string {
  if (status === REFUSED.tun) {
    if (!existsSync('/dev/net/tun')) {
      return 'there is no /dev/net/tun: modprobe tun (in a container: --device /dev/net/tun)';
    }
    if (!canOpenTun())
      return `/dev/net/tun cannot be opened by this user: ${root ? 'allow the device' : 'run as root'}`;
    return `no TUN device can be made (${said}): run as root on a kernel with CONFIG_TUN`;
  }
  const instead = root
    ? 'this container withholds CAP_SYS_ADMIN and user namespaces'
    : 'run as root, or allow unprivileged user namespaces';
  return `namespaces are refused (${said}): ${instead}`;
}

function canOpenTun(): boolean {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether a command is installed. */
export function onPath(tool: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, tool), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}

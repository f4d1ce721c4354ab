// A child process of the lab: what it printed, line by line, how it ended, and a way to end it that always ends.
// Invariant: every wait has an upper bound.

import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';

/** More than any lab program prints; a runaway one cannot fill the memory. */
const OUTPUT_CHARS_MAX = 1 << 20;

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Text for standard input; without it the input is empty. */
  readonly input?: string;
}

/** How a process ended: `code` is the exit code, or 128 + the number of the signal, as a shell reports it. */
export interface Ending {
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
}

export class LabProcess {
  readonly child: ChildProcess;
  readonly title: string;
  stdout = '';
  stderr = '';
  /** Settles when the process is gone and its output read. Never rejects: a failed start ends with code 127. */
  readonly ended: Promise<Ending>;

  constructor(child: ChildProcess, title: string) {
    this.child = child;
    this.title = title;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = keep(this.stdout + text);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = keep(this.stderr + text);
    });
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => {
        this.stderr += `${error.message}\n`;
        if (child.pid === undefined) resolve({ code: 127, signal: null });
      });
      child.once('close', (code, signal) => resolve({ code: code ?? 128 + signalNumber(signal), signal }));
    });
  }

  /** True until the process has ended. */
  get running(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /**
   * The first line of standard output that matches. Rejects, with what the process said, when it ends first or when
   * `timeoutMs` has passed.
   */
  line(pattern: RegExp, timeoutMs: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const fail = (how: string): void => {
        this.child.stdout?.off('data', look);
        clearTimeout(timer);
        reject(new Error(`${this.title} ${how}${this.lastWords()}`));
      };
      const look = (): void => {
        const found = completeLines(this.stdout).find((line) => pattern.test(line));
        if (found === undefined) return;
        this.child.stdout?.off('data', look);
        clearTimeout(timer);
        resolve(found);
      };
      const timer = setTimeout(() => fail(`did not print ${pattern} within ${timeoutMs} ms`), timeoutMs);
      this.child.stdout?.on('data', look);
      void this.ended.then(({ code }) => {
        look();
        fail(`ended with code ${code} before it printed ${pattern}`);
      });
      look();
    });
  }

  /** Sends `signal` and waits for the end; after `graceMs` kills. The ending tells which of the two it was. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 5000): Promise<Ending> {
    if (this.running) this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), graceMs);
    const ending = await this.ended;
    clearTimeout(timer);
    return ending;
  }

  /** The end of what it said on standard error, for a message: empty, or a colon and the lines. */
  lastWords(): string {
    const said = this.stderr.trim().split('\n').slice(-5).join('\n');
    return said === '' ? '' : `:\n${said}`;
  }
}

/** Starts a program with its output collected. */
export function start(command: string, args: readonly string[], options: StartOptions = {}): LabProcess {
  const child = spawn(command, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  // A program may end without reading its input; how it ended says all there is to say.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  return new LabProcess(child, [command, ...args].join(' '));
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, killed after `timeoutMs` (then `code` is 137). */
export async function run(
  command: string,
  args: readonly string[],
  options: StartOptions & { readonly timeoutMs?: number } = {},
): Promise<Outcome> {
  const running = start(command, args, options);
  const timer = setTimeout(() => running.child.kill('SIGKILL'), options.timeoutMs ?? 10_000);
  const { code } = await running.ended;
  clearTimeout(timer);
  return { code, stdout: running.stdout, stderr: running.stderr };
}

function completeLines(text: string): string[] {
  return text.split('\n').slice(0, -1);
}

function keep(text: string): string {
  return text.length > OUTPUT_CHARS_MAX ? text.slice(-OUTPUT_CHARS_MAX) : text;
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : constants.signals[signal];
}

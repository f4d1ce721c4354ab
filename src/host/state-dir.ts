/**
 * The state directory of one device: the journal of host changes, and the files that the dataplane maps.
 * Everything in it belongs to flowpin and is removed on a clean stop.
 */
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EXIT, Failure } from '../shared/failure.js';
import { FAMILY } from '../wire/family.js';
import { type Command, runCommands } from './change.js';

interface Journal {
  /** Who made the changes. */
  readonly pid: number;
  /** Start time of that process: a process number can be given out again (proc(5), /proc/PID/stat field 22). */
  readonly startTime: string;
  /** What takes the changes back, in the order in which to run it. */
  readonly undo: readonly Command[];
}

export class StateDir {
  readonly path: string;
  private readonly written = new Map<string, number>();

  constructor(path: string) {
    this.path = path;
  }

  /** @param family FAMILY */
  flowsPath(worker: number, family: number): string {
    return join(this.path, `flows-${worker}-${family === FAMILY.V4 ? 'ipv4' : 'ipv6'}`);
  }

  /** @returns the worker whose flows of a family are in the file of this name, or null when it is no such file */
  workerOf(name: string, family: number): number | null {
    const [, worker] = /^flows-(\d{1,2})-/.exec(name) ?? [];
    return worker !== undefined && this.flowsPath(Number(worker), family) === join(this.path, name)
      ? Number(worker)
      : null;
  }

  countersPath(worker: number): string {
    return join(this.path, `counters-${worker}`);
  }

  /** ClientIP affinities of all workers. */
  get affinityPath(): string {
    return join(this.path, 'affinity');
  }

  /** Names of the endpoints that have a counter row. */
  get endpointsPath(): string {
    return join(this.path, 'endpoints.json');
  }

  /** Names of the Service ports that have a row of shared state. */
  get portsPath(): string {
    return join(this.path, 'ports.json');
  }

  /** Writes a list that only ever grows, whole or not at all; not when it has not grown. */
  writeList(path: string, list: readonly unknown[]): void {
    if (this.written.get(path) === list.length) return;
    writeWhole(path, JSON.stringify(list));
    this.written.set(path, list.length);
  }

  private get journalPath(): string {
    return join(this.path, 'journal.json');
  }

  /**
   * Makes the directory, and takes back what a process that ended without cleaning up has left.
   * @returns the commands that were run for that, for the log
   * @throws Failure when another process works with this directory, or it cannot be made
   */
  open(): readonly Command[] {
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o755 });
    } catch (error) {
      throw new Failure(
        EXIT.HOST,
        `cannot make the state directory ${this.path} (${(error as Error).message}); give another with --state-dir`,
      );
    }
    const journal = this.readJournal();
    if (journal === undefined) return [];
    if (startTimeOf(journal.pid) === journal.startTime) {
      throw new Failure(
        EXIT.HOST,
        `flowpin already runs with ${this.path} (process ${journal.pid}); stop it or give another --tun`,
      );
    }
    // Each on its own: a reboot or a person may have taken some of it back already.
    runCommands(journal.undo, () => true);
    rmSync(this.journalPath);
    return journal.undo;
  }

  /**
   * Moves a file of the directory aside, so that its place can be laid out anew and nothing is lost.
   * @returns its new path
   */
  setAside(path: string): string {
    const aside = `${path}.set-aside-${Date.now()}`;
    renameSync(path, aside);
    return aside;
  }

  /** Removes the directory and everything in it. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
    try {
      rmdirSync(dirname(this.path)); // /run/flowpin, if no other device has its state there
    } catch {
      // not empty, or not ours to remove
    }
  }

  private readJournal(): Journal | undefined {
    let text: string;
    try {
      text = readFileSync(this.journalPath, 'utf8');
    } catch {
      return undefined;
    }
    try {
      return JSON.parse(text) as Journal;
    } catch {
      throw new Failure(
        EXIT.HOST,
        `${this.journalPath} is damaged; check \`ip link\` for leftovers, then remove it`,
      );
    }
  }

  /** Writes down what takes the changes to the host back. @param undo in the order in which to run it */
  writeJournal(undo: readonly Command[]): void {
    const journal: Journal = { pid: process.pid, startTime: startTimeOf(process.pid) ?? '', undo };
    writeWhole(this.journalPath, JSON.stringify(journal));
  }
}

function writeWhole(path: string, text: string): void {
  const draft = `${path}.new`;
  writeFileSync(draft, text);
  renameSync(draft, path);
}

/** @returns when a process began, in ticks since boot, or undefined when there is none of that number */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Field 2 is the name in brackets and may hold blanks: count from behind it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

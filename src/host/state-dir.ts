/**
 * The state directory of one device: the journal of host changes, and the files that the dataplane maps.
 * Everything in it belongs to flowpin and is removed on a clean stop.
 */
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EXIT, Failure } from '../shared/failure.js';
import { FAMILY } from '../wire/family.js';
import type { Change } from './change.js';
import type { HostFacts } from './facts.js';

interface Journal {
  /** Who made the changes. */
  readonly pid: number;
  /** Start time of that process: a process number can be given out again (proc(5), /proc/PID/stat field 22). */
  readonly startTime: string;
  /** What was made, or was about to be, in order. */
  readonly changes: readonly Change[];
  /** The host as it was before the first of them. */
  readonly facts: HostFacts;
}

/** What a process that ended without cleaning up has left in force. */
export type Leftovers = Pick<Journal, 'changes' | 'facts'>;

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

  /** @returns the list that `writeList` wrote, undefined when there is none, or null when it is damaged */
  readList(path: string): unknown[] | null | undefined {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
    try {
      const list = JSON.parse(text) as unknown;
      return Array.isArray(list) ? list : null;
    } catch {
      return null;
    }
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
   * Makes the directory.
   * @returns what is still in force of a process that was killed, or null
   * @throws Failure when another process works with this directory, or it cannot be made
   */
  open(): Leftovers | null {
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o755 });
    } catch (error) {
      throw new Failure(
        EXIT.HOST,
        `cannot make the state directory ${this.path} (${(error as Error).message}); give another with --state-dir`,
      );
    }
    const journal = this.readJournal();
    if (journal === undefined) return null;
    if (startTimeOf(journal.pid) === journal.startTime) {
      throw new Failure(
        EXIT.HOST,
        `flowpin already runs with ${this.path} (process ${journal.pid}); stop it or give another --tun`,
      );
    }
    return journal;
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
      const journal = JSON.parse(text) as Journal;
      if (Array.isArray(journal.changes)) return journal;
      throw new Error('not a journal');
    } catch {
      throw new Failure(
        EXIT.HOST,
        `${this.journalPath} is damaged; check \`ip link\` for leftovers, then remove it`,
      );
    }
  }

  /** Writes down what is changed on the host. @param facts the host as it was before the first change */
  writeJournal(changes: readonly Change[], facts: HostFacts): void {
    const journal: Journal = {
      pid: process.pid,
      startTime: startTimeOf(process.pid) ?? '',
      changes,
      facts,
    };
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

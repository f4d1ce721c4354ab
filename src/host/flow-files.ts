/**
 * The flow files of an earlier run, made ready for this one: what is no flow table of ours is set aside; flows that another
 * number of workers, or tables of another size, have left are dealt out anew. Runs before any worker begins.
 */
import { readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DIRECTION, ENTRY, ENTRY_WORDS, STATUS } from '../conntrack/entry.js';
import {
  FLOW_FILE,
  flowFileBytes,
  flowFileProblem,
  isUnused,
  layOut,
  usedOf,
} from '../conntrack/flow-table.js';
import { ownerOf, shardOf, stirWords } from '../conntrack/owner.js';
import { readBeginning } from '../shared/read-beginning.js';
import { dportHalf, sportHalf } from '../wire/byte-order.js';
import { ADDRESS_WORDS, FAMILIES, FAMILY, TUPLE_WORDS } from '../wire/family.js';
import { mapped } from './mapped-file.js';
import type { StateDir } from './state-dir.js';

export interface FlowFilesOptions {
  readonly workers: number;
  /** Flows in a file. */
  readonly capacity: number;
  /** Second on the clock that EXPIRES is measured with. */
  readonly nowSec: number;
  readonly warn: (message: string) => void;
}

/** Leaves a file for each worker, or none, that the worker can take over; then `reserve` finds out whether there is room. */
export function prepareFlowFiles(state: StateDir, options: FlowFilesOptions): void {
  for (const family of FAMILIES) {
    const found = ownFiles(state, family, options.warn);
    const { workers, capacity } = options;
    const fits =
      found.length === workers && found.every((file) => file.worker < workers && file.capacity === capacity);
    if (found.length > 0 && !fits) dealOut(state, family, found, options);
  }
}

interface FlowFile {
  readonly path: string;
  readonly worker: number;
  readonly capacity: number;
}

/** The flow files of a family; what cannot be one is set aside. */
function ownFiles(state: StateDir, family: number, warn: (message: string) => void): FlowFile[] {
  const files: FlowFile[] = [];
  for (const name of readdirSync(state.path)) {
    const worker = state.workerOf(name, family);
    if (worker === null) continue;
    const path = join(state.path, name);
    const header = new Int32Array(FLOW_FILE.BYTES / 4);
    const bytes = readBeginning(path, header);
    if (bytes === null) continue;
    if (isUnused(header)) {
      rmSync(path);
      continue;
    }
    const capacity = header[FLOW_FILE.CAPACITY] as number;
    const problem = flowFileProblem(header, family) ?? sizeProblem(bytes, family, capacity);
    if (problem === null) files.push({ path, worker, capacity });
    else warn(`${path}: ${problem}; kept as ${state.setAside(path)}, its flows are not gone on with`);
  }
  return files.sort((a, b) => a.worker - b.worker);
}

const sizeProblem = (bytes: number, family: number, capacity: number): string | null =>
  capacity > 0 && bytes >= flowFileBytes(family, capacity) ? null : `flow table cut off at ${bytes} bytes`;

/** Copies every living flow into a new file of the worker that owns it now, then puts the new files in the place of the old. */
function dealOut(
  state: StateDir,
  family: number,
  found: readonly FlowFile[],
  options: FlowFilesOptions,
): void {
  const { workers, capacity, nowSec, warn } = options;
  const drafts = Array.from({ length: workers }, (_, worker) => `${state.flowsPath(worker, family)}.new`);
  let dealt = 0;
  let lost = 0;
  try {
    for (const path of drafts) rmSync(path, { force: true }); // of a process that was killed right here
    const hands = drafts.map(
      (path) => new Hand(mapped(path, flowFileBytes(family, capacity)), family, capacity),
    );
    for (const file of found) {
      const memory = mapped(file.path, flowFileBytes(family, file.capacity));
      const used = usedOf(new Int32Array(memory, 0, FLOW_FILE.BYTES / 4), file.capacity);
      const entries = new Int32Array(memory, FLOW_FILE.BYTES);
      for (let number = 0; number < used; number++) {
        const at = number * ENTRY_WORDS[family];
        const isLive = (entries[at] & STATUS.LIVE) !== 0 && entries[at + ENTRY.EXPIRES] > nowSec;
        if (!isLive) continue;
        const hand = hands[ownerOfEntry(entries, at, family, workers)];
        if (hand?.take(entries, at) === true) dealt++;
        else lost++;
      }
    }
  } catch (error) {
    for (const path of drafts) rmSync(path, { force: true });
    const kept = found.map(({ path }) => state.setAside(path)).join(', ');
    warn(`flows of an earlier run cannot be gone on with (${(error as Error).message}); kept as ${kept}`);
    return;
  }
  for (const { path, worker } of found) if (worker >= workers) rmSync(path);
  for (const [worker, path] of drafts.entries()) renameSync(path, state.flowsPath(worker, family));
  const name = family === FAMILY.V4 ? 'IPv4' : 'IPv6';
  if (dealt + lost === 0) return;
  const told = lost === 0 ? '' : `; ${lost} have no place there and end`;
  warn(`${dealt} ${name} flows of ${found.length} tables went into ${workers} of ${capacity} flows${told}`);
}

const NOBODY = -1;

/** @returns the worker that both ways of a flow belong to, or NOBODY: its source was drawn for a share that is no more */
function ownerOfEntry(entries: Int32Array, at: number, family: number, workers: number): number {
  const count = ADDRESS_WORDS[family];
  const tuple = (direction: number): number => at + ENTRY.ORIGINAL + direction * TUPLE_WORDS[family];
  const original = tuple(DIRECTION.ORIGINAL);
  const reply = tuple(DIRECTION.REPLY);
  const client = shardOf(stirWords(entries, original, count), sportHalf(entries[original + 2 * count]));
  const source = shardOf(stirWords(entries, reply + count, count), dportHalf(entries[reply + 2 * count]));
  return ownerOf(client, workers) === ownerOf(source, workers) ? ownerOf(client, workers) : NOBODY;
}

/** A new flow file that is being filled. */
class Hand {
  private readonly header: Int32Array;
  private readonly entries: Int32Array;
  private readonly entryWords: number;
  private readonly capacity: number;

  constructor(file: ArrayBuffer, family: number, capacity: number) {
    this.header = new Int32Array(file, 0, FLOW_FILE.BYTES / 4);
    this.entries = new Int32Array(file, FLOW_FILE.BYTES);
    this.entryWords = ENTRY_WORDS[family];
    this.capacity = capacity;
    layOut(this.header, family, capacity);
  }

  /** @returns whether there was room */
  take(entries: Int32Array, at: number): boolean {
    const number = this.header[FLOW_FILE.USED] as number;
    if (number === this.capacity) return false;
    this.entries.set(entries.subarray(at, at + this.entryWords), number * this.entryWords);
    this.header[FLOW_FILE.USED] = number + 1;
    return true;
  }
}

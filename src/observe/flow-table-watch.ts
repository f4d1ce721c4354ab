/**
 * Tells the operator that a flow table is full, and who fills it. Runs in the main thread beside the workers and only reads:
 * the totals in their counter files every few seconds, and the entries of a table when one of them had no room.
 */
import { mapFile } from '../../native-bindings/index.js';
import { FLOW_FILE, flowFileBytes, flowFileProblem, usedOf } from '../conntrack/flow-table.js';
import { DropReason } from '../dataplane/verdict.js';
import { readBeginning } from '../shared/read-beginning.js';
import { COUNTER, TOTALS } from '../table/counters.js';
import { addressText } from '../wire/address.js';
import { FAMILY } from '../wire/family.js';
import { type TopTalkers, topTalkers } from './top-talkers.js';

const CHECK_MS = 5000;
/** Between two messages. */
const QUIET_MS = 60_000;
const TALKERS = 5;

export interface FlowTableWatchOptions {
  /** Files of each worker. */
  readonly workers: readonly { readonly countersPath: string; readonly flowsPaths: readonly string[] }[];
  /** Flows in the table of one family of one worker. */
  readonly capacity: number;
  readonly warn: (message: string) => void;
  readonly nowMs: () => number;
}

/** What has happened for want of room. */
export interface Pressure {
  readonly evicted: number;
  readonly dropped: number;
}

export class FlowTableWatch {
  private readonly options: FlowTableWatchOptions;
  /** By worker: what has been told. */
  private told: Pressure[];
  private toldMs = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;

  constructor(options: FlowTableWatchOptions) {
    this.options = options;
    this.told = options.workers.map(({ countersPath }) => pressureOf(countersPath));
  }

  start(): void {
    this.timer = setInterval(() => this.check(), CHECK_MS);
    this.timer.unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Looks once, and speaks if there is something to say and a minute has passed. */
  check(): void {
    const { workers, capacity, warn, nowMs } = this.options;
    if (nowMs() - this.toldMs < QUIET_MS) return;
    for (const [worker, { countersPath, flowsPaths }] of workers.entries()) {
      const total = pressureOf(countersPath);
      const told = this.told[worker];
      const isNew = total.evicted < told.evicted || total.dropped < told.dropped; // the file was made anew
      const evicted = total.evicted - (isNew ? 0 : told.evicted);
      const dropped = total.dropped - (isNew ? 0 : told.dropped);
      this.told[worker] = total;
      if (evicted + dropped === 0) continue;
      const tables = flowsPaths.flatMap((path, family) => {
        const talkers = talkersOf(path, family, capacity);
        return talkers === null ? [] : [{ family, talkers }];
      });
      const [fuller] = tables.sort((a, b) => b.talkers.flows - a.talkers.flows);
      if (fuller === undefined) continue;
      warn(fullTableText(fuller.family, capacity, fuller.talkers, { evicted, dropped }));
      this.toldMs = nowMs();
    }
  }
}

/** "the IPv4 flow table is full (...): ...; most flows: 10.0.0.1 1,234 (1,200 unanswered), ...". */
export function fullTableText(
  family: number,
  capacity: number,
  { flows, unreplied, sources, top, step }: TopTalkers,
  { evicted, dropped }: Pressure,
): string {
  const name = family === FAMILY.V4 ? 'IPv4' : 'IPv6';
  const sampled = step === 1 ? '' : `, counted from every ${step}th`;
  const counts = `${text(flows)} of ${text(capacity)} flows, ${text(unreplied)} unanswered, ${text(sources)} sources${sampled}`;
  const talkers = top.map(
    (talker) =>
      `${addressText(Int32Array.from(talker.source), 0, talker.source.length)} ${text(talker.flows)} (${text(talker.unreplied)} unanswered)`,
  );
  return `the ${name} flow table is full (${counts}): ${text(evicted)} that were not established made room and ${text(dropped)} packets were dropped; most flows: ${talkers.join(', ')}; --max-flows makes room for more`;
}

const text = (count: number): string => count.toLocaleString('en-US');

/** A file that cannot be read, or not yet, has nothing to tell. */
function pressureOf(countersPath: string): Pressure {
  const totals = new Float64Array(TOTALS);
  if (readBeginning(countersPath, totals) === null) return { evicted: 0, dropped: 0 };
  return {
    evicted: totals[COUNTER.FLOWS_EVICTED],
    dropped: totals[COUNTER.DROPPED + DropReason.FlowTableFull],
  };
}

function talkersOf(path: string, family: number, capacity: number): TopTalkers | null {
  const bytes = flowFileBytes(family, capacity);
  // Looked at before it is mapped: mapping would make the file, or lengthen it.
  const header = new Int32Array(FLOW_FILE.BYTES / 4);
  const size = readBeginning(path, header);
  if (size === null || size < bytes || flowFileProblem(header, family) !== null) return null;
  const memory = mapFile(path, bytes);
  if (typeof memory === 'number') return null;
  return topTalkers(new Int32Array(memory, FLOW_FILE.BYTES), family, usedOf(header, capacity), TALKERS);
}

/**
 * What the number of Services costs the first packet of a flow, through a real TUN device and through the rules that kernel
 * iptables goes through one by one; and what a second worker brings.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { flowpinArgs } from '../src/lab/flowpin-up.js';
import { run } from '../src/lab/process.js';
import { type Figure, figureOf, type Skipped } from './figures.js';
import { buildLab, manifest } from './lab.js';
import { type Peer, peerUnavailable, type Running, startPeer } from './peers.js';
import { checkCarries, firstPacketUs, WORKLOADS } from './workloads.js';

const SERVICES = [10, 1000, 10_000, 100_000] as const;
const SERVICES_QUICK = [10, 1000] as const;
const FLOWS = 200;
const FLOWS_QUICK = 50;
const WORKERS = [1, 2] as const;
const WORKERS_WINDOWS = { bulk: [], seconds: 1, ms: 1000, warmMs: 300 };
const WORKERS_WINDOWS_QUICK = { bulk: [], seconds: 1, ms: 200, warmMs: 100 };

interface ScaleResult {
  readonly figures: Figure[];
  readonly skipped: Skipped[];
}

/** @param note is told what is going on, a line at a time */
export async function scaleFigures(
  rounds: number,
  quick: boolean,
  note: (line: string) => void,
): Promise<ScaleResult> {
  const result: ScaleResult = { figures: [], skipped: [] };
  const dir = await mkdtemp(join(tmpdir(), 'flowpin-bench-'));
  try {
    for (const services of SERVICES) {
      const id = `scale.first.${services}`;
      if (quick && !(SERVICES_QUICK as readonly number[]).includes(services)) {
        result.skipped.push({ id, peer: 'all', reason: 'loading so many is not quick' });
        continue;
      }
      note(`first packets, ${services} Services`);
      const file = join(dir, `${services}.json`);
      await writeFile(file, manifest(services));
      const contenders = (['flowpin', 'iptables'] as const).map((peer) => ({ id, unit: 'us', peer }));
      await compare(result, rounds, file, contenders, (running) =>
        firstPacketUs(running, quick ? FLOWS_QUICK : FLOWS),
      );
    }
    if (await knowsWorkers()) {
      note('workers');
      const file = join(dir, 'one.json');
      await writeFile(file, manifest());
      await compare(
        result,
        rounds,
        file,
        WORKERS.map((workers) => ({
          ...{ id: `scale.workers.${workers}`, unit: 'packets/s', peer: 'flowpin' },
          flags: ['--workers', String(workers)],
        })),
        (running) => manyFlows(running, quick),
      );
    } else {
      result.skipped.push({ id: 'scale.workers', peer: 'flowpin', reason: '`flowpin up` has no --workers' });
    }
    return result;
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** One column of a comparison. */
interface Contender {
  readonly id: string;
  readonly unit: string;
  readonly peer: Peer;
  /** For `flowpin up`. */
  readonly flags?: readonly string[];
}

/** Sets all contenders up, measures them in turns, and takes them down. */
async function compare(
  { figures, skipped }: ScaleResult,
  rounds: number,
  file: string,
  contenders: readonly Contender[],
  measure: (running: Running) => Promise<number>,
): Promise<void> {
  const started: { contender: Contender; running: Running; values: number[] }[] = [];
  for (const contender of contenders) {
    const { id, peer, flags } = contender;
    const lab = await buildLab();
    try {
      const missing = peerUnavailable(peer);
      if (missing !== null) throw new Error(missing);
      const running = await startPeer(peer, lab, file, flags);
      await checkCarries(running);
      started.push({ contender, running, values: [] });
    } catch (error) {
      skipped.push({ id, peer, reason: (error as Error).message });
      await lab.close();
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const { running, values } of started) values.push(await measure(running));
  }
  for (const { contender, running, values } of started) {
    figures.push(figureOf(contender.id, contender.unit, values, contender.peer));
    await running.lab.close();
  }
}

/** Datagrams of 1,000 flows delivered in a second. */
async function manyFlows(running: Running, quick: boolean): Promise<number> {
  const id = 'tun.udp64.1000';
  const workload = WORKLOADS.find(({ figures }) => id in figures);
  const measured = await workload?.measure(running, quick ? WORKERS_WINDOWS_QUICK : WORKERS_WINDOWS);
  const rate = measured?.get(id);
  if (rate === undefined) throw new Error(`no workload measures ${id}`);
  return rate;
}

async function knowsWorkers(): Promise<boolean> {
  const { stdout } = await run(process.execPath, flowpinArgs('up', '--help'));
  return stdout.includes('--workers');
}

/**
 * What the number of Services costs the first packet of a flow, through a real TUN device and through the rules that kernel
 * iptables goes through one by one; and what a second worker brings.
 */
import { type Figure, figureOf, type Skipped } from './figures.js';
import { buildLab, manifestFile } from './lab.js';
import { type Peer, peerUnavailable, type Running, startPeer } from './peers.js';
import { checkCarries, firstPacketUs, type Windows, WORKLOADS } from './workloads.js';

const SERVICES = [10, 1000, 10_000, 100_000] as const;
const SERVICES_QUICK = [10, 1000] as const;
const FLOWS = 200;
const FLOWS_QUICK = 50;
const WORKERS = [1, 2] as const;

interface ScaleResult {
  readonly figures: Figure[];
  readonly skipped: Skipped[];
}

/** @param note is told what is going on, a line at a time */
export async function scaleFigures(
  rounds: number,
  windows: Windows,
  quick: boolean,
  note: (line: string) => void,
): Promise<ScaleResult> {
  const result: ScaleResult = { figures: [], skipped: [] };
  for (const services of SERVICES) {
    const id = `scale.first.${services}`;
    if (quick && !(SERVICES_QUICK as readonly number[]).includes(services)) {
      result.skipped.push({ id, peer: 'all', reason: 'loading so many is not quick' });
      continue;
    }
    note(`first packets, ${services} Services`);
    const file = await manifestFile(services);
    const contenders = (['flowpin', 'iptables'] as const).map((peer) => ({ id, unit: 'us', peer }));
    await compare(result, rounds, file, contenders, (running) =>
      firstPacketUs(running, quick ? FLOWS_QUICK : FLOWS),
    );
  }
  note('workers');
  const contenders = WORKERS.map((workers) => ({
    ...{ id: `scale.workers.${workers}`, unit: 'packets/s', peer: 'flowpin' as const },
    flags: ['--workers', String(workers)],
  }));
  await compare(result, rounds, await manifestFile(), contenders, (running) => manyFlows(running, windows));
  return result;
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
    for (const { contender, running, values } of started) {
      try {
        values.push(await measure(running));
      } catch (error) {
        const reason = `round ${round + 1}: ${(error as Error).message}`;
        skipped.push({ id: contender.id, peer: contender.peer, reason });
      }
    }
  }
  for (const { contender, running, values } of started) {
    if (values.length > 0) figures.push(figureOf(contender.id, contender.unit, values, contender.peer));
    await running.lab.close();
  }
}

/** Datagrams of 1,000 flows delivered in a second. */
async function manyFlows(running: Running, windows: Windows): Promise<number> {
  const id = 'tun.udp64.1000';
  const workload = WORKLOADS.find(({ figures }) => id in figures);
  const rate = (await workload?.measure(running, windows))?.get(id);
  if (rate === undefined) throw new Error(`no workload measures ${id}`);
  return rate;
}

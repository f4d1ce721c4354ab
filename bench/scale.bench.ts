/**
 * What the number of Services costs the first packet of a flow, through a real TUN device and through the rules that kernel
 * iptables goes through one by one; and what a second worker brings.
 */
import { manifestFile } from './lab.js';
import type { Running } from './peers.js';
import { Turns, turned } from './turns.js';
import { firstPacketUs, udp, type Windows } from './workloads.js';

const SERVICES = [10, 1000, 10_000, 100_000] as const;
const QUICK_MAX = 1000;
const FLOWS = 200;
const FLOWS_QUICK = 50;
const WORKERS = [1, 2] as const;

/** @param note is told what is going on, a line at a time */
export async function measureScale(
  rounds: number,
  windows: Windows,
  quick: boolean,
  note: (line: string) => void,
): Promise<Turns> {
  const turns = new Turns();
  for (const services of SERVICES) {
    const id = `scale.first.${services}`;
    if (quick && services > QUICK_MAX) {
      turns.skipped.push({ id, peer: 'all', reason: 'loading so many is not quick' });
      continue;
    }
    note(`first packets, ${services} Services`);
    const manifest = await manifestFile(services);
    const running: Running[] = [];
    for (const peer of ['flowpin', 'iptables'] as const) {
      running.push(...(await turns.setUp(id, peer, manifest)));
    }
    for (let round = 0; round < rounds; round++) {
      for (const one of turned(running, round)) {
        await turns.take(one.peer, { [id]: 'us' }, async () => {
          return new Map([[id, await firstPacketUs(one, quick ? FLOWS_QUICK : FLOWS)]]);
        });
      }
    }
    for (const { lab } of running) await lab.close();
  }
  await measureWorkers(turns, rounds, windows, note);
  return turns;
}

async function measureWorkers(
  turns: Turns,
  rounds: number,
  windows: Windows,
  note: (line: string) => void,
): Promise<void> {
  note('workers');
  const manifest = await manifestFile();
  const set = [];
  for (const workers of WORKERS) {
    const workload = udp(`scale.workers.${workers}`, 64, 1000);
    const flags = ['--workers', String(workers)];
    const [running] = await turns.setUp(`scale.workers.${workers}`, 'flowpin', manifest, flags);
    if (running !== undefined) set.push({ running, workload });
  }
  for (let round = 0; round < rounds; round++) {
    for (const { running, workload } of turned(set, round)) {
      await turns.take(running.peer, workload.figures, () => workload.measure(running, windows));
    }
  }
  for (const { running } of set) await running.lab.close();
}

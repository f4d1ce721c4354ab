/**
 * Real traffic through a real TUN device, and through what else carries it, in namespaces. Within a round the peers take
 * turns at each workload, and every round begins with another peer: what the machine does besides hits all of them.
 */
import { onPath } from '../src/lab/sandbox.js';
import { manifestFile } from './lab.js';
import { PEERS, type Running } from './peers.js';
import { Turns, turned } from './turns.js';
import { type Windows, WORKLOADS } from './workloads.js';

/** @param note is told what is going on, a line at a time */
export async function measureTun(
  rounds: number,
  windows: Windows,
  note: (line: string) => void,
): Promise<Turns> {
  const turns = new Turns();
  const manifest = await manifestFile();
  const running: Running[] = [];
  for (const peer of PEERS) running.push(...(await turns.setUp('tun', peer, manifest)));
  const workloads = WORKLOADS.filter(({ tool, figures }) => {
    if (tool === undefined || onPath(tool)) return true;
    const reason = `${tool} is not installed: scripts/bench-setup installs it`;
    for (const id of Object.keys(figures)) turns.skipped.push({ id, peer: 'all', reason });
    return false;
  });
  for (let round = 0; round < rounds; round++) {
    note(`real TUN, round ${round + 1} of ${rounds}`);
    for (const { figures, carriedBy, measure } of workloads) {
      for (const one of turned(running, round).filter(({ peer }) => carriedBy(peer))) {
        await turns.take(one.peer, figures, () => measure(one, windows));
      }
    }
  }
  await Promise.all(running.map(({ lab }) => lab.close()));
  return turns;
}

/**
 * Real traffic through a real TUN device, and through what else carries it, in namespaces. Within a round the peers take
 * turns at each workload, and every round begins with another peer: what the machine does besides hits all of them.
 */
import { onPath } from '../src/lab/sandbox.js';
import { type Figure, figureOf, type Skipped } from './figures.js';
import { buildLab, manifestFile } from './lab.js';
import { PEERS, type Peer, peerUnavailable, type Running, startPeer } from './peers.js';
import { checkCarries, type Windows, WORKLOADS } from './workloads.js';

export interface TunResult {
  readonly figures: readonly Figure[];
  readonly skipped: readonly Skipped[];
}

/** @param note is told what is going on, a line at a time */
export async function tunFigures(
  rounds: number,
  windows: Windows,
  note: (line: string) => void,
): Promise<TunResult> {
  const skipped: Skipped[] = [];
  const file = await manifestFile();
  const running = await startPeers(file, skipped);
  try {
    const workloads = WORKLOADS.filter(({ tool, figures }) => {
      if (tool === undefined || onPath(tool)) return true;
      const reason = `${tool} is not installed: scripts/bench-setup installs it`;
      for (const id of Object.keys(figures)) skipped.push({ id, peer: 'all', reason });
      return false;
    });
    const values = new Rounds();
    for (let round = 0; round < rounds; round++) {
      note(`real TUN, round ${round + 1} of ${rounds}`);
      const turn = [...running.slice(round % running.length), ...running.slice(0, round % running.length)];
      for (const workload of workloads) {
        for (const one of turn.filter(({ peer }) => workload.carriedBy(peer))) {
          try {
            for (const [id, value] of await workload.measure(one, windows)) values.add(id, one.peer, value);
          } catch (error) {
            const reason = `round ${round + 1}: ${(error as Error).message}`;
            for (const id of Object.keys(workload.figures)) skipped.push({ id, peer: one.peer, reason });
          }
        }
      }
    }
    const units = Object.assign({}, ...workloads.map(({ figures }) => figures));
    return { figures: values.figures(units), skipped };
  } finally {
    await Promise.all(running.map(({ lab }) => lab.close()));
  }
}

/** Every peer that is there, at work and carrying traffic. */
export async function startPeers(manifestFile: string, skipped: Skipped[]): Promise<Running[]> {
  const running: Running[] = [];
  for (const peer of PEERS) {
    const missing = peerUnavailable(peer);
    if (missing !== null) {
      skipped.push({ id: 'tun', peer, reason: missing });
      continue;
    }
    const lab = await buildLab();
    try {
      const started = await startPeer(peer, lab, manifestFile);
      await checkCarries(started);
      running.push(started);
    } catch (error) {
      skipped.push({ id: 'tun', peer, reason: (error as Error).message });
      await lab.close();
    }
  }
  return running;
}

/** What the rounds measured, by figure and peer, in the order of their first coming. */
class Rounds {
  private readonly values = new Map<string, { id: string; peer: Peer; values: number[] }>();

  add(id: string, peer: Peer, value: number): void {
    const key = `${id} ${peer}`;
    const known = this.values.get(key);
    if (known === undefined) this.values.set(key, { id, peer, values: [value] });
    else known.values.push(value);
  }

  figures(units: { readonly [id: string]: string }): Figure[] {
    return [...this.values.values()].map(({ id, peer, values }) =>
      figureOf(id, units[id] ?? '', values, peer),
    );
  }
}

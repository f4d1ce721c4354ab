/**
 * What peers that take turns have measured. A peer that cannot be set up, or a measurement that fails, is noted with its
 * reason and stops nothing.
 */
import { type Figure, figureOf, type Skipped } from './figures.js';
import { buildLab } from './lab.js';
import { type Peer, peerUnavailable, type Running, startPeer } from './peers.js';
import { checkCarries, type Measured } from './workloads.js';

/** Units by figure id. */
export type Units = { readonly [id: string]: string };

export class Turns {
  readonly skipped: Skipped[] = [];
  private readonly values = new Map<string, { id: string; peer: Peer; unit: string; values: number[] }>();

  /**
   * Sets a peer up in a lab of its own and sees that traffic goes through it.
   * @param id what is not measured when it cannot be: a figure, or the part of the benchmark
   * @param flags further arguments for `flowpin up`
   */
  async setUp(id: string, peer: Peer, manifest: string, flags?: readonly string[]): Promise<Running[]> {
    const missing = peerUnavailable(peer);
    if (missing !== null) {
      this.skipped.push({ id, peer, reason: missing });
      return [];
    }
    const lab = await buildLab();
    try {
      const running = await startPeer(peer, lab, manifest, flags);
      await checkCarries(running);
      return [running];
    } catch (error) {
      this.skipped.push({ id, peer, reason: (error as Error).message });
      await lab.close();
      return [];
    }
  }

  /** One measurement in one round. */
  async take(peer: Peer, units: Units, measure: () => Promise<Measured>): Promise<void> {
    try {
      for (const [id, value] of await measure()) this.add(id, peer, units[id] ?? '', value);
    } catch (error) {
      for (const id of Object.keys(units)) {
        this.skipped.push({ id, peer, reason: (error as Error).message });
      }
    }
  }

  /** In the order in which their first values came. */
  figures(): Figure[] {
    return [...this.values.values()].map(({ id, peer, unit, values }) => figureOf(id, unit, values, peer));
  }

  private add(id: string, peer: Peer, unit: string, value: number): void {
    const key = `${id} ${peer}`;
    const known = this.values.get(key);
    if (known === undefined) this.values.set(key, { id, peer, unit, values: [value] });
    else known.values.push(value);
  }
}

/** The same in another order: round 0 begins with the first, round 1 with the second, ... */
export const turned = <One>(ones: readonly One[], round: number): One[] => {
  const first = ones.length === 0 ? 0 : round % ones.length;
  return [...ones.slice(first), ...ones.slice(0, first)];
};

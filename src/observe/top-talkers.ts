/** Who fills a flow table: sources by number of flows, counted over its entries. Not for the packet's way. */
import { ENTRY, ENTRY_WORDS, STATUS } from '../conntrack/entry.js';
import { ADDRESS_WORDS } from '../wire/family.js';

export interface Talker {
  /** The client's address in words. */
  readonly source: readonly number[];
  readonly flows: number;
  /** Of these, how many have not been answered. */
  readonly unreplied: number;
}

export interface TopTalkers {
  readonly flows: number;
  readonly unreplied: number;
  readonly sources: number;
  /** Most flows first. */
  readonly top: readonly Talker[];
  /** Every how manieth entry was looked at. The numbers above are multiplied by it; `sources` is not. */
  readonly step: number;
}

/** Entries looked at, at most: about 50 ms. */
const SAMPLE_MAX = 1 << 16;

/**
 * @param entries of a flow table, as its worker writes them
 * @param used how many of them may hold a flow
 * @param count talkers wanted
 */
export function topTalkers(
  entries: Int32Array,
  family: number,
  used: number,
  count: number,
  sampleMax = SAMPLE_MAX,
): TopTalkers {
  const entryWords = ENTRY_WORDS[family];
  const addressWords = ADDRESS_WORDS[family];
  const step = Math.max(1, Math.ceil(used / sampleMax));
  const flowsOf = new Map<string | number, { flows: number; unreplied: number }>();
  let flows = 0;
  let unreplied = 0;
  for (let number = 0; number < used; number += step) {
    const at = number * entryWords;
    const status = entries[at];
    if ((status & STATUS.LIVE) === 0) continue;
    const from = at + ENTRY.ORIGINAL;
    const source = addressWords === 1 ? entries[from] : entries.subarray(from, from + addressWords).join();
    let talker = flowsOf.get(source);
    if (talker === undefined) {
      talker = { flows: 0, unreplied: 0 };
      flowsOf.set(source, talker);
    }
    talker.flows++;
    flows++;
    if ((status & STATUS.SEEN_REPLY) !== 0) continue;
    talker.unreplied++;
    unreplied++;
  }
  const top = [...flowsOf]
    .sort(([, a], [, b]) => b.flows - a.flows)
    .slice(0, count)
    .map(([source, talker]) => ({
      source: typeof source === 'number' ? [source] : source.split(',').map(Number),
      flows: talker.flows * step,
      unreplied: talker.unreplied * step,
    }));
  return { flows: flows * step, unreplied: unreplied * step, sources: flowsOf.size, top, step };
}

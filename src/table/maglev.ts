/**
 * The lookup table of Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): every backend fills the table in the
 * order of its own permutation, in turns, so that shares are almost equal and few entries move when one backend goes.
 */
import { finish, mix } from '../shared/hash.js';
import { MAGLEV_SIZE } from './layout.js';

const OFFSET_SEED = 0x6d61676c;
const SKIP_SEED = 0x65762121;
const NAME_SEED = 0x666c6f77;

/** What identifies a backend, as one number: the hash of its address, in words, and its port. */
export const backendName = (address: readonly number[], port: number): number =>
  finish(address.reduce(mix, mix(NAME_SEED, port)));

/**
 * @param names of the backends, see `backendName`: not from their places in the list
 * @param weights turns a backend takes for one of weight 1; whole numbers from 1
 * @returns MAGLEV_SIZE indexes into `names`; all 0 for one name
 */
export function maglevTable(names: readonly number[], weights: readonly number[]): Uint32Array {
  const table = new Uint32Array(MAGLEV_SIZE).fill(0xffff_ffff);
  const place = names.map((name) => (finish(mix(OFFSET_SEED, name)) >>> 0) % MAGLEV_SIZE);
  const skip = names.map((name) => ((finish(mix(SKIP_SEED, name)) >>> 0) % (MAGLEV_SIZE - 1)) + 1);
  for (let filled = 0; ; ) {
    for (let backend = 0; backend < names.length; backend++) {
      for (let turns = weights[backend]; turns > 0; turns--) {
        let at = place[backend];
        while (table[at] !== 0xffff_ffff) at = (at + skip[backend]) % MAGLEV_SIZE;
        table[at] = backend;
        place[backend] = (at + skip[backend]) % MAGLEV_SIZE;
        if (++filled === MAGLEV_SIZE) return table;
      }
    }
  }
}

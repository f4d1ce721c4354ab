/**
 * A seeded 32-bit hash over words, for tables in memory. One multiplication a word, so that a tuple costs little; what that
 * leaves uneven, the end spreads. Words are the packet's bytes as this machine reads them; the hash never leaves
 * the machine, so byte order does not matter. test/shared/hash.test.ts holds it against random numbers.
 */

/** Odd, so that no step loses anything: of MurmurHash3 (Austin Appleby, public domain), as all of `finish`. */
const FACTOR = 0x85ebca6b | 0;

/** One more word mixed into a running hash. Begin with a seed, end with `finish`. */
export const mix = (hash: number, word: number): number => Math.imul(hash ^ (hash >>> 13) ^ word, FACTOR);

/** Spreads every input bit over all 32 output bits (fmix32). @returns an int32 */
export const finish = (hash: number): number => {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, FACTOR);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
};

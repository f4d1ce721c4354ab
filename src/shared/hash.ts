/**
 * A seeded 32-bit hash over words, for the service table and the flow table.
 *
 * The rounds are those of MurmurHash3_x86_32 (Austin Appleby, public domain): multiply, rotate, multiply, mix.
 * Words are the packet's bytes as this machine reads them; the hash never leaves the machine, so byte order
 * does not matter.
 */

const C1 = 0xcc9e2d51 | 0;
const C2 = 0x1b873593;

/** One more word mixed into a running hash. Begin with a seed, end with `finish`. */
export function mix(hash: number, word: number): number {
  let k = Math.imul(word, C1);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, C2);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** Spreads every input bit over all 32 output bits (fmix32). @returns an int32 */
export function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

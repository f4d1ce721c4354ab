/**
 * The hash of a frontend's place: of `count` address words at `at`, and `frontendKey(...)`.
 *
 * Two odd multipliers and shifts, less than half the work of shared/hash.ts, because nobody aims here: who may create
 * Services is trusted, and the table is made so that keys that meet are parted (displace.ts). Each step can be undone, so two
 * IPv4 addresses with one port never have the same hash. Fixed and not seeded: the same Services must give the same bytes.
 */
export function hashFrontend(words: Int32Array, at: number, count: number, key: number): number {
  let hash = Math.imul(key, FACTOR);
  for (let i = 0; i < count; i++) hash = Math.imul(hash ^ (hash >>> 15) ^ words[at + i], FACTOR);
  hash = Math.imul(hash ^ (hash >>> 15), LAST_FACTOR);
  return hash ^ (hash >>> 13);
}

/** Odd: the golden ratio's bits, and one of MurmurHash3's (Austin Appleby, public domain). */
const FACTOR = 0x9e3779b1 | 0;
const LAST_FACTOR = 0x85ebca6b | 0;

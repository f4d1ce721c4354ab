import { finish, mix } from '../shared/hash.js';

// Fixed and not drawn: the same Services must give the same bytes, and who may create Services is trusted.
const SEED = 0x666c6f77;

/** The hash of a frontend's place: of `count` address words at `at`, and `frontendKey(...)`. */
export function hashFrontend(words: Int32Array, at: number, count: number, key: number): number {
  let hash = mix(SEED, key);
  for (let i = 0; i < count; i++) hash = mix(hash, words[at + i]);
  return finish(hash);
}

import { finish, mix } from '../shared/hash.js';

/**
 * The hash of a frontend's place: of `count` address words at `at`, and `frontendKey(...)`. Fixed and not seeded: the same
 * Services must give the same bytes, and nobody aims here, because who may create Services is trusted.
 */
export function hashFrontend(words: Int32Array, at: number, count: number, key: number): number {
  let hash = mix(0, key);
  for (let i = 0; i < count; i++) hash = mix(hash, words[at + i]);
  return finish(hash);
}

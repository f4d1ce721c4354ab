/**
 * A place for every key of a hash table that is made once and then only read, so that a lookup looks at one place and never
 * walks (hash and displace, after Tarjan and Yao 1979; Belazzougui, Botelho and Dietzfelbinger 2009).
 *
 * Some bits of its hash put a key into a bucket, others give its slot; the keys of a bucket all move on by the
 * displacement of the bucket, and that is chosen so that each comes to a free slot. Buckets with many keys choose first.
 * Only keys that no displacement parts (their hashes are the same, or nearly) stand side by side and are walked to.
 */

/** Displacements are bytes, so that those of many buckets lie in little memory. */
const DISPLACEMENTS = 256;

/** Bits of the hash that choose the bucket come last in what gives the slot. */
const TURN = 14;

/** The bucket of a hash. @param mask number of buckets minus one; they are a power of two */
export const bucketOf = (hash: number, mask: number): number => hash & mask;

/** The slot of a hash. @param displacement of its bucket @param mask number of slots minus one; they are a power of two */
export const slotOf = (hash: number, displacement: number, mask: number): number =>
  (((hash >>> TURN) | (hash << (32 - TURN))) + displacement) & mask;

export interface Displaced {
  /** Of every bucket. */
  readonly displacements: Uint8Array;
  /** Of every key. */
  readonly slots: Int32Array;
  /** Slots that a lookup looks at, from `slotOf` on: 1, if all keys could be parted. */
  readonly probesMax: number;
}

/**
 * @param hashes of all keys
 * @param slotCount a power of two, more than there are keys
 * @param bucketCount a power of two; a quarter of the slots is a good number
 */
export function displace(hashes: Int32Array, slotCount: number, bucketCount: number): Displaced {
  const mask = slotCount - 1;
  const buckets = keysByBucket(hashes, bucketCount);
  const taken = new Uint8Array(slotCount);
  const displacements = new Uint8Array(bucketCount);
  const slots = new Int32Array(hashes.length);
  let probesMax = 1;

  /** Takes a slot for each key, or leaves all as it was. */
  const fits = (keys: readonly number[], displacement: number): boolean => {
    for (const [i, key] of keys.entries()) {
      const slot = slotOf(hashes[key], displacement, mask);
      if (taken[slot] === 1) {
        for (const before of keys.slice(0, i)) taken[slots[before]] = 0;
        return false;
      }
      taken[slot] = 1;
      slots[key] = slot;
    }
    return true;
  };

  for (const { bucket, keys } of buckets) {
    let displacement = 0;
    while (displacement < DISPLACEMENTS && !fits(keys, displacement)) displacement++;
    if (displacement < DISPLACEMENTS) {
      displacements[bucket] = displacement;
      continue;
    }
    for (const key of keys) {
      const first = slotOf(hashes[key], 0, mask);
      let probes = 1;
      while (taken[(first + probes - 1) & mask] === 1) probes++;
      slots[key] = (first + probes - 1) & mask;
      taken[slots[key]] = 1;
      probesMax = Math.max(probesMax, probes);
    }
  }
  return { displacements, slots, probesMax };
}

/** The buckets that have keys, those with the most first. */
function keysByBucket(hashes: Int32Array, count: number): { bucket: number; keys: number[] }[] {
  const buckets = new Map<number, number[]>();
  for (let key = 0; key < hashes.length; key++) {
    const bucket = bucketOf(hashes[key], count - 1);
    const keys = buckets.get(bucket);
    if (keys === undefined) buckets.set(bucket, [key]);
    else keys.push(key);
  }
  const list = [...buckets].map(([bucket, keys]) => ({ bucket, keys }));
  return list.sort((a, b) => b.keys.length - a.keys.length);
}

/**
 * A seeded generator of random numbers, so that the same seed and the same packets give the same bytes.
 *
 * xoshiro128** 1.1 (Blackman and Vigna, public domain; https://prng.di.unimi.it), with its 128 bits of state
 * filled from a 32-bit seed through splitmix32. Not for secrets: it spreads load, it hides nothing.
 */
export class Random {
  // A typed array and not four fields: a field that leaves the small-integer range would allocate.
  private readonly state = new Int32Array(4);

  /** @param seed any number; its low 32 bits are used */
  constructor(seed: number) {
    let s = seed | 0;
    for (let i = 0; i < 4; i++) {
      s = (s + 0x9e3779b9) | 0;
      let z = s;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      this.state[i] = z ^ (z >>> 15);
    }
  }

  /** @returns 32 random bits as an int32 */
  next32(): number {
    const s = this.state;
    const s1 = s[1];
    let result = Math.imul(s1, 5);
    result = Math.imul((result << 7) | (result >>> 25), 9);
    s[2] ^= s[0];
    s[3] ^= s1;
    s[1] = s1 ^ s[2];
    s[0] ^= s[3];
    s[2] ^= s1 << 9;
    const s3 = s[3];
    s[3] = (s3 << 11) | (s3 >>> 21);
    return result;
  }

  /** @returns 31 random bits, 0 to 2^31 - 1: what the kernel's statistic match draws (xt_statistic.c) */
  next31(): number {
    return this.next32() & 0x7fffffff;
  }

  /** @returns an integer from 0 to `bound` - 1, for a bound up to 2^16; the bias is below 2^-15 */
  below(bound: number): number {
    return Math.floor((this.next31() / 0x80000000) * bound);
  }
}

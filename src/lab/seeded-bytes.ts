// Pseudo-random bytes that both ends of a transfer can make from the same seed: incompressible, not repeating, cheap.

/** Fills buffers with the bytes of one seed, one after another; xorshift32 (Marsaglia, Xorshift RNGs, 2003). */
export class SeededBytes {
  private state: number;

  /** `seed`: any integer; 0 is replaced, it is the generator's one fixed point. */
  constructor(seed: number) {
    this.state = seed | 0 || 0x9e3779b9 | 0;
  }

  /** The next `length` bytes. A sequence of calls gives the same bytes as one call only for lengths divisible by 4. */
  next(length: number): Buffer {
    const words = new Int32Array(Math.ceil(length / 4));
    let x = this.state;
    for (let at = 0; at < words.length; at++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      words[at] = x;
    }
    this.state = x;
    return Buffer.from(words.buffer, 0, length);
  }
}

/**
 * How many flows every endpoint has, for the algorithms that ask. Each worker counts its own in a row of words that no other
 * writes, so that counting takes no Atomics, and one that starts in the place of another counts anew what it finds.
 *
 *   flows of endpoint ids 0, 1, 2 ... at worker 0 | at worker 1 | ...
 */
import { assert } from '../shared/assert.js';
import type { Share } from './owner.js';

export class ActiveFlows {
  /** Flows of every endpoint id at this worker, for its flow tables to count in. */
  readonly own: Int32Array;
  private readonly words: Int32Array;

  /** @param words shared by all workers: a row for each, as long as endpoint ids go */
  constructor(words: Int32Array, { worker, workers }: Share) {
    const rowWords = words.length / workers;
    assert(Number.isInteger(rowWords), 'every worker has a row');
    this.words = words;
    this.own = words.subarray(worker * rowWords, (worker + 1) * rowWords);
    this.own.fill(0);
  }

  /** Flows of an endpoint at all workers. */
  of(endpoint: number): number {
    const { words } = this;
    const rowWords = this.own.length;
    let sum = 0;
    for (let at = endpoint; at < words.length; at += rowWords) sum += words[at];
    return sum;
  }
}

/**
 * Which worker a packet belongs to. A client's address and port fall into one of SHARDS shards, and shard s belongs to
 * worker s mod workers: a function of the packet alone, so that both ways of a flow come to one worker, nothing about flows
 * is ever shared, and two first packets of one tuple cannot be given two endpoints.
 *
 *   shard = (top byte of the stirred address words + top byte of (port x PORT_FACTOR mod 2^16)) mod 256
 *
 * The port's part is a bijection, so a port of a wanted shard is worked out and not searched for: a masqueraded flow gets a
 * port that puts its replies into its client's shard. The number of shards does not depend on the number of workers, so
 * that flows written down by two workers are whole flows for three. host/steering.ts computes the same in the kernel.
 */
import { half } from '../wire/byte-order.js';

/** A power of two, and no fewer than there may be workers. */
export const SHARDS = 256;
export const WORKERS_MAX = 64;

/** Odd multipliers, the golden ratio's bits: 32 of them for words, 16 for ports. */
export const WORD_FACTOR = 0x9e3779b1 | 0;
export const PORT_FACTOR = 0x9e37;
/** PORT_FACTOR x PORT_INVERSE mod 2^16 is 1. */
const PORT_INVERSE = 0x7787;
/** High bits come down so far after each multiplication. */
export const STIR_SHIFT = 15;
/** The top byte, which every bit of what was stirred in has a say in. */
export const TOP_SHIFT = 24;

/** The part that one worker has. */
export interface Share {
  readonly worker: number;
  readonly workers: number;
}

/** All of it. */
export const ALONE: Share = { worker: 0, workers: 1 };

/** One more word stirred into a running sum; begin with 0. */
export function stir(sum: number, word: number): number {
  const stirred = Math.imul(sum ^ word, WORD_FACTOR);
  return stirred ^ (stirred >>> STIR_SHIFT);
}

/** The stirred sum of `count` address words at `at`. */
export function stirWords(words: Int32Array, at: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum = stir(sum, words[at + i]);
  return sum;
}

/** The shard of a client. @param address its `stirWords` @param port as a half */
export const shardOf = (address: number, port: number): number =>
  ((address >>> TOP_SHIFT) + (((half(port) * PORT_FACTOR) & 0xffff) >>> 8)) & (SHARDS - 1);

/**
 * A port that puts an address into a shard.
 * @param address its `stirWords`
 * @param low any of 256 numbers: each gives another port
 * @returns the port as a half
 */
export const portOfShard = (address: number, shard: number, low: number): number =>
  half((((((shard - (address >>> TOP_SHIFT)) & (SHARDS - 1)) << 8) | low) * PORT_INVERSE) & 0xffff);

/** The shard of a datagram's fragments. @param key the stirred sum of addresses and identification */
export const datagramShardOf = (key: number): number => key >>> TOP_SHIFT;

export const ownerOf = (shard: number, workers: number): number => shard % workers;

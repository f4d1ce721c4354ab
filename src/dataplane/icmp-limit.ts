/**
 * How many ICMP errors flowpin makes: the kernel's two limits with its defaults (net/ipv4/icmp.c, net/ipv6/icmp.c;
 * Documentation/networking/ip-sysctl.rst), since REJECT rules answer through them. One for each address that is answered,
 * against a client that asks again and again; one for all, so that a flood from forged sources is no flood of errors.
 *
 * A token bucket is one number: the time when it will be full again. A token puts that off by its interval, and there is
 * none left when it would be further away than all of them together. Addresses have buckets by their hash: two that meet in
 * one share it, and a flood that empties all of them would have emptied the one for all before.
 */
import { finish, mix } from '../shared/hash.js';

/** icmp_ratelimit, by family: milliseconds for a token; and XRLIM_BURST_FACTOR, how many there are at most. */
const EACH_MS = [1000, 100] as const;
const EACH_BURST = 6;
/** icmp_msgs_per_sec and icmp_msgs_burst. */
const ALL_MS = 1000 / 1000;
const ALL_BURST = 50;

const BUCKETS = 1 << 12;

export class IcmpLimit {
  private readonly seed: number;
  /** Millisecond when each bucket is full; the last is the one for all. */
  private readonly fullMs = new Float64Array(BUCKETS + 1);

  /** @param seed so that nobody can tell whose bucket an address shares */
  constructor(seed: number) {
    this.seed = seed;
  }

  /** Takes a token of each kind, or none. @returns whether an error may be sent to the address at `at` of `words` now */
  allows(words: Int32Array, at: number, count: number, family: number, nowMs: number): boolean {
    const { fullMs } = this;
    let hash = this.seed;
    for (let i = 0; i < count; i++) hash = mix(hash, words[at + i]);
    const bucket = finish(hash) & (BUCKETS - 1);
    const eachMs = EACH_MS[family];
    const each = Math.max(fullMs[bucket], nowMs) + eachMs;
    const all = Math.max(fullMs[BUCKETS], nowMs) + ALL_MS;
    if (each > nowMs + EACH_BURST * eachMs || all > nowMs + ALL_BURST * ALL_MS) return false;
    fullMs[bucket] = each;
    fullMs[BUCKETS] = all;
    return true;
  }
}

// What a host's network looks like to its administrator, as text: what `flowpin up` may change and must put back.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from './host.js';

/** One question and its answer, several lines of text. */
export type HostState = ReadonlyMap<string, string>;

/** The commands a person would type to look, with options that show as much as there is. */
const QUESTIONS = [
  'ip -d link show',
  'ip address show',
  'ip -4 rule show',
  'ip -6 rule show',
  'ip -4 route show table all',
  'ip -6 route show table all',
  'cat /proc/sys/net/ipv4/ip_forward',
  'cat /proc/sys/net/ipv6/conf/all/forwarding',
  'cat /proc/sys/net/ipv4/conf/all/rp_filter',
  'ls -A /run/flowpin',
] as const;

/** Asks now. A question without an answer (no IPv6, no such directory) is answered by what was said instead. */
export async function hostState(host: Host): Promise<HostState> {
  const mark = '--- next answer';
  const script = QUESTIONS.map((question) => `${question} 2>&1; echo '${mark}'`).join('\n');
  const { stdout } = await host.run('sh', ['-c', script]);
  const answers = stdout.split(`${mark}\n`);
  return new Map(QUESTIONS.map((question, at) => [question, (answers[at] ?? '').trim()]));
}

/**
 * Asks until two answers 50 ms apart agree: a device that has just come up still gets its carrier and its link-local
 * address. Throws when nothing settles in 5 s.
 */
export async function settledHostState(host: Host): Promise<HostState> {
  let before = await hostState(host);
  for (let round = 0; round < 100; round++) {
    await sleep(50);
    const now = await hostState(host);
    if (stateChanges(before, now).length === 0) return now;
    before = now;
  }
  throw new Error(`the network of host ${host.name} does not settle`);
}

/** The lines that appeared (`+`) and disappeared (`-`), each with its question; empty when the states are the same. */
export function stateChanges(before: HostState, after: HostState): string[] {
  const changes: string[] = [];
  for (const question of new Set([...before.keys(), ...after.keys()])) {
    const was = (before.get(question) ?? '').split('\n');
    const is = (after.get(question) ?? '').split('\n');
    changes.push(...without(was, is).map((line) => `${question}: - ${line.trim()}`));
    changes.push(...without(is, was).map((line) => `${question}: + ${line.trim()}`));
  }
  return changes;
}

/** The elements of `list` left when each element of `other` has taken away one equal to it. */
function without(list: readonly string[], other: readonly string[]): string[] {
  const remaining = [...list];
  for (const element of other) {
    const at = remaining.indexOf(element);
    if (at !== -1) remaining.splice(at, 1);
  }
  return remaining;
}

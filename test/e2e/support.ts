// What the end-to-end tests share: a tap whose tests run inside a sandbox, and the Services they use.

import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { STATE_DIR } from '../../src/lab/flowpin-up.js';
import { HTTPENV_FILE } from '../../src/lab/httpenv.js';
import { packageFile } from '../../src/lab/package-root.js';
import { enterSandbox, sandboxUnavailable } from '../../src/lab/sandbox.js';
import { type CountersSnapshot, readCounters } from '../../src/observe/counters.js';

export type Tap = typeof import('tap').t;

/**
 * Call it first, and once, in a test file: outside it runs the same file again inside a new sandbox, whose TAP is then
 * this file's, and never returns; inside it gives tap. Where no sandbox can be made the whole file is one skip with
 * the reason.
 */
export async function tapInSandbox(): Promise<Tap> {
  const why = sandboxUnavailable();
  // tap's runner hooks into every child through NODE_OPTIONS; the commands under test run as their users run them.
  if (why === null) await enterSandbox({ plainNode: true });
  // Not before: the outer process must not print TAP of its own.
  const { t } = await import('tap');
  t.setTimeout(FILE_TIMEOUT_MS);
  if (why !== null) {
    t.test('needs a sandbox', { skip: why }, () => {});
    t.end();
    process.exit(0);
  }
  return t;
}

/** For a whole file, on a machine busy with other things; each takes a few seconds on an idle one. */
export const FILE_TIMEOUT_MS = 120_000;

/** Manifests for `flowpin up`: the seed's httpenv, and what the tests need beside it. */
export const FILES: readonly string[] = [HTTPENV_FILE, packageFile('test', 'e2e', 'services.yaml')];

/** ADDRESS:PORT of the Services in services.yaml. */
export const TRANSFER = '10.96.1.1:9000';
export const ECHO = '10.96.1.2:9001';
export const EMPTY_TCP = '10.96.1.3:80';
export const EMPTY_UDP = '10.96.1.3:53';

/** Where the endpoints of TRANSFER and ECHO listen, in the order of the hosts endpoint-0, -1, -2. */
export const endpointsAt = (port: number): string[] =>
  ['10.244.0.3', '10.244.1.2', '10.244.2.2'].map((a) => `${a}:${port}`);

/**
 * The counters when they have come to rest. What the node's own clients are told by ICMP comes by once more, as a copy, up to
 * 50 ms later; and a packet that is handed over is counted by two workers.
 */
export async function countersAtRest(): Promise<CountersSnapshot> {
  let before = readCounters(STATE_DIR);
  for (let round = 0; round < 40; round++) {
    await sleep(150);
    const now = readCounters(STATE_DIR);
    if (isDeepStrictEqual(now, before)) return now;
    before = now;
  }
  return before;
}

/** The last line of output as JSON. */
export function lastJson<T>(stdout: string): T {
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as T;
}

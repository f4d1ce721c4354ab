/** What a running proxy is told: one frozen value, made from the command line and a configuration file, and checked once. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { WORKERS_MAX } from './conntrack/owner.js';
import { type TimeoutName, timeoutsOf } from './conntrack/timeouts.js';
import type { ConntrackSettings, Settings } from './control/config/settings.js';
import type { SnatPool } from './host/snat-pool.js';
import { powerOfTwoAtLeast } from './shared/assert.js';

export interface ProxyConfig {
  /** Manifest files and directories. */
  readonly files: readonly string[];
  /** Name of the TUN device, 15 bytes at most (IFNAMSIZ). */
  readonly tun: string;
  /** One of each family, IPv4 first. */
  readonly snatPools: readonly SnatPool[];
  readonly stateDir: string;
  /** Dataplane workers, each with its queue of the device. */
  readonly workers: number;
  /** Super-packets and unfinished checksums, in and out. */
  readonly offload: boolean;
  /** Of every random choice; the same seed and packets give the same bytes. */
  readonly seed: number;
  readonly settings: Settings;
}

export const DEFAULT_TUN = 'flowpin0';
/** RFC 2544: benchmarking, used nowhere in earnest; and the same digits as a unique local address (RFC 4193). */
export const DEFAULT_SNAT_POOLS = ['198.18.0.0/24', 'fd00:198:18::/120'] as const;
export const defaultStateDir = (tun: string): string => join('/run/flowpin', tun);

/** One worker a core. The kernel would give out 256 queues (MAX_TAP_QUEUES). */
export const defaultWorkers = (): number => Math.min(WORKERS_MAX, availableParallelism());

/** Flows of one family: twice kube-proxy's floor for nf_conntrack_max (conntrack.min, 131,072). */
export const FLOW_CAPACITY = 1 << 18;
const FLOW_CAPACITY_MIN = 1 << 12;
export const FLOW_CAPACITY_MAX = 1 << 22;
/** Ten years: a second on the clock and this much more fit a word. */
const TIMEOUT_SEC_MAX = 315_360_000;

/**
 * Flows of one family in the table of one worker: --max-flows, or as kube-proxy works out nf_conntrack_max, the larger of
 * conntrack.min and maxPerCore for every core. A power of two, rounded up.
 */
export function flowCapacityOf(conntrack: ConntrackSettings, workers: number): number {
  const flows = flowsOf(conntrack) / workers;
  return Math.min(FLOW_CAPACITY_MAX, Math.max(FLOW_CAPACITY_MIN, powerOfTwoAtLeast(flows)));
}

function flowsOf({ maxFlows, maxPerCore, min }: ConntrackSettings): number {
  if (maxFlows !== null) return maxFlows;
  if (maxPerCore === 0 || (maxPerCore === null && min === null)) return FLOW_CAPACITY; // 0: "leave the limit as it is"
  return Math.max((maxPerCore ?? 0) * availableParallelism(), min ?? 0);
}

/** The timeouts of the workers: the profile's, but for what is configured. A part of a second counts as a whole one. */
export function flowTimeoutsOf(conntrack: ConntrackSettings): Int32Array {
  const given: Partial<Record<TimeoutName, number>> = {};
  const take = (name: TimeoutName, ms: number | null): void => {
    if (ms !== null) given[name] = Math.min(TIMEOUT_SEC_MAX, Math.max(1, Math.ceil(ms / 1000)));
  };
  take('tcpTimeoutEstablished', conntrack.tcpEstablishedTimeoutMs);
  take('tcpTimeoutCloseWait', conntrack.tcpCloseWaitTimeoutMs);
  take('udpTimeout', conntrack.udpTimeoutMs);
  take('udpTimeoutStream', conntrack.udpStreamTimeoutMs);
  return timeoutsOf(conntrack.profile, given);
}

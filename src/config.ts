/** What a running proxy is told: one frozen value, made from the command line and a configuration file, and checked once. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
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
  /** Of every random choice; the same seed and packets give the same bytes. */
  readonly seed: number;
  readonly settings: Settings;
}

export const DEFAULT_TUN = 'flowpin0';
/** RFC 2544: benchmarking, used nowhere in earnest; and the same digits as a unique local address (RFC 4193). */
export const DEFAULT_SNAT_POOLS = ['198.18.0.0/24', 'fd00:198:18::/120'] as const;
export const defaultStateDir = (tun: string): string => join('/run/flowpin', tun);

/** Flows of one family in a worker's table: kube-proxy's floor for nf_conntrack_max is 131,072 (conntrack.min). */
export const FLOW_CAPACITY = 1 << 18;
const FLOW_CAPACITY_MIN = 1 << 12;
const FLOW_CAPACITY_MAX = 1 << 22;

/** As kube-proxy works out nf_conntrack_max: the larger of conntrack.min and maxPerCore for every core. */
export function flowCapacityOf({ maxPerCore, min }: ConntrackSettings, workers: number): number {
  if (maxPerCore === null && min === null) return FLOW_CAPACITY;
  if (maxPerCore === 0) return FLOW_CAPACITY; // "leave the limit as it is"
  const flows = Math.max((maxPerCore ?? 0) * availableParallelism(), min ?? 0) / workers;
  return Math.min(FLOW_CAPACITY_MAX, Math.max(FLOW_CAPACITY_MIN, powerOfTwoAtLeast(flows)));
}

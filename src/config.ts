/** What a running proxy is told: one frozen value, made from the command line and checked once. */
import { join } from 'node:path';
import type { SnatPool } from './host/snat-pool.js';

export interface ProxyConfig {
  /** Manifest files and directories. */
  readonly files: readonly string[];
  /** Name of the TUN device, 15 bytes at most (IFNAMSIZ). */
  readonly tun: string;
  readonly snatPool: SnatPool;
  readonly stateDir: string;
  /** Of every random choice; the same seed and packets give the same bytes. */
  readonly seed: number;
}

export const DEFAULT_TUN = 'flowpin0';
export const DEFAULT_SNAT_POOL = '198.18.0.0/24'; // RFC 2544: benchmarking, used nowhere in earnest
export const defaultStateDir = (tun: string): string => join('/run/flowpin', tun);

/** Flows in a worker's table: kube-proxy's floor for nf_conntrack_max is 131,072 (conntrack.min). */
export const FLOW_CAPACITY = 1 << 18;

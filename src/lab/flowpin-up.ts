// `flowpin up`, the real command, on a host of the lab.

import { fileURLToPath } from 'node:url';
import { DEFAULT_TUN, defaultStateDir } from '../config.js';
import type { Host } from './host.js';
import type { LabProcess } from './process.js';

export interface UpOptions {
  /** Files or directories of manifests. */
  readonly files: readonly string[];
  /** Further arguments. */
  readonly args?: readonly string[];
}

/** Name of the device it makes; the state directory is named after it. */
export const TUN_NAME = DEFAULT_TUN;
export const STATE_DIR: string = defaultStateDir(TUN_NAME);

const READY_TIMEOUT_MS = 20_000;

/** Starts it and waits until packets flow. Rejects with what it said when it ends or does not get there in 20 s. */
export async function startUp(host: Host, options: UpOptions): Promise<LabProcess> {
  const up = host.spawn(process.execPath, upArgs(options));
  await up.line(/^ready/, READY_TIMEOUT_MS);
  return up;
}

/** Arguments for Node.js that run `flowpin up`. */
export function upArgs({ files, args = [] }: UpOptions): string[] {
  return flowpinArgs('up', ...files.flatMap((file) => ['-f', file]), '--tun', TUN_NAME, ...args);
}

/** Arguments for Node.js that run any flowpin command. */
export function flowpinArgs(...args: string[]): string[] {
  return [fileURLToPath(new URL('../cli/main.js', import.meta.url)), ...args];
}

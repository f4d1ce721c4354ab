/** Where and with what the figures were measured. */
import { cpus, release, totalmem } from 'node:os';
import { run } from '../src/lab/process.js';

export const machineFacts = (): { readonly [fact: string]: string | number } => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
});

const VERSION_FLAGS = {
  iptables: '--version',
  nft: '--version',
  haproxy: '-v',
  iperf3: '--version',
  wrk: '-v',
  cc: '-dumpfullversion',
} as const;

/** What each program says of itself, from its version number on; those that are not installed are left out. */
export async function versions(): Promise<{ readonly [program: string]: string }> {
  const found: { [program: string]: string } = { node: process.version };
  for (const [program, flag] of Object.entries(VERSION_FLAGS)) {
    const { code, stdout, stderr } = await run(program, [flag]);
    const [line = ''] = (stdout.trim() || stderr.trim()).split('\n');
    // wrk's exit code says nothing. In parentheses stands which iptables it is.
    const [version] = /\d+\.\d[^ ]*( \(\w+\))?/.exec(line) ?? [];
    if (code !== 127 && version !== undefined) found[program] = version;
  }
  return found;
}

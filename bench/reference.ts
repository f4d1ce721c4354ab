/** The programs of bench/reference/: C for the load and for the limit, compiled into dist/ when they have changed. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageFile } from '../src/lab/package-root.js';
import { run } from '../src/lab/process.js';

const PROGRAMS = ['c-loop', 'udp', 'http-server', 'connections', 'cpu-time', 'checksums'] as const;
export type Program = (typeof PROGRAMS)[number];

/** Path of a compiled C program. */
export const program = (name: Program): string => packageFile('dist', 'bench', 'reference', name);

/** Path of wrk's report script. */
export const WRK_REPORT = packageFile('bench', 'reference', 'wrk-report.lua');

/** Path of a compiled entry script of this folder. */
export const script = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

/** Rejects with what the compiler said. */
export async function compileReference(): Promise<void> {
  for (const name of PROGRAMS) {
    const source = packageFile('bench', 'reference', `${name}.c`);
    const output = program(name);
    const built = statSync(output, { throwIfNoEntry: false });
    if (built !== undefined && built.mtimeMs > statSync(source).mtimeMs) continue;
    mkdirSync(dirname(output), { recursive: true });
    const { code, stderr } = await run('cc', ['-O2', '-o', output, source], { timeoutMs: 60_000 });
    if (code !== 0) throw new Error(`bench/reference/${name}.c did not compile: ${stderr.trim()}`);
  }
}

import { run } from '../src/lab/process.js';

/** What a Node.js process of its own prints, which is JSON. Rejects with what it complains about. */
export async function printedBy<T>(args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await run(process.execPath, args, { timeoutMs: 120_000 });
  if (code !== 0) throw new Error(`${args.join(' ')} failed: ${stderr.trim()}`);
  return JSON.parse(stdout) as T;
}

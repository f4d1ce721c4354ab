/**
 * One change to the host: what does it, and what takes it back. Changes are words of a command that a person can
 * repeat by hand: `ip ...` (iproute2) or `sysctl -w NAME=VALUE`.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

export type Command =
  | { readonly tool: 'ip'; readonly words: string }
  | { readonly tool: 'sysctl'; readonly name: string; readonly value: string };

export interface Change {
  readonly apply: Command;
  /** Absent when another change's undo takes this one back too (a route goes with its device). */
  readonly undo?: Command;
}

export const ip = (words: string): Command => ({ tool: 'ip', words });
export const sysctl = (name: string, value: string): Command => ({ tool: 'sysctl', name, value });

/** The command as a person would type it. */
export const commandText = (command: Command): string =>
  command.tool === 'ip' ? `ip ${command.words}` : `sysctl -w ${command.name}=${command.value}`;

/**
 * Runs commands in order and stops at the first that fails. Neighbouring `ip` commands go through one `ip -batch`, so
 * that ten thousand routes take one process.
 * @returns how many succeeded, and what the failed one said
 */
export function runCommands(commands: readonly Command[]): { done: number; failure?: string } {
  let done = 0;
  while (done < commands.length) {
    const first = commands[done];
    if (first.tool === 'sysctl') {
      const failure = writeSysctl(first.name, first.value);
      if (failure !== undefined) return { done, failure };
      done++;
      continue;
    }
    const lines: string[] = [];
    for (let i = done; i < commands.length; i++) {
      const command = commands[i];
      if (command.tool !== 'ip') break;
      lines.push(command.words);
    }
    const { failedLine, failure } = runIpBatch(lines);
    if (failure !== undefined) return { done: done + failedLine - 1, failure };
    done += lines.length;
  }
  return { done };
}

const sysctlPath = (name: string): string => `/proc/sys/${name.replaceAll('.', '/')}`;

/** @throws Error when there is no such setting */
export const readSysctl = (name: string): string => readFileSync(sysctlPath(name), 'utf8').trim();

function writeSysctl(name: string, value: string): string | undefined {
  try {
    writeFileSync(sysctlPath(name), value);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** @returns the number (from 1) of the line that failed with what `ip` said, or neither */
function runIpBatch(lines: readonly string[]): { failedLine: number; failure?: string } {
  const { status, stderr, error } = spawnSync('ip', ['-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
  });
  if (error !== undefined) return { failedLine: 1, failure: `ip: ${error.message}` };
  if (status === 0) return { failedLine: 0 };
  // ip closes with "Command failed -:3" after the reason.
  const failedLine = Number(/^Command failed .*:(\d+)$/m.exec(stderr)?.[1] ?? 1);
  return {
    failedLine,
    failure: stderr.replace(/^Command failed .*$/m, '').trim() || `ip ended with status ${status}`,
  };
}

/**
 * One change to the host: what does it, and what takes it back. Changes are words of a command that a person can
 * repeat by hand: `ip ...` (iproute2) or `sysctl -w NAME=VALUE`.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Family } from '../wire/address.js';

export type Command =
  | { readonly tool: 'ip'; readonly family: Family; readonly words: string }
  | { readonly tool: 'sysctl'; readonly name: string; readonly value: string };

export interface Change {
  readonly apply: Command;
  /** Takes this one change back. Absent where only the undo of an earlier change can (a device's own settings). */
  readonly undo?: Command;
  /** It goes with its device: at the stop its undo need not be run, nor be in the journal. */
  readonly goesWithDevice?: true;
  /** One Service's own: when it fails the rest is made all the same. */
  readonly ofService?: true;
  /** Living flows may need it when no Service does any more: it is taken back late (see AppliedChanges). */
  readonly lingers?: true;
  /** The same, and it is taken back at the stop only. */
  readonly stays?: true;
}

/** @param words without "-6": that is the family's */
export const ip = (words: string, family: Family = 'IPv4'): Command => ({ tool: 'ip', family, words });
/** @param name with dots between its parts; a dot in a device's name is written "/", as sysctl(8) has it */
export const sysctl = (name: string, value: string): Command => ({ tool: 'sysctl', name, value });

/** The command as a person would type it. Two changes are the same when these texts are. */
export function commandText(command: Command): string {
  if (command.tool === 'sysctl') return `sysctl -w ${command.name}=${command.value}`;
  return command.family === 'IPv6' ? `ip -6 ${command.words}` : `ip ${command.words}`;
}

export interface CommandFailure {
  /** Position in the given list. */
  readonly index: number;
  readonly reason: string;
}

/**
 * Runs commands in order. Neighbouring `ip` commands of one family go through one `ip -batch`, so that ten thousand
 * routes take one process.
 * @param mayFail whether to go on behind the command at an index when it fails
 * @returns the failures; the last of them is where the run ended, unless it may fail
 */
export function runCommands(
  commands: readonly Command[],
  mayFail: (index: number) => boolean = () => false,
): CommandFailure[] {
  const failures: CommandFailure[] = [];
  for (let start = 0; start < commands.length; ) {
    const end = runEnd(commands, start, mayFail);
    const found = runTogether(commands.slice(start, end), mayFail(start)).map(({ index, reason }) => ({
      index: start + index,
      reason,
    }));
    failures.push(...found);
    const last = found.at(-1);
    if (last !== undefined && !mayFail(last.index)) return failures;
    start = end;
  }
  return failures;
}

/** @returns where the commands end that can be handed over together with the one at `start` */
function runEnd(commands: readonly Command[], start: number, mayFail: (index: number) => boolean): number {
  const kind = (index: number): string => {
    const command = commands[index];
    return command?.tool === 'ip' ? `${command.family} ${mayFail(index)}` : '';
  };
  let end = start + 1;
  while (end < commands.length && kind(start) !== '' && kind(end) === kind(start)) end++;
  return end;
}

/** @param commands one sysctl, or `ip` commands of one family @param goOn also behind a failed one */
function runTogether(commands: readonly Command[], goOn: boolean): CommandFailure[] {
  const [first] = commands;
  if (first === undefined) return [];
  if (first.tool === 'sysctl') return writeSysctl(first.name, first.value);
  const lines = commands.map((command) => (command.tool === 'ip' ? command.words : ''));
  return runIpBatch(first.family, lines, goOn);
}

/** "net.ipv4.conf.eth0/100.rp_filter" -> the file of eth0.100's setting. */
const sysctlPath = (name: string): string =>
  `/proc/sys/${name
    .split('.')
    .map((part) => part.replaceAll('/', '.'))
    .join('/')}`;

/** @returns null when there is no such setting, or it cannot be read */
export function readSysctl(name: string): string | null {
  try {
    return readFileSync(sysctlPath(name), 'utf8').trim();
  } catch {
    return null;
  }
}

function writeSysctl(name: string, value: string): CommandFailure[] {
  try {
    writeFileSync(sysctlPath(name), value);
    return [];
  } catch (error) {
    return [{ index: 0, reason: (error as Error).message }];
  }
}

/** How ip(8) ends at words that it does not know: at once, `-force` or not, and without the line's number. */
const IP_UNKNOWN_WORDS = 255;

function runIpBatch(family: Family, lines: readonly string[], goOn: boolean): CommandFailure[] {
  const { failures, status, rest } = ipBatch(family, lines, goOn);
  if (status === 0) return [];
  if (status !== IP_UNKNOWN_WORDS) {
    return failures.length > 0 ? failures : [{ index: 0, reason: rest || `ip ended with status ${status}` }];
  }
  const unknown = unknownLine(family, lines, (failures.at(-1)?.index ?? -1) + 1);
  failures.push({ index: unknown, reason: rest });
  if (!goOn) return failures;
  const behind = unknown + 1;
  const others = runIpBatch(family, lines.slice(behind), goOn);
  return [...failures, ...others.map(({ index, reason }) => ({ index: behind + index, reason }))];
}

/**
 * The line at which a batch ended: the first that by itself ends the same way. Those in front of it were done, and
 * asking for them again changes nothing (it is there already, or gone already).
 * @param from the first line of which nothing is known
 */
function unknownLine(family: Family, lines: readonly string[], from: number): number {
  let line = from;
  while (line < lines.length - 1 && ipBatch(family, [lines[line] ?? ''], false).status !== IP_UNKNOWN_WORDS) {
    line++;
  }
  return line;
}

interface BatchEnd {
  readonly failures: CommandFailure[];
  /** Null when it was ended by a signal or could not be started. */
  readonly status: number | null;
  /** What was said behind the last failure. */
  readonly rest: string;
}

function ipBatch(family: Family, lines: readonly string[], goOn: boolean): BatchEnd {
  if (lines.length === 0) return { failures: [], status: 0, rest: '' };
  const args = [...(family === 'IPv6' ? ['-6'] : []), ...(goOn ? ['-force'] : []), '-batch', '-'];
  const { status, stderr, error } = spawnSync('ip', args, {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (error !== undefined) return { failures: [], status: null, rest: `ip: ${error.message}` };
  // What ip says about a line, then "Command failed -:3".
  const failures: CommandFailure[] = [];
  let said: string[] = [];
  for (const line of stderr.split('\n')) {
    const lineNumber = /^Command failed .*:(\d+)$/.exec(line)?.[1];
    if (lineNumber === undefined) {
      if (line.trim() !== '') said.push(line.trim());
      continue;
    }
    failures.push({ index: Number(lineNumber) - 1, reason: said.join(' ') || 'ip refused it' });
    said = [];
  }
  return { failures, status, rest: said.join(' ') };
}

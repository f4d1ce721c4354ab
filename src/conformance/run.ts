/** Runs every known file of a folder with conformance data. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { chainNameChecks } from './chain-names.js';
import { type Check, messageOf, type Outcome, outcomeOf } from './check.js';
import { dumpChecks } from './dumps.js';
import { extraFactChecks } from './extra-facts.js';
import { packetFlowChecks } from './packet-flows.js';
import type { SenderClass } from './plane-types.js';
import { topologyChecks } from './topology.js';

export interface FileReport {
  /** As it is called in the folder: "dumps/index.json". */
  readonly file: string;
  readonly outcomes: readonly Outcome[];
  /** What the file holds and nothing is known of. */
  readonly skipped: readonly string[];
}

export interface Report {
  readonly files: readonly FileReport[];
  /** What the folder holds and nothing is known of. */
  readonly skipped: readonly string[];
}

/** @param senderClass what flows are sent through */
export function runFolder(folder: string, senderClass: SenderClass): Report {
  const known = FILES.filter(({ file }) => existsSync(join(folder, file)));
  return {
    files: known.map(({ file, checksOf }) => runFile(join(folder, file), file, checksOf, senderClass)),
    skipped: readdirSync(folder)
      .filter((name) => !isKnown(name))
      .sort(),
  };
}

interface FileChecks {
  readonly checks: readonly Check[];
  readonly unknown?: readonly string[];
}

type ChecksOf = (data: unknown, path: string, senderClass: SenderClass) => FileChecks;

const FILES: readonly { readonly file: string; readonly checksOf: ChecksOf }[] = [
  {
    file: 'packet-flows.json',
    checksOf: (data, _, senderClass) => ({ checks: packetFlowChecks(data, senderClass) }),
  },
  { file: 'topology.json', checksOf: (data) => ({ checks: topologyChecks(data) }) },
  { file: 'chain-names.json', checksOf: (data) => ({ checks: chainNameChecks(data) }) },
  { file: 'extra-facts.json', checksOf: extraFactChecks },
  { file: 'dumps/index.json', checksOf: (data, path) => dumpChecks(data, dirname(path)) },
];

/** Notes beside the data are not data. */
const isKnown = (name: string): boolean =>
  name === 'NOTES.md' || FILES.some(({ file }) => file.split('/')[0] === name);

function runFile(path: string, file: string, checksOf: ChecksOf, senderClass: SenderClass): FileReport {
  try {
    const { checks, unknown = [] } = checksOf(JSON.parse(readFileSync(path, 'utf8')), path, senderClass);
    return { file, outcomes: checks.map(outcomeOf), skipped: unknown };
  } catch (error) {
    const failed = {
      name: 'the file',
      passed: false,
      expected: 'data of the known form',
      actual: messageOf(error),
    } as const;
    return { file, outcomes: [failed], skipped: [] };
  }
}

/** @returns the report in lines; the last one is `N passed, M failed` */
export function reportLines({ files, skipped }: Report): string[] {
  const failures = files.flatMap(({ file, outcomes }) =>
    outcomes.flatMap((outcome) =>
      outcome.passed
        ? []
        : [
            `FAILED ${file}: ${outcome.name}`,
            `  expected ${outcome.expected}`,
            `  actual   ${outcome.actual}`,
            ...(outcome.remarks ?? []).map((remark) => `  set aside: ${remark}`),
          ],
    ),
  );
  return [
    ...failures,
    ...skipped.map((name) => `skipped ${name}: nothing is known of such a file`),
    ...files.flatMap(({ file, skipped: parts }) =>
      parts.map((part) => `skipped ${file}: ${part}: nothing is known of it`),
    ),
    ...files.map(({ file, outcomes }) => `${file}: ${countsText(outcomes)}`),
    countsText(files.flatMap(({ outcomes }) => outcomes)),
  ];
}

export const failedCount = ({ files }: Report): number =>
  files.flatMap(({ outcomes }) => outcomes).filter(({ passed }) => !passed).length;

function countsText(outcomes: readonly Outcome[]): string {
  const passed = outcomes.filter((outcome) => outcome.passed).length;
  return `${passed} passed, ${outcomes.length - passed} failed`;
}

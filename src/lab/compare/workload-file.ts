/**
 * Workloads from a user's file (docs/LAB.md): one a YAML document. Every mistake is named with its line and field; a file
 * with mistakes is not run at all.
 */
import { readFileSync } from 'node:fs';
import { nearest } from '../../control/config/suggestion.js';
import { type Document, readDocuments } from '../../control/sources/document.js';
import { remarkText } from '../../control/sources/origin.js';
import { Report } from '../../control/sources/report.js';
import { EXIT, Failure } from '../../shared/failure.js';
import type { ClientGroup, LabEvent, Workload } from './workload.js';
import { type GivenWorkload, knownFields, workloadSchema } from './workload-schema.js';

/** @throws Failure (wrong usage) that names every mistake with its line */
export function loadWorkloadFile(file: string, endpoints: number): Workload[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Failure(EXIT.USAGE, `--workload ${file} cannot be read: ${(error as Error).message}`);
  }
  return readWorkloads(file, text, endpoints);
}

/** @param file only named @param endpoints how many there are: events name them by number */
export function readWorkloads(file: string, text: string, endpoints: number): Workload[] {
  const { documents, setAside } = readDocuments(file, text);
  if (setAside.length > 0) throw new Failure(EXIT.USAGE, setAside.map(remarkText).join('\n'));
  if (documents.length === 0) throw new Failure(EXIT.USAGE, `${file}: holds no workload`);
  const read = documents.map((document) => readWorkload(document, endpoints));
  const mistakes = read.flatMap((result) => (Array.isArray(result) ? result : []));
  if (mistakes.length > 0) throw new Failure(EXIT.USAGE, mistakes.join('\n'));
  return read as Workload[];
}

/** @returns the workload, or what is wrong with it */
function readWorkload({ value, origin }: Document, endpoints: number): Workload | string[] {
  const report = new Report(value, origin);
  const parsed = workloadSchema.safeParse(value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      if (issue.code !== 'unrecognized_keys') continue;
      for (const key of issue.keys) {
        const meant = nearest(key, knownFields(issue.path));
        report.add(
          [...issue.path, key] as (string | number)[],
          `is no field${meant === null ? '' : `; did you mean ${meant}?`}`,
        );
      }
    }
    report.addIssues(parsed.error.issues.filter(({ code }) => code !== 'unrecognized_keys'));
    return report.setAside.map(remarkText);
  }
  const given = parsed.data;
  for (const [index, { begin }] of given.clients.entries()) {
    if (begin[1] < begin[0] || begin[1] > given.duration)
      report.add(['clients', index, 'begin'], 'must be from an earlier to a later time within the duration');
  }
  for (const [index, event] of given.events.entries()) {
    if (event.at > given.duration) report.add(['events', index, 'at'], 'must be within the duration');
    if (event.endpoint >= endpoints)
      report.add(['events', index, 'endpoint'], `must be below ${endpoints}, the number of endpoints`);
  }
  return report.setAside.length > 0 ? report.setAside.map(remarkText) : workloadOf(given);
}

function workloadOf({ name, description, duration, clients, events }: GivenWorkload): Workload {
  return {
    name,
    what: description,
    durationMs: duration,
    clients: clients.map(({ begin, think, ...group }): ClientGroup => {
      return { ...group, beginMs: begin, thinkMs: think };
    }),
    events: events.map(({ at, every, noticedAfter, grace, ...event }): LabEvent => {
      return { ...event, atMs: at, everyMs: every, noticedAfterMs: noticedAfter, graceMs: grace };
    }),
  };
}

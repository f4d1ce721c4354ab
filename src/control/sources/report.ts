/** Collects what is wrong with one object, in words that somebody who edits the file understands. */
import type * as z from 'zod';
import { type Origin, type Path, remarkAt, type SetAside } from './origin.js';

export class Report {
  readonly origin: Origin;
  readonly #value: unknown;
  readonly #setAside: SetAside[] = [];

  /** @param value the object as it was given: only quoted from */
  constructor(value: unknown, origin: Origin) {
    this.#value = value;
    this.origin = origin;
  }

  get setAside(): readonly SetAside[] {
    return this.#setAside;
  }

  add(path: Path, reason: string): void {
    this.#setAside.push(remarkAt(this.origin, labelOf(this.#value), path, reason));
  }

  /** Each field once, with the first of the rules that it breaks. */
  addIssues(issues: readonly z.core.$ZodIssue[]): void {
    const seen = new Set<string>();
    for (const issue of issues) {
      const path = issue.path as Path;
      const key = JSON.stringify(path);
      if (seen.has(key)) continue;
      seen.add(key);
      const value = valueAt(this.#value, path);
      const isMissing = value === undefined || value === null;
      this.add(path, isMissing ? `is missing; it ${issue.message}` : `${issue.message}, not ${show(value)}`);
    }
  }
}

/** A value as it is quoted in a message: one line, short. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a mapping';
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 60)}...`;
}

/** "Service default/httpenv", or as much of it as a broken object says. */
function labelOf(value: unknown): string {
  const kind = valueAt(value, ['kind']);
  const name = valueAt(value, ['metadata', 'name']);
  const namespace = valueAt(value, ['metadata', 'namespace']);
  if (typeof kind !== 'string') return '';
  if (typeof name !== 'string') return word(kind);
  return `${word(kind)} ${typeof namespace === 'string' && namespace !== '' ? word(namespace) : 'default'}/${word(name)}`;
}

/** Nothing has checked these texts yet: what is no name is quoted, so that a remark stays one line. */
const word = (text: string): string => (/^[-.\w]+$/.test(text) ? text : show(text));

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, step) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, step)
        ? (at as Record<string, unknown>)[step]
        : undefined,
    value,
  );
}

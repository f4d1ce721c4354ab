/**
 * A file's text -> its documents, as plain values that still know where their fields stand.
 *
 * JSON goes through `JSON.parse`, everything else through the yaml library: 250,000 endpoints as `kubectl` prints
 * them take 1.4 s as JSON (186 MB) and 24 s as YAML (80 MB). What cannot be read becomes a remark and does not
 * stop the rest.
 */
import { readJsonDocuments } from './json-document.js';
import { Origin, type Path, type SetAside } from './origin.js';
import { TextLines } from './text-lines.js';
import { readYamlDocuments } from './yaml-document.js';

/** One document of a file: a value as JSON has them, and where it stands. */
export interface Document {
  /** A List's items that could not be read are `undefined` here: they have their remark already. */
  readonly value: unknown;
  readonly origin: Origin;
}

/** What one parser found in a text; offsets count UTF-16 units from the start of the text. */
export interface Parsed {
  readonly documents: readonly { value: unknown; offsetOf: (path: Path) => number }[];
  readonly failures: readonly { offset: number; reason: string }[];
}

/**
 * @param file only named, not read
 * @param text the file's content; JSON, JSON one after the other, YAML, multi-document YAML
 */
export function readDocuments(file: string, text: string): { documents: Document[]; setAside: SetAside[] } {
  const lines = new TextLines(text);
  const { documents, failures } = looksLikeJson(text) ? readJsonDocuments(text) : readYamlDocuments(text);
  return {
    documents: documents.map(({ value, offsetOf }) => ({
      value,
      origin: new Origin(file, (path) => lines.lineAt(offsetOf(path))),
    })),
    setAside: failures.map(({ offset, reason }) => ({
      file,
      line: lines.lineAt(offset),
      object: '',
      field: '',
      reason,
    })),
  };
}

/**
 * JSON objects start `{"` or `{}`; a YAML flow mapping such as `{kind: Service}` does not. A line `---` cannot
 * be in a JSON text, so there it is YAML whose documents are written in JSON.
 */
const looksLikeJson = (text: string): boolean => /^\s*\{\s*["}]/.test(text) && !/^---/m.test(text);

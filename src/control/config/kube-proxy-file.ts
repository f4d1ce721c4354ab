/** A KubeProxyConfiguration file -> its checked values, with every mistake's line. */
import { readFileSync } from 'node:fs';
import { EXIT, Failure } from '../../shared/failure.js';
import { readDocuments } from '../sources/document.js';
import { fieldText, type Origin, type Path, remarkText } from '../sources/origin.js';
import { show } from '../sources/report.js';
import { API_VERSION, FIELDS, KIND, type KubeProxyConfiguration, kubeProxySchema } from './schema.js';
import { nearest } from './suggestion.js';

/** @throws Failure (wrong usage) that names every mistake with its line */
export function loadKubeProxyFile(file: string): KubeProxyConfiguration {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Failure(EXIT.USAGE, `--config ${file} cannot be read: ${(error as Error).message}`);
  }
  return readKubeProxyConfiguration(file, text);
}

/** @param file only named @throws Failure (wrong usage) that names every mistake with its line */
export function readKubeProxyConfiguration(file: string, text: string): KubeProxyConfiguration {
  const { documents, setAside } = readDocuments(file, text);
  if (setAside.length > 0) throw new Failure(EXIT.USAGE, setAside.map(remarkText).join('\n'));
  // kubeadm keeps its own configuration in the same file.
  const ours = documents.filter(({ value }) => isKubeProxy(value) || documents.length === 1);
  const [document] = ours;
  if (document === undefined || ours.length > 1) {
    throw new Failure(EXIT.USAGE, `${file}: must hold one ${KIND} (${API_VERSION}), not ${ours.length}`);
  }
  const parsed = kubeProxySchema.safeParse(document.value);
  if (parsed.success) return parsed.data;
  const mistakes = parsed.error.issues.flatMap((issue): string[] => {
    const path = issue.path as Path;
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => mistake(document.origin, [...path, key], unknownField([...path, key])));
    return [mistake(document.origin, path, `${issue.message}, not ${show(valueAt(document.value, path))}`)];
  });
  throw new Failure(EXIT.USAGE, mistakes.join('\n'));
}

const isKubeProxy = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === KIND;

const mistake = (origin: Origin, path: Path, reason: string): string =>
  remarkText({ file: origin.file, line: origin.lineOf(path), object: '', field: fieldText(path), reason });

/** Misspelt where it stands, or right and in the wrong place. */
function unknownField(path: Path): string {
  const name = String(path.at(-1));
  const parent = fieldText(path.slice(0, -1));
  const prefix = parent === '' ? '' : `${parent}.`;
  const siblings = FIELDS.filter(
    (field) => field.startsWith(prefix) && !field.slice(prefix.length).includes('.'),
  );
  const last = (field: string): string => field.slice(field.lastIndexOf('.') + 1);
  const elsewhere = FIELDS.filter((field) => last(field) === name);
  const here = nearest(name, siblings.map(last));
  const meant = elsewhere.length > 0 ? elsewhere : here === null ? [] : [`${prefix}${here}`];
  return meant.length === 0 ? 'is no field' : `is no field; did you mean ${meant.join(' or ')}?`;
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, step) =>
      typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[step] : undefined,
    value,
  );
}

/**
 * Files and directories -> Kubernetes objects, as `kubectl get ... -o yaml|json` prints them.
 *
 * Bad input never throws and never blocks the rest; all of it is reported. The units that are set aside: a
 * file that cannot be read; a document with a syntax error (one item, in a List as kubectl prints it in YAML); an
 * object that is not as Kubernetes would have it; an endpoint with a malformed address. An object that was defined
 * before, in an earlier file or document, is set aside too: which of two is meant is not for us to guess.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Document, readDocuments } from './document.js';
import { type KubeObject, objectLabel } from './kube-object.js';
import { remarkAt, remarkOnFile, type SetAside } from './origin.js';
import { readObject } from './read-object.js';
import { show } from './report.js';

export type { SetAside } from './origin.js';

/** What the files hold. */
export interface Loaded {
  /** In the order of the files and of the documents in them. */
  readonly objects: readonly KubeObject[];
  readonly setAside: readonly SetAside[];
  /** Deployments, Pods, ...: `kubectl get all` prints them, a proxy does not read them. Sorted by kind. */
  readonly otherKinds: readonly OtherKind[];
}

export interface OtherKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly count: number;
}

/**
 * @param paths files, and directories of which every .yaml, .yml and .json file is read; as with `kubectl apply -f`
 *   not those of its subdirectories. Names that start with "." are editors' and mounts' own and are passed over.
 */
export function loadFiles(paths: readonly string[]): Loaded {
  const loading = new Loading();
  for (const path of paths) loading.addPath(path);
  return loading.loaded();
}

interface List {
  readonly apiVersion: string;
  readonly kind: string;
  /** The type that an API server leaves out of the items (`kubectl get --raw`); null when they may be anything. */
  readonly itemKind: string | null;
}

const LISTS: readonly List[] = [
  { apiVersion: 'v1', kind: 'List', itemKind: null },
  { apiVersion: 'v1', kind: 'ServiceList', itemKind: 'Service' },
  { apiVersion: 'v1', kind: 'EndpointsList', itemKind: 'Endpoints' },
  { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSliceList', itemKind: 'EndpointSlice' },
];

class Loading {
  readonly #files = new Set<string>();
  readonly #objects = new Map<string, KubeObject>();
  readonly #setAside: SetAside[] = [];
  readonly #otherKinds = new Map<string, OtherKind>();

  addPath(path: string): void {
    const files = this.#attempt(path, filesOf);
    if (files?.length === 0)
      this.#setAside.push(remarkOnFile(path, 'the directory holds no .yaml, .yml or .json file'));
    for (const file of files ?? []) {
      // `-f manifests -f manifests/a.yaml` names a file twice, which is not a contradiction.
      if (this.#files.has(resolve(file))) continue;
      this.#files.add(resolve(file));
      const text = this.#attempt(file, (file) => readFileSync(file, 'utf8'));
      if (text !== null) this.#addText(file, text.replace(/^\uFEFF/, ''));
    }
  }

  loaded(): Loaded {
    return {
      objects: [...this.#objects.values()],
      setAside: this.#setAside,
      otherKinds: [...this.#otherKinds].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, other]) => other),
    };
  }

  #attempt<Result>(path: string, read: (path: string) => Result): Result | null {
    try {
      return read(path);
    } catch (error) {
      this.#setAside.push(remarkOnFile(path, unreadable(error)));
      return null;
    }
  }

  #addText(file: string, text: string): void {
    const { documents, setAside } = readDocuments(file, text);
    for (const remark of setAside) this.#setAside.push(remark);
    if (text.trim() === '') this.#setAside.push(remarkOnFile(file, 'the file is empty'));
    else if (documents.length + setAside.length === 0)
      this.#setAside.push(remarkOnFile(file, 'the file holds no object'));
    for (const document of documents) this.#addDocument(document);
  }

  #addDocument(document: Document): void {
    // A stack, not recursion: a List may hold Lists.
    const rest = [document];
    for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
      const list = listOf(next.value);
      if (list === null) this.#addObject(next);
      else for (const item of this.#itemsOf(list, next).reverse()) rest.push(item);
    }
  }

  #itemsOf(list: List, { value, origin }: Document): Document[] {
    const { items } = value as { items?: unknown };
    if (items === null) return []; // `kubectl get` of nothing
    if (!Array.isArray(items)) {
      this.#setAside.push(remarkAt(origin, '', ['items'], `must be a list, not ${show(items)}`));
      return [];
    }
    return (items as unknown[]).flatMap((item, index) =>
      item === undefined ? [] : { value: typed(item, list), origin: origin.at(['items', index]) },
    );
  }

  #addObject({ value, origin }: Document): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#setAside.push(remarkAt(origin, '', [], `must be a Kubernetes object, not ${show(value)}`));
      return;
    }
    const { object, otherKind, setAside } = readObject(value, origin);
    for (const remark of setAside) this.#setAside.push(remark);
    if (otherKind !== null) this.#countOther(otherKind);
    if (object === null) return;
    const label = objectLabel(object);
    const earlier = this.#objects.get(label);
    if (earlier === undefined) this.#objects.set(label, object);
    else
      this.#setAside.push(
        remarkAt(origin, label, [], `is defined already at ${earlier.origin.file}:${earlier.origin.line}`),
      );
  }

  #countOther({ apiVersion, kind }: { apiVersion: string; kind: string }): void {
    const key = `${kind} ${apiVersion}`;
    const count = (this.#otherKinds.get(key)?.count ?? 0) + 1;
    this.#otherKinds.set(key, { apiVersion, kind, count });
  }
}

/** @returns the path itself, or the manifests of the directory that it names */
export function filesOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && /^[^.].*\.(?:ya?ml|json)$/.test(entry.name))
    .map(({ name }) => join(path, name))
    .sort();
}

function listOf(value: unknown): List | null {
  if (typeof value !== 'object' || value === null) return null;
  const { kind, apiVersion } = value as Record<string, unknown>;
  return LISTS.find((list) => list.kind === kind && list.apiVersion === apiVersion) ?? null;
}

const typed = (item: unknown, { apiVersion, itemKind: kind }: List): unknown =>
  kind !== null && typeof item === 'object' && item !== null && !Array.isArray(item)
    ? { apiVersion, kind, ...item }
    : item;

function unreadable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file or directory';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  if (code === 'ERR_STRING_TOO_LONG' || code === 'ERR_FS_FILE_TOO_LARGE')
    return 'the file is too large to be read (512 MB)';
  return `cannot be read: ${message}`;
}

/**
 * The manifests of a running proxy: read again and again, each file only when it has changed. A file that is being
 * written, or is gone for a moment, must not take its Services with it: what it held when it was last whole stands
 * until it is whole again.
 */
import { statSync } from 'node:fs';
import { filesOf, type Loaded, loadFiles, type OtherKind } from './file.js';
import { type KubeObject, objectLabel } from './kube-object.js';
import { remarkAt, type SetAside } from './origin.js';

/** A file that was in a directory is forgotten when it has been gone for so long: editors replace files in two steps. */
const GONE_MS = 1000;

/** What one file holds. */
interface FileState {
  /** Identity, size and time of what was read; null: it cannot be looked at. */
  signature: string | null;
  loaded: Loaded;
  /** When it was first missed, milliseconds; 0: it is there. */
  goneSinceMs: number;
  /** Why `loaded` is older than the file; null: it is not. */
  kept: string | null;
}

export interface FileReading {
  readonly loaded: Loaded;
  /** Files whose content is another than at the reading before. */
  readonly changed: readonly string[];
  /** Files that are broken or gone, and whose last good content stands, each with why. */
  readonly kept: readonly string[];
  /** It is worth reading again after so many milliseconds, though no file may change; 0: it is not. */
  readonly againMs: number;
}

export class FileSource {
  readonly paths: readonly string[];
  private readonly nowMs: () => number;
  private readonly files = new Map<string, FileState>();
  /** By path, the files that it stood for when it was last there. */
  private readonly listed = new Map<string, readonly string[]>();

  /** @param paths as `loadFiles` takes them @param nowMs the clock */
  constructor(paths: readonly string[], nowMs: () => number = () => performance.now()) {
    this.paths = paths;
    this.nowMs = nowMs;
  }

  /** Reads what has changed. Never throws. */
  read(): FileReading {
    const changed: string[] = [];
    const inUse: string[] = [];
    const broken: SetAside[] = [];
    for (const path of this.paths) {
      const files = this.filesAt(path);
      if (files.length === 0) broken.push(...loadFiles([path]).setAside);
      for (const file of files) {
        if (inUse.includes(file)) continue;
        if (this.readFile(file, !files.includes(path))) changed.push(file);
        if (this.files.has(file)) inUse.push(file);
      }
    }
    for (const file of [...this.files.keys()].filter((file) => !inUse.includes(file))) {
      this.files.delete(file);
      changed.push(file);
    }
    const states = inUse.flatMap((file) => this.files.get(file) ?? []);
    const merged = merge(states.map(({ loaded }) => loaded));
    return {
      loaded: { ...merged, setAside: [...merged.setAside, ...broken] },
      changed,
      kept: states.flatMap(({ kept }) => kept ?? []),
      againMs: states.some(({ goneSinceMs, kept }) => goneSinceMs > 0 && kept === null) ? GONE_MS : 0,
    };
  }

  /** A directory that is gone stands for the files that were in it. Files that just left it are still among them. */
  private filesAt(path: string): readonly string[] {
    const before = this.listed.get(path) ?? [];
    let now: readonly string[];
    try {
      now = filesOf(path);
    } catch {
      return before.length > 0 ? before : [path];
    }
    this.listed.set(path, now);
    return [...now, ...before.filter((file) => !now.includes(file) && this.files.has(file))].sort();
  }

  /** @param ofDirectory it may leave: nobody named it @returns whether what it holds is another now */
  private readFile(file: string, ofDirectory: boolean): boolean {
    const state = this.files.get(file);
    const signature = signatureOf(file);
    if (state === undefined) {
      this.files.set(file, { signature, loaded: loadFiles([file]), goneSinceMs: 0, kept: null });
      return true;
    }
    if (signature === null) return this.missed(file, state, ofDirectory);
    state.goneSinceMs = 0;
    if (signature === state.signature) return false;
    const loaded = loadFiles([file]);
    const fault = loaded.setAside.find(isWholeFile);
    state.signature = signature;
    if (fault !== undefined && !state.loaded.setAside.some(isWholeFile)) {
      const place = fault.line === 0 ? file : `${file}:${fault.line}`;
      state.kept = `${place}: ${fault.reason} (what it held before stands)`;
      return false;
    }
    state.kept = null;
    state.loaded = loaded;
    return true;
  }

  private missed(file: string, state: FileState, ofDirectory: boolean): boolean {
    if (state.goneSinceMs === 0) state.goneSinceMs = this.nowMs();
    state.signature = null;
    if (!ofDirectory) {
      state.kept = `${file}: no such file (what it held before stands)`;
      return false;
    }
    if (this.nowMs() - state.goneSinceMs < GONE_MS) return false;
    this.files.delete(file);
    return true;
  }
}

/** About the file or a document that is no object at all, and not about an object in it: it is being written. */
const isWholeFile = ({ object, field }: SetAside): boolean => object === '' && field === '';

/** @returns null when there is no such file. What is read only once (a pipe, a terminal) never changes. */
function signatureOf(file: string): string | null {
  try {
    const stat = statSync(file, { bigint: true });
    return stat.isFile()
      ? `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`
      : 'not a file';
  } catch {
    return null;
  }
}

/** As if the files had been read together: an object that an earlier file defines is not defined again. */
function merge(parts: readonly Loaded[]): Loaded {
  if (parts.length === 1 && parts[0] !== undefined) return parts[0];
  const objects = new Map<string, KubeObject>();
  const setAside: SetAside[] = [];
  const otherKinds = new Map<string, OtherKind>();
  for (const part of parts) {
    for (const remark of part.setAside) setAside.push(remark);
    for (const object of part.objects) {
      const label = objectLabel(object);
      const earlier = objects.get(label);
      if (earlier === undefined) {
        objects.set(label, object);
        continue;
      }
      const reason = `is defined already at ${earlier.origin.file}:${earlier.origin.line}`;
      setAside.push(remarkAt(object.origin, label, [], reason));
    }
    for (const other of part.otherKinds) {
      const key = `${other.kind} ${other.apiVersion}`;
      otherKinds.set(key, { ...other, count: (otherKinds.get(key)?.count ?? 0) + other.count });
    }
  }
  return {
    objects: [...objects.values()],
    setAside,
    otherKinds: [...otherKinds].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, other]) => other),
  };
}

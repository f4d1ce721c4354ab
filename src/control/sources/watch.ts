/**
 * Tells when files may have changed. The directories are watched, not the files: an editor that saves by renaming, and
 * a ConfigMap mount that swaps its symbolic link `..data`, leave a file's own watch with a file that is no longer
 * there. Where the kernel does not tell (network file systems), files are looked at from time to time.
 */
import { type FSWatcher, readdirSync, readlinkSync, statSync, watch } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** A burst of events is one change, and a file that is being written gets the time to be finished. */
const SETTLE_MS = 50;
/** But a file that is written all the time is looked at after so long. */
const SETTLE_MAX_MS = 500;
const LOOK_MS = 2000;
/** Links that lead to links: as many as the kernel follows (path_resolution(7)). */
const LINKS_MAX = 40;

export interface Watching {
  close(): void;
}

/**
 * @param paths files and directories; they need not be there
 * @param onChange called after every burst of changes in or around them; it finds out what has changed
 */
export function watchPaths(paths: readonly string[], onChange: () => void): Watching {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let firstEventMs = 0;
  let looks = looksOf(paths);
  let closed = false;

  const settled = (): void => {
    timer = undefined;
    looks = looksOf(paths);
    arm();
    onChange();
  };
  const changed = (): void => {
    if (closed) return;
    const nowMs = performance.now();
    if (timer === undefined) firstEventMs = nowMs;
    else clearTimeout(timer);
    const waitMs = Math.max(0, Math.min(SETTLE_MS, firstEventMs + SETTLE_MAX_MS - nowMs));
    timer = setTimeout(settled, waitMs);
  };
  /** Watches the directories that decide what the paths stand for now: links may lead elsewhere than before. */
  const arm = (): void => {
    const wanted = new Set(paths.flatMap(directoriesOf));
    for (const [directory, watcher] of watchers) {
      if (wanted.has(directory)) continue;
      watcher.close();
      watchers.delete(directory);
    }
    for (const directory of wanted) {
      if (watchers.has(directory)) continue;
      try {
        const watcher = watch(directory, { persistent: false }, changed);
        // The directory was removed: another one may have its name by now.
        watcher.on('error', () => {
          watcher.close();
          watchers.delete(directory);
          changed();
        });
        watchers.set(directory, watcher);
      } catch {
        // Not there, or no watch left (fs.inotify.max_user_watches): the look from time to time finds changes.
      }
    }
  };
  const look = setInterval(() => {
    arm();
    if (looksOf(paths) !== looks) changed();
  }, LOOK_MS);
  look.unref();
  arm();
  return {
    close() {
      closed = true;
      clearInterval(look);
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
    },
  };
}

/** The directory that holds a path, the path itself if it is one, and the same for everything that links lead to. */
function directoriesOf(path: string): string[] {
  const found = new Set<string>();
  const follow = (place: string, left: number): void => {
    found.add(dirname(place));
    if (left === 0) return;
    try {
      follow(resolve(dirname(place), readlinkSync(place)), left - 1);
    } catch {
      if (isDirectory(place)) found.add(place);
    }
  };
  const start = resolve(path);
  follow(start, LINKS_MAX);
  if (isDirectory(start)) {
    found.add(start);
    // Manifests in a directory may be links too: those of a ConfigMap mount lead through `..data`.
    for (const name of namesIn(start)) follow(join(start, name), LINKS_MAX);
  } else {
    // A link half-way: dir/file where dir is a link.
    for (let at = dirname(start); at !== dirname(at); at = dirname(at)) if (isLink(at)) follow(at, LINKS_MAX);
  }
  return [...found];
}

/** What the paths look like, as one text: another text, another state. */
function looksOf(paths: readonly string[]): string {
  const files = paths.flatMap((path) => [path, ...namesIn(path).map((name) => join(path, name))]);
  return files
    .map((file) => {
      const stat = statSync(file, { throwIfNoEntry: false, bigint: true });
      return stat === undefined ? `${file} -` : `${file} ${stat.ino} ${stat.size} ${stat.mtimeNs}`;
    })
    .join('\n');
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path).filter((name) => /^[^.].*\.(?:ya?ml|json)$/.test(name));
  } catch {
    return [];
  }
}

const isDirectory = (path: string): boolean => {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
};

const isLink = (path: string): boolean => {
  try {
    readlinkSync(path);
    return true;
  } catch {
    return false;
  }
};

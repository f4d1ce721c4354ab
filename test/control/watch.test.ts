/** Changes of files are noticed however they are made. */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { watchPaths } from '../../src/control/sources/watch.js';

/** Much longer than any of it takes, also on a machine busy with other things. */
const NOTICE_MS = 10_000;

/** Watches the paths for one test. */
function watching(
  t: Test,
  paths: readonly string[],
): { count: () => number; next: (what: string, change: () => void) => Promise<void> } {
  let count = 0;
  const watcher = watchPaths(paths, () => {
    count += 1;
  });
  t.teardown(() => watcher.close());
  const next = async (what: string, change: () => void): Promise<void> => {
    const before = count;
    change();
    const deadline = performance.now() + NOTICE_MS;
    while (count === before && performance.now() < deadline) await sleep(5);
    t.ok(count > before, what);
    await sleep(150); // what belongs to this change must not count for the next
  };
  return { count: () => count, next };
}

t.test('a file that is written, replaced, removed and made again', async (t) => {
  const dir = t.testdir({ 'a.yaml': 'a' });
  const file = join(dir, 'a.yaml');
  const { next } = watching(t, [file]);
  await next('written', () => writeFileSync(file, 'b'));
  await next('replaced, as editors save', () => {
    writeFileSync(join(dir, 'a.yaml~'), 'c');
    renameSync(join(dir, 'a.yaml~'), file);
  });
  await next('written after it was replaced', () => writeFileSync(file, 'd'));
  await next('removed', () => rmSync(file));
  await next('made again', () => writeFileSync(file, 'e'));
});

t.test('files that come to a directory and leave it', async (t) => {
  const dir = t.testdir({ manifests: { 'a.yaml': 'a' } });
  const { next } = watching(t, [join(dir, 'manifests')]);
  await next('a new one', () => writeFileSync(join(dir, 'manifests', 'b.yaml'), 'b'));
  await next('one gone', () => rmSync(join(dir, 'manifests', 'a.yaml')));
});

t.test('a directory that is replaced', async (t) => {
  const dir = t.testdir({ manifests: { 'a.yaml': 'a' }, other: { 'a.yaml': 'b' } });
  const { next } = watching(t, [join(dir, 'manifests')]);
  await next('replaced', () => {
    renameSync(join(dir, 'manifests'), join(dir, 'old'));
    renameSync(join(dir, 'other'), join(dir, 'manifests'));
  });
  await next('written in the new one', () => writeFileSync(join(dir, 'manifests', 'a.yaml'), 'c'));
});

t.test('a mounted ConfigMap, whose link changes twice', async (t) => {
  const mount = t.testdir({ '..v1': { 'a.yaml': '1' } });
  symlinkSync('..v1', join(mount, '..data'));
  symlinkSync('..data/a.yaml', join(mount, 'a.yaml'));
  const { next } = watching(t, [join(mount, 'a.yaml')]);
  for (const version of ['..v2', '..v3']) {
    await next(version, () => {
      mkdirSync(join(mount, version));
      writeFileSync(join(mount, version, 'a.yaml'), version);
      symlinkSync(version, join(mount, '..data_tmp'));
      renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
    });
  }
});

t.test('a link to a file elsewhere', async (t) => {
  const dir = t.testdir({ real: { 'a.yaml': 'a' }, links: {} });
  symlinkSync('../real/a.yaml', join(dir, 'links', 'a.yaml'));
  const { next } = watching(t, [join(dir, 'links', 'a.yaml')]);
  await next('written behind the link', () => writeFileSync(join(dir, 'real', 'a.yaml'), 'b'));
});

t.test('a path that is not there yet', async (t) => {
  const dir = t.testdir({});
  const { next } = watching(t, [join(dir, 'sub', 'a.yaml')]);
  await next('the file and its directory', () => {
    mkdirSync(join(dir, 'sub'));
    writeFileSync(join(dir, 'sub', 'a.yaml'), 'a');
  });
});

t.test('a burst of writes is one change', async (t) => {
  const dir = t.testdir({ 'a.yaml': '' });
  const { next, count } = watching(t, [join(dir, 'a.yaml')]);
  await next('noticed', () => {
    for (let i = 0; i < 100; i++) writeFileSync(join(dir, 'a.yaml'), String(i));
  });
  t.equal(count(), 1);
});

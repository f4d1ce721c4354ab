/** Manifests that are read again: only what changed, and never less than what was whole before. */
import { renameSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FileSource } from '../../src/control/sources/file-source.js';
import { labels, texts } from './support.js';

const service = (name: string, address: string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {clusterIP: ${address}, ports: [{port: 80}]}\n`;

/** A file's time has the clock's ticks: two writes in one of them look the same. */
let written = 0;
function write(path: string, text: string): void {
  writeFileSync(path, text);
  utimesSync(path, ++written, written);
}

function directory(t: Test, files: Record<string, string>): string {
  const path = join(t.testdir({ manifests: {} }), 'manifests');
  for (const [name, text] of Object.entries(files)) write(join(path, name), text);
  return path;
}

t.test('what has not changed is not read again: its objects are the same values', async (t) => {
  const path = directory(t, { 'a.yaml': service('a', '10.0.0.1'), 'b.yaml': service('b', '10.0.0.2') });
  const source = new FileSource([path]);
  const first = source.read();
  t.strictSame(labels(first.loaded), ['Service default/a', 'Service default/b']);
  write(join(path, 'b.yaml'), service('b', '10.0.0.3'));
  const second = source.read();
  t.strictSame(second.changed, [join(path, 'b.yaml')]);
  t.equal(second.loaded.objects[0], first.loaded.objects[0]);
  t.not(second.loaded.objects[1], first.loaded.objects[1]);
  t.strictSame(source.read().changed, []);
});

t.test('a file that is half written stands as it was, and says so', async (t) => {
  const path = join(directory(t, { 'a.yaml': service('a', '10.0.0.1') }), 'a.yaml');
  const source = new FileSource([path]);
  source.read();
  for (const broken of ['', 'apiVersion: v1\nkind: Service\nmetadata: {name: ', '{"kind": "Serv', 'apiVer']) {
    write(path, broken);
    const { loaded, kept, changed } = source.read();
    t.strictSame(labels(loaded), ['Service default/a'], JSON.stringify(broken));
    t.strictSame(changed, []);
    t.match(kept, [/a\.yaml.*\(what it held before stands\)$/]);
  }
  write(path, service('b', '10.0.0.1'));
  t.match(source.read(), { kept: [], changed: [path] });
  t.strictSame(labels(source.read().loaded), ['Service default/b']);
});

t.test('an object in it that is wrong is no half-written file: it is set aside', async (t) => {
  const path = join(directory(t, { 'a.yaml': service('a', '10.0.0.1') }), 'a.yaml');
  const source = new FileSource([path]);
  source.read();
  write(path, `${service('a', '10.0.0.300')}---\n${service('b', '10.0.0.2')}`);
  const { loaded, kept } = source.read();
  t.strictSame(labels(loaded), ['Service default/b']);
  t.strictSame(kept, []);
  t.match(texts(loaded.setAside), [/clusterIP/]);
});

t.test('what is broken from the start is reported and used as far as it goes', async (t) => {
  const path = join(directory(t, { 'a.yaml': `${service('a', '10.0.0.1')}---\nkind: [` }), 'a.yaml');
  const { loaded, kept } = new FileSource([path]).read();
  t.strictSame(labels(loaded), ['Service default/a']);
  t.strictSame(kept, []);
  t.match(texts(loaded.setAside), [/not YAML/]);
});

t.test('a named file that is gone stands as it was, and comes back', async (t) => {
  const path = join(directory(t, { 'a.yaml': service('a', '10.0.0.1') }), 'a.yaml');
  const source = new FileSource([path]);
  source.read();
  unlinkSync(path);
  t.match(source.read(), { kept: [/a\.yaml: no such file \(what it held before stands\)/] });
  t.strictSame(labels(source.read().loaded), ['Service default/a']);
  write(path, service('b', '10.0.0.1'));
  t.strictSame(labels(source.read().loaded), ['Service default/b']);
});

t.test('a file that leaves its directory is forgotten, but not while it may be being replaced', async (t) => {
  const path = directory(t, { 'a.yaml': service('a', '10.0.0.1'), 'b.yaml': service('b', '10.0.0.2') });
  let nowMs = 1000;
  const source = new FileSource([path], () => nowMs);
  source.read();
  unlinkSync(join(path, 'b.yaml'));
  const soon = source.read();
  t.equal(soon.loaded.objects.length, 2);
  t.ok(soon.againMs > 0, 'it asks to be read again');
  nowMs += soon.againMs;
  t.strictSame(labels(source.read().loaded), ['Service default/a']);
  t.equal(source.read().againMs, 0);
  write(join(path, 'c.yaml'), service('c', '10.0.0.3'));
  t.strictSame(labels(source.read().loaded), ['Service default/a', 'Service default/c'], 'a new one is read');
});

t.test('a directory that is gone stands as it was', async (t) => {
  const path = directory(t, { 'a.yaml': service('a', '10.0.0.1') });
  const source = new FileSource([path]);
  source.read();
  renameSync(path, `${path}.old`);
  t.strictSame(labels(source.read().loaded), ['Service default/a']);
  rmSync(`${path}.old`, { recursive: true });
});

t.test('files are merged as if they had been read together', async (t) => {
  const path = directory(t, {
    'a.yaml': `${service('a', '10.0.0.1')}---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n`,
    'b.yaml': `${service('a', '10.0.0.2')}---\napiVersion: v1\nkind: Pod\nmetadata: {name: q}\n`,
  });
  const { loaded } = new FileSource([path, join(path, 'a.yaml')]).read();
  t.strictSame(labels(loaded), ['Service default/a']);
  t.match(texts(loaded.setAside), [/b\.yaml:1: Service default\/a: is defined already at .*a\.yaml:1$/]);
  t.strictSame(loaded.otherKinds, [{ apiVersion: 'v1', kind: 'Pod', count: 2 }]);
});

t.test('a mounted ConfigMap changes by its link', async (t) => {
  const mount = t.testdir({
    '..v1': { 'a.yaml': service('a', '10.0.0.1') },
    '..v2': { 'a.yaml': service('b', '10.0.0.1') },
  });
  symlinkSync('..v1', join(mount, '..data'));
  symlinkSync('..data/a.yaml', join(mount, 'a.yaml'));
  const source = new FileSource([mount]);
  t.strictSame(labels(source.read().loaded), ['Service default/a']);
  symlinkSync('..v2', join(mount, '..data_tmp'));
  renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
  t.strictSame(labels(source.read().loaded), ['Service default/b']);
});

import t from 'tap';
import { checkDependencies, checkSource, checkText, type Finding } from '../../scripts/tidy.js';

const brief = (findings: Finding[]): string[] => findings.map(({ line, message }) => `${line} ${message}`);

t.test('imports go one way', async (t) => {
  const uses = (path: string, specifier: string): string[] =>
    brief(checkSource(path, `import { x } from '${specifier}';`));
  t.same(uses('src/wire/udp.ts', './checksum.js'), []);
  t.same(uses('src/wire/udp.ts', 'node:assert'), []);
  t.same(uses('src/wire/udp.ts', '../shared/assert.js'), []);
  t.same(uses('src/wire/udp.ts', '../table/layout.js'), [
    '1 src/wire imports only itself, src/shared; not src/table/layout.js',
  ]);
  t.same(uses('src/conntrack/entry.ts', '../table/counters.js'), []);
  t.match(uses('src/conntrack/entry.ts', '../dataplane/packet.js'), [/not src\/dataplane\/packet\.js/]);
  t.match(uses('src/table/layout.ts', '../conntrack/entry.js'), [/not src\/conntrack/]);
  t.match(uses('src/dataplane/worker.ts', '../control/model/service.js'), [/never imports src\/control/]);
  t.match(uses('src/control/compile/compile.ts', '../../dataplane/verdict.js'), [
    /never imports src\/dataplane/,
  ]);
  t.same(uses('src/proxy.ts', './dataplane/supervisor.js'), []);
});

t.test('types, exports and dynamic imports count as imports', async (t) => {
  const text = [
    "import type { A } from '../control/a.js';",
    "export * from '../control/b.js';",
    "const c = await import('../control/c.js');",
  ].join('\n');
  t.same(
    checkSource('src/dataplane/worker.ts', text).map(({ line }) => line),
    [1, 2, 3],
  );
});

t.test('one module loads the addon', async (t) => {
  const text = `require('../build/flowpin${'.node'}');`;
  t.match(brief(checkSource('src/device/tun.ts', text)), [/only native-bindings\/index\.ts/]);
  t.same(checkSource('native-bindings/index.ts', text), []);
});

t.test('a dependency is imported, and in one place', async (t) => {
  const sources = new Map([
    ['src/wire/address.ts', "import { parse } from 'ip6addr';\nimport { pool } from '@scope/pool/sub';"],
    ['src/cli/up.ts', "import { Command } from 'commander';\nimport type { Logger } from 'pino';"],
    ['src/cli/log.ts', "import { pino } from 'pino';\nimport { Command } from 'commander';"],
  ]);
  t.same(checkDependencies(['ip6addr', 'commander', 'pino', '@scope/pool'], sources), []);
  t.match(checkDependencies(['zod'], sources), [{ file: 'package.json', message: /nothing imports .*zod/ }]);
  sources.set('src/host/plan.ts', "\nimport { parse } from 'ip6addr';\nimport { Command } from 'commander';");
  t.same(checkDependencies(['ip6addr', 'commander'], sources), [
    { file: 'src/host/plan.ts', line: 2, message: 'ip6addr is imported in src/wire/address.ts only' },
    { file: 'src/host/plan.ts', line: 3, message: 'commander is imported in src/cli/ only' },
  ]);
});

t.test('the hot path neither allocates nor throws', async (t) => {
  const offences: [code: string, message: RegExp][] = [
    ['const a = new Uint8Array(4);', /`new`/],
    ['const a = { b: 1 };', /literal/],
    ['const a = [1];', /literal/],
    ['each(() => 1);', /closure/],
    ['call(...list);', /spread/],
    ['Buffer.from(x);', /Buffer/],
    ['const a = BigInt(1);', /BigInt/],
    ['const a = 1n;', /bigint/],
    ['throw x;', /exception/],
    ['try { f(); } finally { g(); }', /exception/],
    ['for (const a of list) f(a);', /iterator/],
    ['const a = `b$\u007bc}`;', /string/],
  ];
  for (const [code, message] of offences) {
    const text = `export function step(cx: Cx): void {\n  ${code}\n}`;
    t.match(brief(checkSource('src/dataplane/parse.ts', text)), [message], code);
    t.same(checkSource('src/dataplane/worker.ts', text), [], `${code} elsewhere`);
    t.same(
      checkSource('src/dataplane/parse.ts', text.replace(code, `// tidy: set-up\n  ${code}`)),
      [],
      `${code} excused`,
    );
  }
});

t.test('what a module does once is free', async (t) => {
  const text = `
    const SCRATCH = new Uint32Array(8);
    export const STEP = { A: 0, B: 1 } as const;
    export const half = (v: { a: number }): number => v.a >>> 1;
    class Context { readonly words = new Int32Array(4); constructor() { this.words = new Int32Array([1]); } }
    export function step(cx: Context): void { const { words } = cx; words[0] = 1; }`;
  t.same(checkSource('src/dataplane/parse.ts', text), []);
});

t.test('no machine and no registry in a file', async (t) => {
  const home = ['', 'home', 'someone', 'flowpin'].join('/');
  const host = ['registry', 'npmjs', 'org'].join('.');
  t.match(brief(checkText('README.md', `first\nsee ${home}`)), [/^2 a path of one machine/]);
  t.match(brief(checkText('README.md', `https://${host}/tap`)), [/host of a package registry/]);
  t.same(
    checkText('README.md', 'test/work/x, https://example.org/home/x, ~/work/y, /run/flowpin, /etc/hosts'),
    [],
  );
});

/**
 * What a review would otherwise have to repeat, checked: which part may import which, where a package or the native
 * addon is reached, what the hot path must not do, and what must not stand in a tracked file.
 * Prints `file:line message` for each finding and exits 1 if there is any.
 *
 * A line of the hot path may break its rules where a comment `tidy: <reason>` stands on it or on the line above.
 */
import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export interface Finding {
  file: string;
  line: number;
  message: string;
}

/** The parts whose imports are bounded, and what they may import besides themselves. */
const MAY_IMPORT: Record<string, string[]> = {
  'src/shared': [],
  'src/wire': ['src/shared'],
  'src/table': ['src/wire', 'src/shared'],
  'src/conntrack': ['src/wire', 'src/table', 'src/shared'],
};

/** The two planes share the table and nothing else. */
const MAY_NOT_IMPORT: Record<string, string[]> = {
  'src/dataplane': ['src/control'],
  'src/control': ['src/dataplane'],
};

const ADDON_MODULE = 'native-bindings/index.ts';

/** Where a runtime dependency may be imported when that is not just one file. */
const DEPENDENCY_HOMES: Record<string, string[]> = {
  commander: ['src/cli/'], // one file per command
  yaml: ['src/control/sources/'], // the parser in one file, the places of its lines in another
  zod: ['src/control/', 'src/lab/compare/workload-schema.ts'], // one schema file for each kind of input
};

/** The steps of the packet's way: they run once per packet, so nothing in them may allocate or throw. */
const HOT_PATH = [
  'pipeline',
  'parse',
  'vet',
  'match',
  'pin',
  'translate',
  'related',
  'owner',
  'plain',
  'hits',
  'fragment',
  'reinject',
  'capture',
  'reject',
  'icmp-limit',
  'answer',
  'echo',
].map((step) => `src/dataplane/${step}.ts`);

/** Patterns are written so that they do not match themselves. */
const NOT_IN_A_FILE: [pattern: RegExp, message: string][] = [
  [/(?<![\w.~-])\/(home|root|Users|work)\/[\w.]/, 'a path of one machine'],
  [
    /\b(registry\.(npmjs|yarnpkg)|(deb|security)\.debian\.org|nodejs\.org\/(dist|download)|pypi\.org|pythonhosted\.org|proxy\.golang\.org|static\.crates\.io)/,
    'the host of a package registry',
  ],
];

/** @param path relative to the repository, with `/` */
export function checkSource(path: string, text: string): Finding[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const findings: Finding[] = [];
  for (const { specifier, node } of importsOf(source)) {
    const message = forbiddenImport(path, specifier);
    if (message) findings.push(at(source, node, message));
  }
  if (path !== ADDON_MODULE) findings.push(...addonLoads(source));
  if (HOT_PATH.includes(path)) findings.push(...hotPathFindings(source));
  return findings;
}

/** Each runtime dependency is imported, and in one place only, so that it can be replaced there. */
export function checkDependencies(dependencies: string[], sources: Map<string, string>): Finding[] {
  const users = new Map<string, { file: string; line: number }[]>(dependencies.map((name) => [name, []]));
  for (const [path, text] of sources) {
    const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    for (const { specifier, node, typeOnly } of importsOf(source)) {
      const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
      if (!typeOnly) users.get(name)?.push({ file: path, line: lineOf(source, node) });
    }
  }
  const findings: Finding[] = [];
  for (const [name, uses] of users) {
    const first = uses[0];
    if (!first) {
      findings.push({ file: 'package.json', line: 1, message: `nothing imports the dependency ${name}` });
      continue;
    }
    const homes = DEPENDENCY_HOMES[name] ?? [first.file];
    for (const use of uses.filter(({ file }) => !homes.some((home) => file.startsWith(home)))) {
      findings.push({ ...use, message: `${name} is imported in ${homes.join(' and ')} only` });
    }
  }
  return findings;
}

export function checkText(path: string, text: string): Finding[] {
  const findings: Finding[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    for (const [pattern, message] of NOT_IN_A_FILE) {
      const found = pattern.exec(line);
      if (found) findings.push({ file: path, line: index + 1, message: `${message}: ${found[0]}` });
    }
  }
  return findings;
}

function forbiddenImport(path: string, specifier: string): string {
  if (!specifier.startsWith('.')) return '';
  const target = normalize(join(dirname(path), specifier));
  const from = partOf(path);
  const to = partOf(target);
  if (from === to) return '';
  const allowed = MAY_IMPORT[from];
  if (allowed && !allowed.includes(to))
    return `${from} imports only ${['itself', ...allowed].join(', ')}; not ${target}`;
  if (MAY_NOT_IMPORT[from]?.includes(to)) return `${from} never imports ${to}: what they share is src/table`;
  return '';
}

/** `src/wire/udp.ts` belongs to `src/wire`, `src/proxy.ts` and `native-bindings/index.ts` to themselves. */
const partOf = (path: string): string => path.split('/').slice(0, 2).join('/');

interface Import {
  specifier: string;
  node: ts.Node;
  typeOnly: boolean;
}

function importsOf(source: ts.SourceFile): Import[] {
  const imports: Import[] = [];
  const add = (specifier: ts.Node | undefined, node: ts.Node, typeOnly: boolean): void => {
    if (specifier && ts.isStringLiteralLike(specifier))
      imports.push({ specifier: specifier.text, node, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, node, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
    } else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node, node.isTypeOnly);
    else if (ts.isCallExpression(node) && isLoad(node.expression)) add(node.arguments[0], node, false);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return imports;
}

function isLoad(callee: ts.Expression): boolean {
  return (
    callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && callee.text === 'require')
  );
}

function addonLoads(source: ts.SourceFile): Finding[] {
  return findAll(source, (node) => {
    const names = ts.isStringLiteralLike(node) && /\w\.node$/.test(node.text);
    const loads = ts.isPropertyAccessExpression(node) && node.name.text === 'dlopen';
    return names || loads ? `only ${ADDON_MODULE} loads the native addon` : '';
  });
}

function hotPathFindings(source: ts.SourceFile): Finding[] {
  const lines = source.text.split('\n');
  const excused = (line: number): boolean =>
    [line, line - 1].some((n) => /\/\/ tidy: \S/.test(lines[n - 1] ?? ''));
  const findings: Finding[] = [];
  // What a module does once, when it is loaded, is free: constants, and the set-up of a class.
  const visit = (node: ts.Node, perPacket: boolean): void => {
    const message = perPacket ? hotPathOffence(node) : '';
    if (message) findings.push(at(source, node, `${message} in the hot path`));
    const begins = ts.isFunctionLike(node) && !ts.isConstructorDeclaration(node);
    ts.forEachChild(node, (child) => visit(child, (perPacket || begins) && !ts.isTypeNode(child)));
  };
  visit(source, false);
  return findings.filter(({ line }) => !excused(line));
}

function hotPathOffence(node: ts.Node): string {
  switch (node.kind) {
    case ts.SyntaxKind.NewExpression:
      return '`new` allocates';
    case ts.SyntaxKind.ObjectLiteralExpression:
    case ts.SyntaxKind.ArrayLiteralExpression:
      return isAssigned(node) ? '' : 'a literal object or array allocates';
    case ts.SyntaxKind.ArrowFunction:
    case ts.SyntaxKind.FunctionExpression:
    case ts.SyntaxKind.FunctionDeclaration:
      return 'a closure allocates';
    case ts.SyntaxKind.SpreadElement:
    case ts.SyntaxKind.SpreadAssignment:
      return 'spread allocates';
    case ts.SyntaxKind.TemplateExpression:
      return 'building a string allocates';
    case ts.SyntaxKind.ForOfStatement:
      return '`for...of` allocates an iterator';
    case ts.SyntaxKind.BigIntLiteral:
      return 'a bigint allocates';
    case ts.SyntaxKind.AwaitExpression:
    case ts.SyntaxKind.YieldExpression:
      return 'a packet never waits';
    case ts.SyntaxKind.TryStatement:
    case ts.SyntaxKind.ThrowStatement:
      return 'a bad packet is a code, not an exception:';
    case ts.SyntaxKind.Identifier: {
      const name = (node as ts.Identifier).text;
      return name === 'Buffer' || name.startsWith('BigInt') ? `\`${name}\` is too slow` : '';
    }
    default:
      return '';
  }
}

/** `({ a, b } = x)` is a pattern that looks like a literal. */
function isAssigned(node: ts.Node): boolean {
  const { parent } = node;
  return (
    ts.isBinaryExpression(parent) &&
    parent.left === node &&
    parent.operatorToken.kind === ts.SyntaxKind.EqualsToken
  );
}

function findAll(source: ts.SourceFile, test: (node: ts.Node) => string): Finding[] {
  const findings: Finding[] = [];
  const visit = (node: ts.Node): void => {
    const message = test(node);
    if (message) findings.push(at(source, node, message));
    ts.forEachChild(node, visit);
  };
  visit(source);
  return findings;
}

function lineOf(source: ts.SourceFile, node: ts.Node): number {
  return source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
}

function at(source: ts.SourceFile, node: ts.Node, message: string): Finding {
  return { file: source.fileName, line: lineOf(source, node), message };
}

function checkRepository(): Finding[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    encoding: 'utf8',
  });
  const files = listed
    .split('\0')
    .filter((path) => path && lstatSync(path, { throwIfNoEntry: false })?.isFile());
  const texts = new Map(files.map((path) => [path, readFileSync(path, 'utf8')]));
  const sources = new Map([...texts].filter(([path]) => path.endsWith('.ts')));
  const runtime = new Map([...sources].filter(([path]) => /^(src|native-bindings)\//.test(path)));
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(texts.get('package.json') ?? '{}');
  const findings = checkDependencies(Object.keys({ ...dependencies, ...optionalDependencies }), runtime);
  for (const [path, text] of sources) findings.push(...checkSource(path, text));
  for (const [path, text] of texts) {
    // A fixture is what some machine really printed; a NUL byte means that it is no text.
    if (!path.includes('/fixtures/') && !text.includes('\0')) findings.push(...checkText(path, text));
  }
  return findings;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const findings = checkRepository();
  for (const { file, line, message } of findings) console.log(`${file}:${line} ${message}`);
  process.exitCode = findings.length > 0 ? 1 : 0;
}

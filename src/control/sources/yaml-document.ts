/**
 * YAML text -> documents, in small pieces.
 *
 * The yaml library holds about 50 bytes of tree for each byte of text, and one syntax error spoils a whole document. So
 * the text is cut first, at document markers and, in what `kubectl get -o yaml` prints, between the items of
 * the List. Each piece is parsed by itself: memory stays small, and an error costs one item, not the
 * cluster. No tree is kept; a piece is parsed again when a field's place is asked for.
 */
import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  parseDocument,
  type Document as YamlTree,
} from 'yaml';
import type { Parsed } from './document.js';
import type { Path } from './origin.js';

/** A part of the text: [start, end). */
interface Piece {
  readonly start: number;
  readonly end: number;
}

type Failure = Parsed['failures'][number];

/** @param text one or many YAML documents; documents without content are skipped */
export function readYamlDocuments(text: string): Parsed {
  const documents: Parsed['documents'][number][] = [];
  const failures: Failure[] = [];
  for (const piece of cutDocuments(text)) {
    const items = cutItems(text, piece);
    const document = items === null ? readPiece(text, piece) : readList(text, piece, items, failures);
    if ('reason' in document) failures.push(document);
    else if (document.value !== null) documents.push(document);
  }
  return { documents, failures };
}

/**
 * Neither marker can stand at the start of a line inside a document: not even in a quoted text (YAML 1.2.2, rule
 * c-forbidden). `---` stays with the document it opens, as there may be content behind it.
 */
function cutDocuments(text: string): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  for (const { 0: marker, index } of text.matchAll(/^(?:---|\.\.\.)(?=\s|$)/gm)) {
    pieces.push({ start, end: index });
    start = marker === '---' ? index : index + marker.length;
  }
  pieces.push({ start, end: text.length });
  // Only blanks, comments and directives: "%YAML 1.1" before the first marker changes nothing that we read.
  return pieces.filter((piece) => /^[ \t]*[^\s#%]/m.test(text.slice(piece.start, piece.end)));
}

/**
 * The items of a List in block style: "items:" at the left edge, then entries that start with "- " in one column.
 * Whatever belongs to an entry stands further right, so lines decide.
 * @returns null when the document does not look so; then it is parsed whole
 */
function cutItems(text: string, document: Piece): Piece[] | null {
  const source = text.slice(document.start, document.end);
  const heads = [...source.matchAll(/^items:[ \t]*(?:#.*)?\r?\n(?:[ \t]*(?:#.*)?\r?\n)*( *)-(?=\s)/gm)];
  const [head] = heads;
  // An anchor may be meant for another item, which a piece would not see.
  if (head === undefined || heads.length > 1 || /^items:/m.exec(source)?.index !== head.index) return null;
  if (/(?:^|\s)&\w/.test(source)) return null;
  const column = head[1] ?? '';
  const body = head.index + head[0].length - column.length - 1;
  const after = column === '' ? /^[^\s#-]/gm : /^[^\s#]/gm;
  after.lastIndex = body;
  const end = after.exec(source)?.index ?? source.length;

  const starts: number[] = [];
  const entry = new RegExp(`^${column}-(?=\\s)`, 'gm');
  entry.lastIndex = body;
  for (let found = entry.exec(source); found !== null && found.index < end; found = entry.exec(source)) {
    starts.push(found.index);
  }
  return starts.map((start, index) => ({
    start: document.start + start,
    end: document.start + (starts[index + 1] ?? end),
  }));
}

/** A List whose items are read one by one. An item with an error becomes `undefined` and a failure. */
function readList(
  text: string,
  document: Piece,
  items: Piece[],
  failures: Failure[],
): Parsed['documents'][number] | Failure {
  const bodyStart = items[0]?.start ?? document.end;
  const bodyEnd = items.at(-1)?.end ?? document.end;
  const header = text.slice(document.start, bodyStart) + text.slice(bodyEnd, document.end);
  const inFile = (at: number): number =>
    document.start + at + (document.start + at < bodyStart ? 0 : bodyEnd - bodyStart);
  const read = readSource(header, inFile);
  if ('reason' in read) return read;

  const entries = items.map((item) => {
    const entry = readPiece(text, item);
    if ('reason' in entry) failures.push(entry);
    return entry;
  });
  // Each entry is a sequence of one.
  const values = entries.map((entry) => ('reason' in entry ? undefined : (entry.value as unknown[])[0]));
  return {
    value: { ...(read.value as object), items: values },
    offsetOf: ([first, second, ...rest]) => {
      const entry = first === 'items' && typeof second === 'number' ? entries[second] : undefined;
      if (entry !== undefined) return 'reason' in entry ? entry.offset : entry.offsetOf([0, ...rest]);
      return read.offsetOf(first === undefined ? [] : [first]);
    },
  };
}

const readPiece = (text: string, { start, end }: Piece): Parsed['documents'][number] | Failure =>
  readSource(text.slice(start, end), (at) => start + at);

/** @param inFile offset in `source` -> offset in the file */
function readSource(source: string, inFile: (at: number) => number): Parsed['documents'][number] | Failure {
  try {
    const tree = parse(source);
    const [error] = tree.errors;
    if (error !== undefined) {
      // What is missing at the end of a piece is missing in its last line, not in the first one of the next piece.
      const at = Math.min(error.pos[0], Math.max(source.trimEnd().length - 1, 0));
      return { offset: inFile(at), reason: `not YAML: ${error.message}` };
    }
    const value = tree.toJS() as unknown; // throws on an alias without anchor, and on too many of them
    let again: YamlTree | null = null;
    return {
      value,
      offsetOf: (path) => {
        again ??= parse(source);
        return inFile(offsetIn(again, path));
      },
    };
  } catch (error) {
    return { offset: inFile(0), reason: `not readable as YAML: ${(error as Error).message}` };
  }
}

/** `merge`: "<<" in mappings, which kubectl's YAML library resolves too. */
const parse = (source: string): YamlTree =>
  parseDocument(source, { merge: true, prettyErrors: false, logLevel: 'silent' });

/** Where the field's name stands, or for an element of a list the element. */
function offsetIn(tree: YamlTree, path: Path): number {
  let node = resolved(tree.contents, tree);
  let offset = node?.range?.[0] ?? 0;
  for (const step of path) {
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === step);
      if (pair === undefined) break;
      next = pair.value;
      offset = (pair.key as Node).range?.[0] ?? offset;
    } else if (isSeq(node) && typeof step === 'number') {
      next = node.items[step];
      if (!isNode(next)) break;
      offset = next.range?.[0] ?? offset;
    } else {
      break;
    }
    node = isNode(next) ? resolved(next, tree) : null;
  }
  return offset;
}

const resolved = (node: Node | null, tree: YamlTree): Node | null =>
  isAlias(node) ? (node.resolve(tree) ?? null) : node;

/**
 * Where the values of a JSON text stand (RFC 8259), and where a text stops being JSON.
 *
 * Each object or array on the way to a place is walked once and its children's offsets are kept, so
 * asking for the places of all of 100,000 elements is linear.
 */
import type { Path, PathStep } from './origin.js';

export class JsonSyntaxError extends Error {
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
const BLANK = /[ \t\n\r]*/y;
const ESCAPE = /["\\/bfnrt]|u[0-9a-fA-F]{4}/y;

export class JsonPlaces {
  readonly #text: string;
  readonly #children = new Map<number, ReadonlyMap<PathStep, number>>();

  constructor(text: string) {
    this.#text = text;
  }

  /**
   * @param start offset of a valid JSON value (blanks before it are skipped)
   * @returns the offset of the value at `path` in it, or of the innermost one on the way that is there
   */
  offsetOf(start: number, path: Path): number {
    let at = this.skipBlank(start);
    try {
      for (const step of path) {
        const child = this.#childrenAt(at).get(step);
        if (child === undefined) break;
        at = child;
      }
    } catch (error) {
      // Nested deeper than the stack, which JSON.parse does not mind: an enclosing place is good enough.
      if (!(error instanceof RangeError)) throw error;
    }
    return at;
  }

  /** @returns the first offset from `at` on that is not blank */
  skipBlank(at: number): number {
    return this.#end(BLANK, at);
  }

  /** @returns the offset behind the value that starts at `at`; throws JsonSyntaxError where it stops being JSON */
  valueEnd(at: number): number {
    const first = this.#text[at];
    if (first === '{' || first === '[') return this.#walk(at, null);
    if (first === '"') return this.#stringEnd(at);
    const end = Math.max(this.#end(NUMBER, at), this.#end(WORD, at));
    return end > at ? end : this.#fail(at, 'a value');
  }

  #childrenAt(at: number): ReadonlyMap<PathStep, number> {
    const known = this.#children.get(at);
    if (known !== undefined) return known;
    const children = new Map<PathStep, number>();
    const first = this.#text[at];
    if (first === '{' || first === '[') this.#walk(at, children);
    this.#children.set(at, children);
    return children;
  }

  /** Walks an object or array; notes its children's offsets if asked. @returns the offset behind it */
  #walk(start: number, children: Map<PathStep, number> | null): number {
    const isObject = this.#text[start] === '{';
    const close = isObject ? '}' : ']';
    let at = this.skipBlank(start + 1);
    if (this.#text[at] === close) return at + 1;
    for (let index = 0; ; index++) {
      let step: PathStep = index;
      if (isObject) {
        if (this.#text[at] !== '"') return this.#fail(at, 'a name in double quotes');
        const end = this.#stringEnd(at);
        if (children !== null) step = JSON.parse(this.#text.slice(at, end)) as string;
        at = this.skipBlank(end);
        if (this.#text[at] !== ':') return this.#fail(at, '":"');
        at = this.skipBlank(at + 1);
      }
      children?.set(step, at);
      at = this.skipBlank(this.valueEnd(at));
      if (this.#text[at] === close) return at + 1;
      if (this.#text[at] !== ',') return this.#fail(at, `"," or "${close}"`);
      at = this.skipBlank(at + 1);
    }
  }

  #stringEnd(start: number): number {
    const text = this.#text;
    for (let at = start + 1; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit === QUOTE) return at + 1;
      if (unit < 0x20) return this.#fail(at, 'the closing quote of a text');
      if (unit === BACKSLASH) {
        const end = this.#end(ESCAPE, at + 1);
        if (end === at + 1) return this.#fail(at, 'an escape that JSON knows');
        at = end - 1;
      }
    }
    return this.#fail(text.length, 'the closing quote of a text');
  }

  /** @returns the offset behind what the pattern matches at `at`; `at` itself when it does not match */
  #end(pattern: RegExp, at: number): number {
    pattern.lastIndex = at;
    return pattern.test(this.#text) ? pattern.lastIndex : at;
  }

  #fail(at: number, expected: string): never {
    if (at >= this.#text.length) {
      throw new JsonSyntaxError(at, 'the file ends in the middle of a JSON object; is it complete?');
    }
    throw new JsonSyntaxError(at, `not JSON: expected ${expected}, found ${JSON.stringify(this.#text[at])}`);
  }
}

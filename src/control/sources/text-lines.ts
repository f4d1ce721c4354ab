/** Offset -> line number. The index is built when the first line is asked for. */
import { LineCounter } from 'yaml';

export class TextLines {
  readonly #text: string;
  #counter: LineCounter | null = null;

  constructor(text: string) {
    this.#text = text;
  }

  /** @param offset UTF-16 units from the start; past the end answers the last line @returns from 1 */
  lineAt(offset: number): number {
    this.#counter ??= countLines(this.#text);
    return this.#counter.linePos(offset).line;
  }
}

function countLines(text: string): LineCounter {
  const counter = new LineCounter();
  counter.addNewLine(0);
  // A newline that ends the text starts no line that an editor would show.
  for (let at = text.indexOf('\n'); at !== -1 && at + 1 < text.length; at = text.indexOf('\n', at + 1)) {
    counter.addNewLine(at + 1);
  }
  return counter;
}

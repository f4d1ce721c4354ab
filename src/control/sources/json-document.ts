/**
 * JSON text -> documents. `JSON.parse` makes the values; it does not say where they stand, so `JsonPlaces` walks the
 * text again, but only when a place is asked for.
 *
 * JSON is YAML, and the yaml library gives ranges; but it needs 2 s and 350 MB of heap for each 10 MB of JSON,
 * which for a large cluster's dump is more heap than Node has.
 */
import type { Parsed } from './document.js';
import { JsonPlaces, JsonSyntaxError } from './json-places.js';

/** @param text one JSON object, or several one after the other as kubectl reads them too */
export function readJsonDocuments(text: string): Parsed {
  const places = new JsonPlaces(text);
  try {
    return {
      documents: [{ value: JSON.parse(text) as unknown, offsetOf: (path) => places.offsetOf(0, path) }],
      failures: [],
    };
  } catch {
    return readJsonSequence(text, places);
  }
}

/** The slow way, for a text that is not exactly one JSON value: value after value, up to the first error. */
function readJsonSequence(text: string, places: JsonPlaces): Parsed {
  const documents: { value: unknown; offsetOf: Parsed['documents'][number]['offsetOf'] }[] = [];
  let at = 0;
  try {
    for (at = places.skipBlank(0); at < text.length; at = places.skipBlank(at)) {
      const start = at;
      const end = places.valueEnd(start);
      documents.push({
        value: JSON.parse(text.slice(start, end)) as unknown,
        offsetOf: (path) => places.offsetOf(start, path),
      });
      at = end;
    }
    return { documents, failures: [] };
  } catch (error) {
    if (error instanceof JsonSyntaxError)
      return { documents, failures: [{ offset: error.offset, reason: error.message }] };
    return {
      documents,
      failures: [{ offset: at, reason: `not readable as JSON: ${(error as Error).message}` }],
    };
  }
}

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Fills `into` with the first bytes of a file, as far as there are. @returns the file's length, or null when it cannot be read */
export function readBeginning(path: string, into: NodeJS.ArrayBufferView): number | null {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return null;
  }
  try {
    readSync(file, into, 0, into.byteLength, 0);
    return fstatSync(file).size;
  } finally {
    closeSync(file);
  }
}

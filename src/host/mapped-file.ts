/** The files of the state directory as memory. */
import { errnoName, mapFile } from '../../native-bindings/index.js';
import { EXIT, Failure } from '../shared/failure.js';

/** @returns the first `bytes` of a file, which is made or lengthened if need be @throws Error when it cannot be mapped */
export function mapped(path: string, bytes: number): ArrayBuffer {
  const memory = mapFile(path, bytes);
  if (typeof memory === 'number') throw new Error(`cannot map ${path}: ${errnoName(memory)}`);
  return memory;
}

/**
 * Makes a file, or lengthens it, so that a worker finds it allocated.
 * @throws Failure when there is no room
 */
export function reserve(path: string, bytes: number): void {
  const memory = mapFile(path, bytes);
  if (typeof memory !== 'number') return;
  throw new Failure(
    EXIT.HOST,
    `cannot make ${path} of ${Math.ceil(bytes / (1 << 20))} MiB: ${errnoName(memory)}; make room, lower --max-flows, or give another --state-dir`,
  );
}

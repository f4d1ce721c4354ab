/**
 * The few words that the main thread and its workers share beside the tables: an Int32Array used with Atomics,
 * looked at once a batch. A new table travels through a MessagePort; GENERATION says that one is there.
 */
export const SIGNAL = {
  /** 1: workers shall return. */
  STOP: 0,
  /** Number of the newest service table, from 1. */
  GENERATION: 1,
  /** SEEN + worker: the generation that this worker works with; 0 until it has begun. */
  SEEN: 2,
} as const;

export const signalsFor = (workers: number): Int32Array =>
  new Int32Array(new SharedArrayBuffer((SIGNAL.SEEN + workers) * Int32Array.BYTES_PER_ELEMENT));

/** A service table on its way to a worker. */
export interface PublishedTable {
  readonly generation: number;
  readonly bytes: SharedArrayBuffer;
}

/**
 * Where packets come from and go to. A device is tied to a slab: it fills its slots and sends them out, and says
 * how many. Nothing here throws for what a device answers; failures are negative errnos.
 */
export interface Device {
  /** Fills slots from 0 on with the packets that wait. @returns how many (0: none), or a negative errno */
  readBatch(): number;
  /**
   * Sends slots 0 to `count` - 1 whose length is above 0, in order, each with the slots that are chained to it (CHAIN); a
   * refused one's length becomes a negative errno.
   * @returns how many were sent, or a negative errno
   */
  writeBatch(count: number): number;
  /** Blocks until a packet waits, `timeoutMs` at most. @returns 1, 0 when the time is up, or a negative errno */
  wait(timeoutMs: number): number;
}

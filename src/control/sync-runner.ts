/**
 * Runs one thing again and again, never two at a time, and not more often than wanted: kube-proxy's
 * BoundedFrequencyRunner. A request during a run leads to one more run; a run that fails is tried again.
 */

/** A failed run is tried again after so long, and after twice as long each time; syncPeriod at most. */
const RETRY_MS = 1000;

export interface SyncRunnerOptions {
  /** Between the end of a run and the start of the next. */
  readonly minIntervalMs: number;
  /** A run happens at least this often, asked for or not. */
  readonly maxIntervalMs: number;
  /** Told about a run that failed. */
  readonly onFailure: (error: Error) => void;
}

export class SyncRunner {
  private readonly run: () => Promise<void>;
  private readonly options: SyncRunnerOptions;
  private timer: NodeJS.Timeout | undefined;
  /** When the timer fires; infinitely late when a run is in progress. */
  private dueMs = Number.POSITIVE_INFINITY;
  private running: Promise<void> | undefined;
  private again = false;
  private stopped = false;
  private lastEndMs: number;
  private failures = 0;

  /** The first run by itself is due after `maxIntervalMs`. */
  constructor(run: () => Promise<void>, options: SyncRunnerOptions) {
    this.run = run;
    this.options = options;
    this.lastEndMs = performance.now();
    this.schedule(options.maxIntervalMs);
  }

  /** A run shall happen as soon as the interval allows, after `delayMs` at the earliest. */
  request(delayMs = 0): void {
    if (this.running !== undefined) {
      this.again = true;
      return;
    }
    const nowMs = performance.now();
    const dueMs = Math.max(nowMs + delayMs, this.lastEndMs + this.options.minIntervalMs);
    if (dueMs < this.dueMs) this.schedule(dueMs - nowMs);
  }

  /** No run begins any more. Resolves when the one in progress has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private schedule(delayMs: number): void {
    if (this.stopped) return;
    clearTimeout(this.timer);
    this.dueMs = performance.now() + delayMs;
    // Node.js cuts the fraction off a delay, and would run too soon.
    this.timer = setTimeout(() => {
      this.dueMs = Number.POSITIVE_INFINITY;
      this.running = this.runOnce();
    }, Math.ceil(delayMs));
  }

  private async runOnce(): Promise<void> {
    this.again = false;
    const { minIntervalMs, maxIntervalMs, onFailure } = this.options;
    let nextMs = maxIntervalMs;
    try {
      await this.run();
      this.failures = 0;
    } catch (error) {
      nextMs = Math.min(maxIntervalMs, RETRY_MS * 2 ** this.failures);
      this.failures++;
      onFailure(error as Error);
    }
    this.lastEndMs = performance.now();
    this.running = undefined;
    this.schedule(this.again ? minIntervalMs : nextMs);
  }
}

/** Durations as Go writes them: "1h0m0s", "1.5s", "250ms". */

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** @param text as time.ParseDuration reads it @returns milliseconds, or null when it is no duration */
export function parseDurationMs(text: string): number | null {
  const whole = /^([-+]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)$/.exec(text);
  if (whole === null) return null;
  let ms = 0;
  for (const [, value, unit] of (whole[2] ?? '').matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    ms += Number(value) * (UNIT_MS[unit ?? ''] ?? 0);
  }
  return whole[1] === '-' ? -ms : ms;
}

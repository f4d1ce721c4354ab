/** Messages to the operator, on stderr: readable lines on a terminal, JSON lines elsewhere. The only importer of pino. */
import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

export type { Logger };

/** @param json JSON lines also on a terminal */
export function createLogger(json: boolean): Logger {
  const stderr = 2;
  if (json || !process.stderr.isTTY)
    return pino({ base: null }, pino.destination({ fd: stderr, sync: true }));
  const colorize = process.env['NO_COLOR'] === undefined;
  return pino(
    pretty({ destination: stderr, sync: true, colorize, ignore: 'pid,hostname', translateTime: 'HH:MM:ss' }),
  );
}

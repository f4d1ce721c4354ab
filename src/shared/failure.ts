/** A failure that the operator can do something about: it ends the command with one line and an exit code. */

/** Exit codes of the command line; the same for every command. */
export const EXIT = {
  OK: 0,
  /** The thing asked about is not so. */
  NO: 1,
  USAGE: 2,
  /** A privilege or a device is missing. */
  PRIVILEGE: 3,
  /** The host or the running dataplane failed. */
  HOST: 4,
} as const;

export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: number;

  /** @param message what went wrong and what to do about it, in one line */
  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

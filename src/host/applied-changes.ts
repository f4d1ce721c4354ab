/**
 * The changes that are in force on the host. Invariant: what takes a change back is in the journal before the change
 * is made and until it has been taken back, so that a crash at any moment leaves nothing that the next start does not
 * find. Changes are told apart by their command's text.
 */
import { EXIT, Failure } from '../shared/failure.js';
import { type Change, type Command, commandText, runCommands } from './change.js';

/** Changes that linger at most; of more the oldest are taken back. A rule that nothing matches any more costs nanoseconds. */
const LINGERING_MAX = 256;

/** Where it is written down what is in force, for the next start. */
export interface Journal {
  write(changes: readonly Change[]): void;
  /** Nothing is in force any more. */
  remove(): void;
}

export class AppliedChanges {
  private readonly journal: Journal;
  private readonly run: typeof runCommands;
  /** In the order in which they were made. */
  private applied: Change[] = [];

  /** @param run how commands are run */
  constructor(journal: Journal, run: typeof runCommands = runCommands) {
    this.journal = journal;
    this.run = run;
  }

  /** What is in force, in the order in which it was made. */
  list(): readonly Change[] {
    return this.applied;
  }

  /**
   * Goes on with what a process that was killed has left in force, so that no packet takes another way meanwhile. All of it is
   * asked for again: it may have been killed in the middle, and a person may have taken some of it back.
   */
  resume(changes: readonly Change[]): void {
    this.applied = [...changes];
    this.journal.write(this.applied);
    this.run(
      changes.map(({ apply }) => apply),
      () => true,
    );
  }

  /**
   * Makes those of `wanted` that are not in force, in their order. One Service's own that fails is left out and told.
   * @returns how many were made, and what failed in words
   * @throws Failure when another one fails; what this call made is taken back then
   */
  add(wanted: readonly Change[]): { made: number; problems: string[] } {
    const inForce = new Set(this.applied.map(textOf));
    const missing = wanted.filter((change) => !inForce.has(textOf(change)));
    if (missing.length === 0) return { made: 0, problems: [] };
    this.journal.write([...this.applied, ...missing]);
    const failures = this.run(
      missing.map(({ apply }) => apply),
      (index) => missing[index]?.ofService === true,
    );
    const failed = new Map(failures.map(({ index, reason }) => [index, reason]));
    const last = failures.at(-1);
    if (last !== undefined && missing[last.index]?.ofService !== true) {
      const made = missing.filter((_, index) => index < last.index && !failed.has(index));
      for (const { undo } of [...made].reverse()) if (undo !== undefined) this.run([undo]);
      this.journal.write(this.applied);
      if (this.applied.length === 0) this.journal.remove();
      throw new Failure(
        EXIT.HOST,
        `${failureText(missing[last.index], last.reason)}; what came before it is taken back`,
      );
    }
    this.applied = [...this.applied, ...missing.filter((_, index) => !failed.has(index))];
    if (failed.size > 0) this.journal.write(this.applied);
    return {
      made: missing.length - failed.size,
      problems: failures.map(({ index, reason }) => failureText(missing[index], reason)),
    };
  }

  /**
   * Takes back what is in force and not in `wanted`, the newest first.
   * @returns how many were taken back, and what could not be in words
   */
  removeOthers(wanted: readonly Change[]): { removed: number; problems: string[] } {
    const keep = new Set(wanted.map(textOf));
    const others = this.applied.filter((change) => !change.stays && !keep.has(textOf(change)));
    const lingering = others.filter(({ lingers }) => lingers);
    const stay = new Set(lingering.slice(Math.max(0, lingering.length - LINGERING_MAX)));
    const gone = others.filter((change) => !stay.has(change));
    const problems = this.takeBack(gone.filter(({ undo }) => undo !== undefined));
    const isGone = new Set(gone);
    this.applied = this.applied.filter((change) => !isGone.has(change));
    if (gone.length > 0) this.journal.write(this.applied);
    return { removed: gone.length, problems };
  }

  /**
   * Makes those routes and rules again that somebody else has taken away: a network manager that was restarted, or the
   * kernel, with an address that a route names. Asking for all of them is simpler, and as quick, as reading them.
   * @returns how many were missing
   */
  repair(): number {
    const again = this.applied.filter(
      ({ apply }) => apply.tool === 'ip' && /^(?:route|rule) /.test(apply.words),
    );
    const commands = again.map(({ apply }) => apply);
    // "File exists", "No such file": it is as it should be. Other failures are told when a change is made.
    return commands.length - this.run(commands, () => true).length;
  }

  /** Takes everything back and removes the state directory. @returns what could not be taken back, in words */
  undo(): string[] {
    const problems = this.takeBack(this.applied.filter(({ goesWithDevice }) => !goesWithDevice));
    this.applied = [];
    this.journal.remove();
    return problems;
  }

  /** The newest first, each whatever became of the others: a person may have taken some back already. */
  private takeBack(changes: readonly Change[]): string[] {
    const undo = changes.flatMap((change) => (change.undo === undefined ? [] : [change.undo])).reverse();
    return this.run(undo, () => true).map(({ index, reason }) => {
      const command = undo[index];
      return `\`${command === undefined ? '' : commandText(command)}\` failed: ${reason}`;
    });
  }
}

/** What a stop has to run for these changes, in the order in which to run it. */
export const undoAtStop = (changes: readonly Change[]): Command[] =>
  changes
    .flatMap(({ undo, goesWithDevice }) => (undo === undefined || goesWithDevice ? [] : [undo]))
    .reverse();

const textOf = (change: Change): string => commandText(change.apply);

const failureText = (change: Change | undefined, reason: string): string =>
  `\`${change === undefined ? '' : textOf(change)}\` failed: ${reason}`;

import type { Command } from 'commander';

/** A mistake in the words is an exception here, not the end of the process, so that every exit code is ours. */
export function throwsOnMisuse(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help shows what is understood)');
  for (const sub of command.commands) throwsOnMisuse(sub);
}

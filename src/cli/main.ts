/** The command line: parse, run one command, turn a failure into one line and an exit code. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { EXIT, Failure } from '../shared/failure.js';
import { checkCommand } from './check.js';
import { demoCommand } from './demo.js';
import { exportCommand } from './export.js';
import { labCommand } from './lab.js';
import { throwsOnMisuse } from './misuse.js';
import { upCommand } from './up.js';

const packageJson = new URL('../../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageJson, 'utf8')) as { version: string };

const program = new Command('flowpin')
  .description(
    'Kubernetes Service load balancer in userspace: packets from a TUN device, every flow pinned to its endpoint',
  )
  .version(version)
  .addCommand(upCommand())
  .addCommand(demoCommand())
  .addCommand(checkCommand())
  .addCommand(exportCommand())
  .addCommand(labCommand())
  .addHelpText(
    'after',
    '\nExit codes: 0 done, 1 not so, 2 wrong usage, 3 missing privilege or device, 4 host or runtime failure',
  );
throwsOnMisuse(program);

// `flowpin check | head`: with its reader gone there is nobody left to show anything to.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.HOST);
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.OK : EXIT.USAGE; // its message is printed already
  if (error instanceof Failure) {
    console.error(`flowpin: ${error.message}`);
    return error.exitCode;
  }
  console.error('flowpin: unexpected failure, please report it:', error);
  return EXIT.HOST;
}

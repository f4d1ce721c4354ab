/** `npm run conformance -- DIR`: kube-proxy's test tables against this proxy. */
import { statSync } from 'node:fs';
import { EXIT } from '../shared/failure.js';
import { Plane } from './plane.js';
import { failedCount, reportLines, runFolder } from './run.js';

process.exitCode = main(process.argv.slice(2));

function main(given: readonly string[]): number {
  const [folder, ...rest] = given;
  if (folder === undefined || rest.length > 0) return usage('one folder with conformance data is needed');
  if (!isDirectory(folder)) return usage(`there is no folder ${folder}`);
  const report = runFolder(folder, Plane);
  if (report.files.length === 0)
    return usage(`the folder ${folder} holds no known file, such as packet-flows.json`);
  console.log(reportLines(report).join('\n'));
  return failedCount(report) === 0 ? EXIT.OK : EXIT.NO;
}

function usage(problem: string): number {
  console.error(`conformance: ${problem}; usage: npm run conformance -- DIR`);
  return EXIT.USAGE;
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

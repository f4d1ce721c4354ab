/** `npm run bench [-- --quick] [--json FILE]`: prints a line a figure, and writes all of them to FILE. */
import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { parseArgs } from 'node:util';
import { compileFigures } from './compile.bench.js';
import { figureLine } from './figures.js';
import { pipelineFigures } from './pipeline.bench.js';

const { values } = parseArgs({ options: { quick: { type: 'boolean' }, json: { type: 'string' } } });
const rounds = values.quick ? 5 : 15;

const figures = [...pipelineFigures(rounds), ...(await compileFigures(rounds))];
for (const figure of figures) console.log(figureLine(figure));
if (values.json !== undefined) {
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release() };
  writeFileSync(
    values.json,
    `${JSON.stringify({ machine, versions: { node: process.version }, figures }, null, 2)}\n`,
  );
}

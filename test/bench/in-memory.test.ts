/** `npm run bench -- --quick`, the parts in memory: they run, and write what is agreed on. How fast, is not for a test. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import type { Results } from '../../bench/figures.js';
import { STRATEGIES } from '../../src/lab/compare/strategies.js';
import { packageFile } from '../../src/lab/package-root.js';

t.setTimeout(600_000); // about half a minute on an idle machine

const MAIN = packageFile('dist', 'bench', 'main.js');
const PARTS = ['steps', 'pipeline', 'memory', 'compile', 'compare'];
const STEPS = ['checksum', 'parse', 'flow-lookup', 'table-lookup', 'translate'];
const ALGORITHMS = [
  ...['cascade', 'uniform', 'round-robin', 'least-connection'],
  ...['shortest-expected-delay', 'never-queue', 'source-hash', 'maglev'],
];
const SERVICES = ['10', '1000', '10000', '100000'];

/** Every id that these parts are to write, with its unit. */
const EXPECTED: { [id: string]: string } = {
  'pipeline.alloc': 'bytes/packet',
  'memory.flow': 'bytes',
  'compile.250k': 'ms',
  'publish.one': 'ms',
};
for (const step of STEPS) EXPECTED[`step.${step}`] = 'ns';
for (const algorithm of ALGORITHMS) EXPECTED[`step.choose.${algorithm}`] = 'ns';
for (const services of SERVICES) EXPECTED[`lookup.${services}`] = 'ns';
for (const { name } of STRATEGIES) {
  for (const what of ['broken', 'moved', 'uneven'])
    EXPECTED[`compare.${what}.${name.replaceAll(' ', '-')}`] = '%';
}
for (const kind of ['hit', 'new']) {
  for (const family of ['v4', 'v6']) {
    for (const flows of ['1k', '64k', '1m']) EXPECTED[`pipeline.${kind}.${family}.${flows}`] = 'Mpps';
  }
  for (const services of SERVICES) EXPECTED[`pipeline.${kind}.services.${services}`] = 'Mpps';
}

t.test('every figure is there, with its unit, and a median between its extremes', async (t) => {
  const file = join(t.testdir(), 'results.json');
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...PARTS, '--quick', '--json', file]);
  const { machine, versions, date, quick, figures, skipped } = JSON.parse(
    readFileSync(file, 'utf8'),
  ) as Results;
  t.match(machine, { cpu: String, cores: Number, memoryGiB: Number, kernel: String });
  t.equal(versions.node, process.version);
  t.ok(Date.parse(date) > 0);
  t.equal(quick, true);
  t.strictSame(skipped, []);
  const printed = new Set(stdout.split('\n').map((line) => line.split(/ +/, 2).join(' ')));
  for (const [id, unit] of Object.entries(EXPECTED)) {
    t.match(
      figures.filter((figure) => figure.id === id),
      [{ id, unit, peer: 'flowpin' }],
    );
    t.ok(printed.has(`${id} flowpin`), `${id} is printed`);
  }
  for (const { id, median, min, max, rounds } of figures) {
    const mayBeNothing = id.startsWith('compare.') || id === 'pipeline.alloc';
    t.ok(min > 0 || (mayBeNothing && min === 0), `${id} is ${min} at least`);
    t.ok(min <= median && median <= max, `${id}: ${min} <= ${median} <= ${max}`);
    t.ok(rounds >= 3, `${id} has ${rounds} rounds`);
  }
});

t.test('a part that there is not is a wrong usage, and says which there are', async (t) => {
  await t.rejects(promisify(execFile)(process.execPath, [MAIN, 'nothing']), {
    code: 2,
    stderr: /no such part: nothing; there are steps, /,
  });
});

import { t } from 'tap';
import { labServices } from '../../../src/lab/compare/cluster.js';
import { compareInMemory } from '../../../src/lab/compare/compare.js';
import { loadOf } from '../../../src/lab/compare/load.js';
import { comparisonText } from '../../../src/lab/compare/report-table.js';
import { STRATEGIES } from '../../../src/lab/compare/strategies.js';
import { runOf, workloadNamed } from './support.js';

t.test('the same seed gives the same run for one, two and three workers', async (t) => {
  for (const name of ['short connections', 'endpoint crashed', 'worker killed']) {
    for (const { name: strategy } of STRATEGIES) {
      const [one, two, three] = [1, 2, 3].map((workers) =>
        JSON.stringify(runOf(strategy, workloadNamed(name), workers)),
      );
      t.ok(one === two && two === three, `${name}, ${strategy}`);
    }
  }
});

t.test('the same seed gives the same report byte for byte, another seed another', async (t) => {
  const report = (seed: number, workers: number): string => {
    const comparison = compareInMemory(
      {
        services: labServices(10),
        loads: ['keep-alive', 'endpoint crashed'].map((name) =>
          loadOf(workloadNamed(name), labServices(10), seed),
        ),
        strategies: STRATEGIES,
        seed,
        workers,
        proofs: { flows: 200, draws: 5 },
      },
      () => {},
    );
    return JSON.stringify(comparison) + comparisonText(comparison);
  };
  const first = report(1, 1);
  t.ok(first === report(1, 1), 'again');
  t.ok(first === report(1, 4), 'with four workers');
  t.not(first, report(2, 1));
});

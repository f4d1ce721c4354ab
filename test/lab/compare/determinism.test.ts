import { t } from 'tap';
import { labServices } from '../../../src/lab/compare/cluster.js';
import { compareInMemory } from '../../../src/lab/compare/compare.js';
import { loadOf } from '../../../src/lab/compare/load.js';
import { comparisonText } from '../../../src/lab/compare/report-table.js';
import { STRATEGIES } from '../../../src/lab/compare/strategies.js';
import { EVENT_DEFAULTS, GROUP_DEFAULTS, type Workload } from '../../../src/lab/compare/workload.js';
import { runOf } from './support.js';

/** Of everything a little: new, kept and UDP flows, a crash, workers lost while connections wait for an answer, another endpoint. */
const MIXED: Workload = {
  name: 'mixed',
  what: '',
  durationMs: 20_000,
  clients: [
    { ...GROUP_DEFAULTS, protocol: 'TCP', connections: 200, addresses: 60, beginMs: [0, 8000] },
    {
      ...GROUP_DEFAULTS,
      protocol: 'TCP',
      connections: 20,
      addresses: 20,
      beginMs: [0, 1000],
      requests: 15,
      thinkMs: 500,
    },
    {
      ...GROUP_DEFAULTS,
      protocol: 'UDP',
      connections: 20,
      addresses: 10,
      beginMs: [0, 1000],
      requests: 15,
      together: 2,
    },
  ],
  events: [
    { ...EVENT_DEFAULTS, event: 'endpoint-crashed', atMs: 2000, endpoint: 3, noticedAfterMs: 3000 },
    { ...EVENT_DEFAULTS, event: 'workers-killed', atMs: 2500 },
    { ...EVENT_DEFAULTS, event: 'endpoint-added', atMs: 4000 },
  ],
};

t.test('the same seed gives the same run for one, two and three workers', async (t) => {
  for (const { name } of STRATEGIES) {
    const [one, two, three] = [1, 2, 3].map((workers) => JSON.stringify(runOf(name, MIXED, workers)));
    t.ok(one === two && two === three, name);
  }
});

t.test('the same seed gives the same report byte for byte, another seed another', async (t) => {
  const services = labServices(10);
  const report = (seed: number, workers: number): string => {
    const loads = [loadOf(MIXED, services, seed)];
    const proofs = { flows: 200, draws: 5 };
    const comparison = compareInMemory(
      { services, loads, strategies: STRATEGIES, seed, workers, proofs },
      () => {},
    );
    return JSON.stringify(comparison) + comparisonText(comparison);
  };
  const first = report(1, 1);
  t.ok(first === report(1, 1), 'again');
  t.not(first, report(2, 1));
});

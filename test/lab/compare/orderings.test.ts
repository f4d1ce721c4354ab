import { t } from 'tap';
import type { Measures } from '../../../src/lab/compare/measures.js';
import { STRATEGIES, type StrategyName } from '../../../src/lab/compare/strategies.js';
import { EVENT_DEFAULTS, GROUP_DEFAULTS, type Workload } from '../../../src/lab/compare/workload.js';
import { measured, runOf, SEED, workloadNamed } from './support.js';

const PINNED = STRATEGIES.filter(({ pinned }) => pinned).map(({ name }) => name);

/** What a scenario has to show, in one sentence each. */
const CASES: [
  sentence: string,
  workload: string,
  strategies: StrategyName[],
  holds: (m: Measures) => boolean,
][] = [
  [
    'per-packet choice breaks nearly all connections of three packets',
    'short connections',
    ['per-packet'],
    ({ broken, connections }) => broken > 0.97 * connections,
  ],
  [
    'per-packet choice breaks every connection of many packets',
    'keep-alive',
    ['per-packet'],
    ({ broken, connections }) => broken === connections,
  ],
  [
    'nothing breaks, fails or moves where nothing happens, with a flow table or a stable hash',
    'short connections',
    [...PINNED, 'hash mod n', 'Maglev'],
    ({ broken, failed, moved, survivors }) => broken + failed + moved === 0 && survivors > 0,
  ],
  [
    'ClientIP keeps every client',
    'short connections',
    ['ClientIP'],
    (m) => m.affinityViolations === 0 && m.affinityChances > 0,
  ],
  [
    'without affinity most further connections go elsewhere',
    'short connections',
    ['random', 'numgen', 'rr+retry'],
    (m) => m.affinityViolations > 0.5 * m.affinityChances,
  ],
  [
    'behind one address everything that goes by address is one client',
    'one address',
    ['ClientIP', 'hash mod n', 'Maglev', 'Maglev+table'],
    ({ evenness }) => evenness !== null && evenness.flows.maxByMean === evenness.flows.values.length,
  ],
  [
    'round robin and least connections are as even as can be',
    'short connections',
    ['rr+retry', 'least conn'],
    ({ evenness }) => evenness?.flows.cv === 0,
  ],
  [
    'two datagrams at once from one socket go to one endpoint, and both are answered',
    'DNS',
    PINNED,
    ({ moved, unanswered, datagrams }) => moved === 0 && unanswered === 0 && datagrams === 1200,
  ],
  [
    'with a flow table a new endpoint disturbs nobody',
    'endpoint added',
    PINNED,
    ({ broken, failed, moved, unanswered, recoverMs }) =>
      broken + failed + moved + unanswered === 0 && recoverMs === 0,
  ],
  [
    'hash mod n moves nearly all flows when an endpoint comes',
    'endpoint added',
    ['hash mod n'],
    ({ moved, survivors }) => moved > 0.75 * survivors,
  ],
  [
    'Maglev moves few flows when an endpoint comes',
    'endpoint added',
    ['Maglev'],
    ({ moved, survivors }) => moved < 0.2 * survivors,
  ],
  [
    'with a flow table only connections of the endpoint that ended break',
    'endpoint removed',
    PINNED,
    ({ broken, bystanders, moved, failed }) => broken > 0 && bystanders + moved + failed === 0,
  ],
  [
    'no datagram goes to an endpoint that was taken out',
    'endpoint removed',
    STRATEGIES.map(({ name }) => name),
    ({ staleDatagrams, unanswered }) => staleDatagrams === 0 && unanswered === 0,
  ],
  [
    'with retry no new connection fails though an endpoint is silent',
    'endpoint crashed',
    ['rr+retry'],
    ({ failed }) => failed === 0,
  ],
  [
    'without retry some of them fail',
    'endpoint crashed',
    ['random', 'numgen', 'least conn'],
    ({ failed, recoverMs }) => failed > 0 && (recoverMs ?? 0) > 1000,
  ],
  [
    'with a flow table TCP connections outlive a flapping endpoint',
    'flapping',
    PINNED,
    ({ broken, failed, moved, unanswered }) => broken + failed + moved + unanswered === 0,
  ],
  [
    'without one a flapping endpoint breaks connections',
    'flapping',
    ['hash mod n', 'Maglev'],
    ({ broken, causes }) => broken > 0 && causes.reset === broken,
  ],
  [
    'table updates are noticed by nobody',
    'table updates',
    [...PINNED, 'hash mod n', 'Maglev'],
    ({ broken, failed, moved, unanswered }) => broken + failed + moved + unanswered === 0,
  ],
  [
    'the loss of the workers is noticed by nobody',
    'workers killed',
    [...PINNED, 'hash mod n', 'Maglev'],
    ({ broken, failed, moved, unanswered }) => broken + failed + moved + unanswered === 0,
  ],
];

for (const [sentence, workload, strategies, holds] of CASES) {
  t.test(`${sentence} (${workload})`, async (t) => {
    for (const strategy of strategies) {
      const measures = measured(strategy, workloadNamed(workload));
      t.ok(holds(measures), `${strategy}, seed ${SEED}`, { measures });
    }
  });
}

t.test('least connections are evener than random on long connections', async (t) => {
  const random = measured('random', workloadNamed('keep-alive')).evenness?.flows.cv ?? 0;
  const least = measured('least conn', workloadNamed('keep-alive')).evenness?.flows.cv ?? 1;
  t.ok(least < random / 2, `${least} to ${random}, seed ${SEED}`);
});

t.test('connections of k = 5 packets: per-packet choice leaves none of 400, pinned choice all', async (t) => {
  const workload: Workload = {
    name: 'two requests',
    what: '',
    durationMs: 20_000,
    clients: [
      {
        ...GROUP_DEFAULTS,
        protocol: 'TCP',
        connections: 400,
        addresses: 400,
        beginMs: [0, 8000],
        requests: 2,
      },
    ],
    events: [],
  };
  t.equal(runOf('random', workload).flows[0]?.packets, 5);
  t.ok(measured('per-packet', workload).broken >= 399, `seed ${SEED}`);
  t.equal(measured('random', workload).broken, 0);
});

t.test('a refused connect is one that fails, once the last endpoint is gone', async (t) => {
  const removals = Array.from({ length: 10 }, (_, endpoint) => ({
    ...EVENT_DEFAULTS,
    event: 'endpoint-removed' as const,
    atMs: 1000,
    endpoint,
    graceMs: 0,
  }));
  const workload: Workload = {
    name: 'all gone',
    what: '',
    durationMs: 20_000,
    clients: [{ ...GROUP_DEFAULTS, protocol: 'TCP', connections: 20, addresses: 20, beginMs: [2000, 4000] }],
    events: removals,
  };
  for (const strategy of STRATEGIES) {
    const { failed, causes } = measured(strategy.name, workload);
    t.equal(failed, 20, strategy.name);
    t.same(causes, { rejected: 20 }, strategy.name);
  }
});

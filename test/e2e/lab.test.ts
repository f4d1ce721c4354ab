// The lab's two engines: the same workloads in memory and on real sockets through `flowpin up` come to the same.

import { compareReal } from '../../src/lab/compare/real.js';
import { realWorkloads } from '../../src/lab/compare/scenarios.js';
import { strategyNamed } from '../../src/lab/compare/strategies.js';
import { tapInSandbox } from './support.js';

const t = await tapInSandbox();

/** One in a million runs fails by chance. */
const P_MIN = 1e-6;

const workloads = realWorkloads(true).filter(({ name }) => name !== 'endpoint removed');
const agreements = await compareReal(
  { workloads, strategies: (['rr+retry', 'Maglev+table'] as const).map(strategyNamed), seed: 1 },
  () => {},
);

for (const { workload, strategy, memory, real, harmP, spreadP, same } of agreements) {
  t.test(`${strategy}, ${workload}: both engines agree`, async (t) => {
    t.equal(real.connections, memory.connections);
    t.equal(real.datagrams, memory.datagrams);
    t.ok(harmP > P_MIN, `what went wrong: p = ${harmP}`, { memory, real });
    t.ok(spreadP > P_MIN, `who got how many: p = ${spreadP}`, { memory, real });
    t.equal(real.split, 0, 'every connection and every pair of datagrams has one endpoint');
    if (workload === 'short connections') t.equal(real.failed + real.broken + real.unanswered, 0);
    if (strategy === 'rr+retry') t.equal(real.failed, 0, 'a silent endpoint fails no connect');
    if (same !== null) t.equal(same[0], same[1], 'the same hash gives the same endpoint');
  });
}
t.equal(agreements.length, 4);

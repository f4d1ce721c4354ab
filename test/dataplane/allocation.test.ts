/** The hot path allocates nothing: measured, not believed. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

/** Bytes. The smallest object there is takes 12; what a batch or a late optimisation takes is far below one a packet. */
const NOTHING = 1;

t.test('a packet costs no JavaScript heap, whatever its way', async (t) => {
  const script = fileURLToPath(new URL('../support/allocation.js', import.meta.url));
  const output = execFileSync(process.execPath, ['--expose-gc', '--max-semi-space-size=256', script], {
    encoding: 'utf8',
  });
  const bytes = JSON.parse(output) as Record<string, number>;
  t.comment(output.trim());
  for (const way of [
    'hits',
    'hits6',
    'passed',
    'rejected',
    'limited',
    'echoed',
    'related',
    'related6',
    'created',
    'full',
    'fragments',
    'fragmentsHeld',
    'fragmentsLost',
  ]) {
    t.ok(bytes[way] < NOTHING, `${way}: ${bytes[way]} bytes a packet`);
  }
});

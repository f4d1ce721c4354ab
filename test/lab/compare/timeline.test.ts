import fc from 'fast-check';
import { t } from 'tap';
import { Timeline } from '../../../src/lab/compare/timeline.js';

t.test('things happen in the order of their times, and of equal times as they were asked for', async (t) => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 60 }), (times) => {
        const timeline = new Timeline();
        const happened: string[] = [];
        for (const [index, ms] of times.entries()) {
          timeline.at(ms, () => {
            happened.push(`${timeline.nowMs} ${index}`);
            // What is asked for while something happens comes behind all that is due by then.
            if (ms % 3 === 0) timeline.after(0, () => happened.push(`${timeline.nowMs} again`));
          });
        }
        while (timeline.nextMs < Number.POSITIVE_INFINITY) timeline.step();
        const expected = [...new Set(times)]
          .sort((a, b) => a - b)
          .flatMap((ms) => {
            const here = [...times.entries()].filter(([, at]) => at === ms);
            const again = ms % 3 === 0 ? here.map(() => `${ms} again`) : [];
            return [...here.map(([index]) => `${ms} ${index}`), ...again];
          });
        return happened.join() === expected.join();
      }),
      { seed: 1, numRuns: 500 },
    ),
  );
});

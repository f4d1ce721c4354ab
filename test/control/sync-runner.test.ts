/** How often a sync runs. Times are compared only where a slow machine cannot turn the comparison round. */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { SyncRunner, type SyncRunnerOptions } from '../../src/control/sync-runner.js';

const DAY_MS = 86_400_000;

/** A runner whose runs are recorded and last as long as the test says. */
function runnerFor(t: Test, options: Partial<SyncRunnerOptions> = {}) {
  const starts: number[] = [];
  const failures: string[] = [];
  let running = 0;
  let overlapped = false;
  const behaviour = { run: async (): Promise<void> => {} };
  const runner = new SyncRunner(
    async () => {
      starts.push(performance.now());
      running += 1;
      overlapped ||= running > 1;
      try {
        await behaviour.run();
      } finally {
        running -= 1;
      }
    },
    {
      minIntervalMs: 0,
      maxIntervalMs: DAY_MS,
      onFailure: ({ message }) => failures.push(message),
      ...options,
    },
  );
  t.teardown(() => runner.stop());
  const until = async (count: number): Promise<void> => {
    for (let i = 0; i < 2000 && starts.length < count; i++) await sleep(5);
    t.equal(starts.length, count);
  };
  return { runner, starts, failures, behaviour, until, overlapped: () => overlapped };
}

t.test('it runs when it is asked to, and not by itself before maxInterval', async (t) => {
  const { runner, starts, until } = runnerFor(t);
  await sleep(30);
  t.equal(starts.length, 0);
  runner.request();
  await until(1);
});

t.test('many requests are one run, and one during a run is one more', async (t) => {
  const { runner, behaviour, until, overlapped, starts } = runnerFor(t);
  behaviour.run = () => sleep(30);
  for (let i = 0; i < 10; i++) runner.request();
  await until(1);
  for (let i = 0; i < 10; i++) runner.request();
  await until(2);
  await sleep(100);
  t.equal(starts.length, 2);
  t.equal(overlapped(), false);
});

t.test('between two runs there is minInterval', async (t) => {
  const { runner, starts, until } = runnerFor(t, { minIntervalMs: 100 });
  runner.request();
  await until(1);
  runner.request();
  await until(2);
  t.ok(starts[1] - starts[0] >= 99);
});

t.test('a request for later does not put off one for now', async (t) => {
  const { runner, until } = runnerFor(t);
  runner.request();
  runner.request(DAY_MS);
  await until(1);
});

t.test('it runs by itself after maxInterval', async (t) => {
  const { until } = runnerFor(t, { maxIntervalMs: 20 });
  await until(3);
});

t.test('a run that fails is told and tried again', async (t) => {
  const { runner, behaviour, failures, until } = runnerFor(t, { maxIntervalMs: 50 });
  behaviour.run = () => Promise.reject(new Error('no'));
  runner.request();
  await until(2);
  t.match(failures, ['no']);
});

t.test('stop waits for the run in progress, and none follows', async (t) => {
  const { runner, behaviour, starts, until } = runnerFor(t, { maxIntervalMs: 20 });
  let ended = false;
  behaviour.run = async () => {
    await sleep(50);
    ended = true;
  };
  runner.request();
  await until(1);
  await runner.stop();
  t.equal(ended, true);
  runner.request();
  await sleep(60);
  t.equal(starts.length, 1);
});

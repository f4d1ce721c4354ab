/** Real worker threads, with a FIFO in the place of the TUN queue: what is written into it is a frame. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DropReason } from '../../src/dataplane/verdict.js';
import { COUNTER } from '../../src/table/counters.js';
import { SIGNAL } from '../../src/table/signals.js';
import { tableOf } from '../support/dataplane.js';
import { frame } from '../support/packets.js';
import { rig } from '../support/supervisor.js';

function fifo(dir: string, name: string): number {
  execFileSync('mkfifo', [join(dir, name)]);
  return openSync(join(dir, name), constants.O_RDWR | constants.O_NONBLOCK);
}

t.test('workers begin with the current table, take up the next one, and stop when told to', async (t) => {
  const dir = t.testdir();
  const descriptors = [fifo(dir, 'a'), fifo(dir, 'b')];
  const { signals, publisher, supervisor, ended, restarts, counters } = rig(dir, descriptors);
  await publisher.seen(10_000);
  t.equal(Atomics.load(signals, SIGNAL.SEEN), 1);
  t.equal(Atomics.load(signals, SIGNAL.SEEN + 1), 1);

  t.equal(publisher.publish(tableOf({ '10.96.0.2:80/tcp': [] })), 2);
  t.equal(publisher.publish(tableOf({ '10.96.0.3:80/tcp': [] })), 3);
  await publisher.seen(10_000);
  t.equal(Atomics.load(signals, SIGNAL.SEEN + 1), 3);

  writeSync(
    descriptors[0],
    frame({ from: '10.0.0.1:1', to: '10.96.0.3:80', fragment: { offset: 0, more: true } }),
  );
  while (counters()[COUNTER.RECEIVED] === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(counters()[COUNTER.DROPPED + DropReason.BadFragment], 1);

  await supervisor.stop();
  await ended;
  publisher.close();
  t.strictSame(restarts, []);
  for (const descriptor of descriptors) closeSync(descriptor);
});

t.test(
  'a worker that fails is started again a few times, then the supervisor gives up with the reason',
  async (t) => {
    const closed = 1_000_000; // no process has so many descriptors open
    const { supervisor, publisher, ended, restarts } = rig(t.testdir(), [closed]);
    await t.rejects(ended, /worker 0: the TUN device answered EBADF/);
    t.equal(restarts.length, 5);
    await supervisor.stop();
    publisher.close();
  },
);

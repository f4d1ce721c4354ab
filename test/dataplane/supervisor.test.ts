/** Real worker threads, with a FIFO in the place of the TUN queue: what is written into it is a frame. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { timeoutsOf } from '../../src/conntrack/timeouts.js';
import { Publisher } from '../../src/control/publish/publisher.js';
import { Supervisor } from '../../src/dataplane/supervisor.js';
import { DropReason } from '../../src/dataplane/verdict.js';
import { COUNTER } from '../../src/table/counters.js';
import { SIGNAL, signalsFor } from '../../src/table/signals.js';
import { tableOf } from '../support/dataplane.js';
import { frame } from '../support/packets.js';

const NO_POOL = {
  addresses: new Int32Array(0),
  network: new Int32Array(4),
  mask: new Int32Array(4).fill(-1),
};

interface Rig {
  readonly signals: Int32Array;
  readonly publisher: Publisher;
  readonly supervisor: Supervisor;
  readonly ended: Promise<void>;
  readonly restarts: string[];
  readonly counters: () => Float64Array;
}

function rig(dir: string, descriptors: number[]): Rig {
  const workers = descriptors.length;
  const signals = signalsFor(workers);
  const publisher = new Publisher(signals, tableOf({ '10.96.0.1:80/tcp': ['10.1.0.1:80'] }), () =>
    supervisor.wake(),
  );
  const restarts: string[] = [];
  const supervisor: Supervisor = new Supervisor({
    workers,
    signals,
    startupOf: (worker) => ({
      worker,
      descriptor: descriptors[worker],
      signals,
      ...publisher.connect(worker),
      flowsPaths: [join(dir, `flows4-${worker}`), join(dir, `flows6-${worker}`)],
      flowCapacity: 1024,
      countersPath: join(dir, `counters-${worker}`),
      affinityPath: join(dir, 'affinity'),
      affinityCapacity: 1024,
      turns: new Int32Array(new SharedArrayBuffer(64)),
      active: new Int32Array(new SharedArrayBuffer(64)),
      penalties: new Int32Array(new SharedArrayBuffer(64)),
      seed: 1,
      snatPools: [NO_POOL, NO_POOL],
      timeouts: timeoutsOf('linux'),
    }),
    onRestart: (_, failure) => restarts.push(failure.message),
  });
  const ended = supervisor.run();
  const counters = () => {
    const bytes = readFileSync(join(dir, 'counters-0'));
    return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 1024));
  };
  return { signals, publisher, supervisor, ended, restarts, counters };
}

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

/**
 * What a change of Services costs: planning and compiling 10,000 Services with 25 endpoints each, the same after one of them
 * changed, and the time from publishing a table until a sleeping worker works with it.
 */

import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timeoutsOf } from '../src/conntrack/timeouts.js';
import { compile } from '../src/control/compile/compile.js';
import { Planner } from '../src/control/compile/plan.js';
import { Registry } from '../src/control/compile/registry.js';
import { PLAIN_OPTIONS, type ProxyOptions } from '../src/control/model/proxy-options.js';
import { Publisher } from '../src/control/publish/publisher.js';
import type { KubeObject } from '../src/control/sources/kube-object.js';
import { Origin } from '../src/control/sources/origin.js';
import { readObject } from '../src/control/sources/read-object.js';
import { Supervisor } from '../src/dataplane/supervisor.js';
import { ENDPOINT_ROWS } from '../src/table/counters.js';
import { SIGNAL, signalsFor } from '../src/table/signals.js';
import { type Figure, figureOf } from './figures.js';

const SERVICES = 10_000;
const ENDPOINTS = 25;

const OPTIONS: ProxyOptions = { ...PLAIN_OPTIONS, nodeIPs: ['192.168.0.2'], links: [] };

/** @returns ms to plan and compile everything, to plan and compile one change, and for a worker to see it */
export async function compileFigures(rounds: number): Promise<Figure[]> {
  const objects = Array.from({ length: SERVICES }, (_, i) => [service(i), slice(i, ENDPOINTS)]).flat();
  const all: number[] = [];
  const one: number[] = [];
  let table = new SharedArrayBuffer(0);
  for (let round = 0; round < rounds; round++) {
    const planner = new Planner(OPTIONS);
    const registry = new Registry(new Int32Array(new SharedArrayBuffer(4 << 17)), 1);
    planner.state.replace(objects);
    const begin = performance.now();
    table = compile(planner.plan(), OPTIONS, registry, 1);
    const compiled = performance.now();
    planner.state.upsert(slice(round, ENDPOINTS - 1));
    const changed = performance.now();
    compile(planner.plan(), OPTIONS, registry, 2);
    all.push(compiled - begin);
    one.push(performance.now() - changed);
  }
  return [
    figureOf('compile.250k', 'ms', all),
    figureOf('compile.one', 'ms', one),
    figureOf('publish.one', 'ms', await publishTimes(table, rounds * 20)),
  ];
}

/** A real worker thread that sleeps on a FIFO in the place of the TUN queue. */
async function publishTimes(table: SharedArrayBuffer, rounds: number): Promise<number[]> {
  const dir = mkdtempSync(join(tmpdir(), 'flowpin-bench-'));
  execFileSync('mkfifo', [join(dir, 'queue')]);
  const descriptor = openSync(join(dir, 'queue'), constants.O_RDWR | constants.O_NONBLOCK);
  const signals = signalsFor(1);
  const noPool = {
    addresses: new Int32Array(0),
    network: new Int32Array(4),
    mask: new Int32Array(4).fill(-1),
  };
  const publisher: Publisher = new Publisher(signals, table, () => supervisor.wake());
  const shared = () => new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS * 4));
  const [active, penalties, turns] = [shared(), shared(), shared()];
  const supervisor = new Supervisor({
    workers: 1,
    signals,
    startupOf: (worker) => ({
      worker,
      descriptor,
      signals,
      ...publisher.connect(worker),
      flowsPaths: [join(dir, 'flows4'), join(dir, 'flows6')],
      flowCapacity: 1024,
      countersPath: join(dir, 'counters'),
      affinityPath: join(dir, 'affinity'),
      affinityCapacity: 1024,
      turns,
      active,
      penalties,
      seed: 1,
      snatPools: [noPool, noPool],
      timeouts: timeoutsOf('linux'),
      coalesce: 0,
    }),
    onRestart: (_, failure) => {
      throw failure;
    },
  });
  const ended = supervisor.run();
  await publisher.seen(10_000);
  rmSync(dir, { recursive: true }); // the worker has mapped them: nothing is left behind, however this ends
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await new Promise((resolve) => setTimeout(resolve, 5)); // asleep again
    const begin = performance.now();
    const generation = publisher.publish(table);
    while (Atomics.load(signals, SIGNAL.SEEN) < generation);
    times.push(performance.now() - begin);
  }
  await supervisor.stop();
  await ended;
  publisher.close();
  closeSync(descriptor);
  return times;
}

const service = (i: number): KubeObject =>
  read({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `s${i}`, namespace: 'bench' },
    spec: { clusterIP: `10.96.${i >> 8}.${i & 255}`, ports: [{ port: 80, protocol: 'TCP' }] },
  });

const slice = (i: number, endpoints: number): KubeObject =>
  read({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `s${i}-1`, namespace: 'bench', labels: { 'kubernetes.io/service-name': `s${i}` } },
    addressType: 'IPv4',
    ports: [{ port: 8080, protocol: 'TCP' }],
    endpoints: Array.from({ length: endpoints }, (_, e) => {
      const number = i * ENDPOINTS + e;
      return { addresses: [`10.${128 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`] };
    }),
  });

function read(value: object): KubeObject {
  const { object } = readObject(value, new Origin('bench', () => 1));
  if (object === null) throw new Error('the benchmark made an object that is none');
  return object;
}

/** Flows that other workers have left: every one that can be gone on with is, and the others are counted. */
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { mapFile } from '../../native-bindings/index.js';
import { FLOW_FILE, flowFileBytes } from '../../src/conntrack/flow-table.js';
import { prepareFlowFiles } from '../../src/host/flow-files.js';
import { StateDir } from '../../src/host/state-dir.js';
import { FAMILIES, FAMILY } from '../../src/wire/family.js';
import { frame, view } from '../support/packets.js';
import { TestWorkers } from '../support/workers.js';

const VIP = ['10.103.145.7:8888', '[fd00:10:96::7]:8888'] as const;
const SERVICES = {
  [`${VIP[0]}/tcp`]: ['10.244.0.3:8080', '10.244.1.2:8080'],
  [`${VIP[1]}/tcp`]: ['[fd00:244::3]:8080', '[fd00:244:1::2]:8080'],
};
const client = (family: number, n: number): string =>
  family === FAMILY.V4 ? `10.0.1.2:${32768 + 2 * n}` : `[2001:db8::2]:${32768 + 2 * n}`;

/** Workers whose flow tables are the files of a state directory. */
function workersOn(state: StateDir, count: number, capacity: number, masquerade: boolean): TestWorkers {
  return new TestWorkers(SERVICES, count, {
    flowCapacity: capacity,
    masquerade,
    flowFilesOf: (worker) =>
      FAMILIES.map(
        (family) => mapFile(state.flowsPath(worker, family), flowFileBytes(family, capacity)) as ArrayBuffer,
      ),
  });
}

const NOW_SEC = 1000;
const FLOWS = 300;

function prepare(state: StateDir, workers: number, capacity: number, nowSec = NOW_SEC): string[] {
  const said: string[] = [];
  prepareFlowFiles(state, { workers, capacity, nowSec, warn: (message) => said.push(message) });
  return said;
}

const cases = [
  { before: 1, now: 2, was: 1024, is: 1024 },
  { before: 2, now: 1, was: 512, is: 1024 },
  { before: 2, now: 3, was: 1024, is: 1024 },
  { before: 3, now: 5, was: 512, is: 4096 },
  { before: 1, now: 1, was: 1024, is: 2048 },
  { before: 2, now: 2, was: 1024, is: 1024 },
];
for (const { before, now, was, is } of cases) {
  for (const masquerade of [true, false]) {
    const title = `${before} workers of ${was} flows, then ${now} of ${is}, ${masquerade ? 'masqueraded' : 'kept sources'}`;
    t.test(title, async (t) => {
      const state = new StateDir(join(t.testdir(), 'state'));
      state.open();
      const first = workersOn(state, before, was, masquerade);
      const answers: { family: number; n: number; reply: Uint8Array; endpoint: string; source: string }[] =
        [];
      for (const family of FAMILIES) {
        for (let n = 0; n < FLOWS; n++) {
          const [sent] = first.deliver(
            0,
            frame({ from: client(family, n), to: VIP[family], flags: ['SYN'] }),
          );
          const { from: source, to: endpoint } = view(sent!);
          const reply = frame({ from: endpoint, to: source, flags: ['SYN', 'ACK'] });
          first.deliver(0, reply);
          answers.push({ family, n, reply, endpoint, source });
        }
      }

      const said = prepare(state, now, is);
      if (before === now && was === is) t.strictSame(said, [], 'nothing to do, nothing said');
      else t.match(said, [/^300 IPv4 flows of \d tables went into/, /^300 IPv6 flows/]);

      const second = workersOn(state, now, is, masquerade);
      t.equal(second.flowCount, 2 * FLOWS);
      for (const { family, n, reply, endpoint, source } of answers) {
        const [back] = second.deliver(n % now, reply);
        t.equal(view(back!).to, client(family, n), 'an answer finds its flow');
        const [there] = second.deliver((n + 1) % now, frame({ from: client(family, n), to: VIP[family] }));
        const { from, to } = view(there!);
        t.strictSame({ from, to }, { from: source, to: endpoint }, 'and the client its endpoint');
      }
      t.equal(second.flowCount, 2 * FLOWS, 'no flow was begun anew');
      t.strictSame(
        readdirSync(state.path).sort(),
        Array.from({ length: now }, (_, i) => [`flows-${i}-ipv4`, `flows-${i}-ipv6`]).flat(),
        'and no other file is left',
      );
    });
  }
}

t.test('flows that have no room, or have expired, are not taken along', async (t) => {
  const state = new StateDir(join(t.testdir(), 'state'));
  state.open();
  const first = workersOn(state, 1, 1024, true);
  for (let n = 0; n < FLOWS; n++) {
    first.deliver(0, frame({ from: client(FAMILY.V4, n), to: VIP[0], flags: ['SYN'] }));
  }
  t.match(prepare(state, 1, 256), [/^256 IPv4 flows of 1 tables went into 1 of 256 flows; 44 have no place/]);
  t.strictSame(prepare(state, 1, 512, NOW_SEC + 10_000_000), [], 'none is alive');
  t.equal(workersOn(state, 1, 512, true).flowCount, 0);
});

const damaged: readonly (readonly [name: string, damage: (path: string) => void, said: RegExp])[] = [
  ['random bytes', (path) => writeFileSync(path, Buffer.alloc(100_000, 0x5a)), /not a flow table; kept as/],
  [
    'an empty file',
    (path) => writeFileSync(path, ''),
    /^\d+ IPv4 flows of 1 tables went into 2 of 512 flows$/,
  ],
  ['a text', (path) => writeFileSync(path, 'hello'), /not a flow table; kept as/],
  [
    'an older layout',
    (path) => {
      const bytes = readFileSync(path);
      bytes.writeInt32LE(1, FLOW_FILE.VERSION * 4);
      writeFileSync(path, bytes);
    },
    /flow table of another layout \(version 1\); kept as/,
  ],
  [
    'a file cut in the middle',
    (path) => truncateSync(path, 20_000),
    /flow table cut off at 20000 bytes; kept as/,
  ],
];
for (const [name, damage, expected] of damaged) {
  t.test(
    `${name} in the place of a flow file is set aside, and what others hold is gone on with`,
    async (t) => {
      const state = new StateDir(join(t.testdir(), 'state'));
      state.open();
      const first = workersOn(state, 2, 512, true);
      for (let n = 0; n < FLOWS; n++) {
        first.deliver(0, frame({ from: client(FAMILY.V4, n), to: VIP[0], flags: ['SYN'] }));
      }
      const [, other] = first.workers;
      const path = state.flowsPath(0, FAMILY.V4);
      damage(path);
      const said = prepare(state, 2, 512);
      t.match(said[0] ?? '', expected);
      const [aside] = readdirSync(state.path).filter((file) => file.includes('set-aside'));
      t.equal(aside !== undefined, name !== 'an empty file', 'nothing that was something is thrown away');
      t.equal(workersOn(state, 2, 512, true).flowCount, other!.flowCount);
      t.ok(existsSync(path), 'and there is a fresh table in its place');
    },
  );
}

// What may happen to a proxy that runs: killed, halted, its device or its memory taken away. Connections live on, or the
// host is left as it was, with one line that says what to do.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { flowpinArgs, STATE_DIR, startUp, TUN_NAME } from '../../src/lab/flowpin-up.js';
import type { Host } from '../../src/lab/host.js';
import { hostState, settledHostState, stateChanges } from '../../src/lab/host-state.js';
import type { HttpReport } from '../../src/lab/http-client.js';
import { buildHttpenv, HTTPENV, labScript, startOnEndpoints } from '../../src/lab/httpenv.js';
import type { LabProcess } from '../../src/lab/process.js';
import type { TransferReport } from '../../src/lab/tcp-transfer.js';
import { readCounters } from '../../src/observe/counters.js';
import { endpointsAt, FILES, lastJson, TRANSFER, tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildHttpenv();
t.teardown(() => lab.close());
const node = lab.router;
const client = lab.host('client');
/** A host whose own address is kept towards the endpoints on other links. */
const pod = lab.host('endpoint-2');
const before = await settledHostState(node);
const changes = async (): Promise<string[]> => stateChanges(before, await hostState(node));

const MIB = 1024 * 1024;
const ARGS = ['--cluster-cidr', '10.244.0.0/16'];
/** Both ways at once, for about six seconds: long enough to be in the middle whatever else the machine does. */
const flags = (bytes: number): string[] => [
  ...['--bytes', String(bytes), '--pace', String(bytes / 6)],
  ...['--silence', '40'],
];

/** Transfers under way, and what both ends say when they are through. */
interface Transfers {
  /** Until every one of them moves bytes. */
  readonly started: Promise<void>;
  /** Those that ended with an error, or did not arrive as they were sent, both ways. */
  readonly broken: () => Promise<object[]>;
}

async function transfers(from: readonly Host[], bytes: number): Promise<Transfers> {
  const servers = await startOnEndpoints(lab, endpointsAt(9000), (endpoint) => [
    ...[labScript('tcp-transfer'), '--listen', endpoint, '--seed', '11'],
    ...flags(bytes),
  ]);
  const flowsBefore = readCounters(STATE_DIR).flowsCreated;
  const running = from.map((host, i) =>
    host.run(
      process.execPath,
      [labScript('tcp-transfer'), '--to', TRANSFER, '--seed', String(20 + i), ...flags(bytes)],
      { timeoutMs: 80_000 },
    ),
  );
  return {
    started: (async () => {
      for (let round = 0; round < 1000; round++) {
        if (readCounters(STATE_DIR).flowsCreated >= flowsBefore + from.length) break;
        await sleep(10);
      }
      await sleep(1000);
    })(),
    async broken() {
      const here = (await Promise.all(running)).map(({ stdout }) => lastJson<TransferReport>(stdout));
      const there = reports(servers);
      await Promise.all(servers.map((server) => server.stop('SIGTERM')));
      return here.flatMap(({ local, error, sent, received }) => {
        const peer = there.find((other) => other.received.sha256 === sent.sha256);
        const isWhole =
          sent.bytes === bytes && received.bytes === bytes && peer?.sent.sha256 === received.sha256;
        return isWhole && error === undefined ? [] : [{ local, error, sent, received }];
      });
    },
  };
}

const reports = (servers: readonly LabProcess[]): TransferReport[] =>
  servers.flatMap(({ stdout }) =>
    stdout.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as TransferReport] : [])),
  );

const FROM = [client, client, client, client, pod, pod, pod, pod];

t.test('transfers go on over two kills and another number of workers', async (t) => {
  const first = await startUp(node, { files: FILES, args: [...ARGS, '--workers', '1'] });
  const under = await transfers(FROM, 24 * MIB);
  await under.started;
  await first.stop('SIGKILL');
  await sleep(500);
  const second = await startUp(node, { files: FILES, args: [...ARGS, '--workers', '3'] });
  t.match(second.stderr, /going on where an earlier flowpin was killed/);
  t.match(second.stderr, /8 IPv4 flows of 1 tables went into 3/);
  await sleep(1000);
  await second.stop('SIGKILL');
  const third = await startUp(node, { files: FILES, args: [...ARGS, '--workers', '3'] });
  t.strictSame(await under.broken(), []);
  t.equal((await third.stop('SIGTERM')).code, 0, third.stderr);
  t.strictSame(await changes(), [], 'and the network is as before the first start');
});

t.test('transfers go on when the proxy is halted for ten seconds', async (t) => {
  const up = await startUp(node, { files: FILES, args: ARGS });
  const under = await transfers(FROM, 6 * MIB);
  await under.started;
  up.child.kill('SIGSTOP');
  await sleep(10_000);
  up.child.kill('SIGCONT');
  t.strictSame(await under.broken(), []);
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

t.test('a device that somebody deletes ends the proxy with code 4, and nothing is left behind', async (t) => {
  const up = await startUp(node, { files: FILES, args: ARGS });
  await node.run('ip', ['link', 'delete', TUN_NAME]);
  const { code } = await up.ended;
  t.equal(code, 4);
  t.match(up.stderr, /the dataplane failed: .*TUN device/);
  t.strictSame(await changes(), [], 'the network is as before');
});

t.test('a state directory without room is said, and nothing is left behind', async (t) => {
  const dir = '/run/tiny';
  mkdirSync(dir);
  await node.run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tiny', dir]);
  t.teardown(() => node.run('umount', [dir]));
  const args = flowpinArgs('up', '-f', FILES[0]!, '--tun', TUN_NAME, '--state-dir', `${dir}/flowpin0`);
  const { code, stderr } = await node.run(process.execPath, args, { timeoutMs: 30_000 });
  t.equal(code, 4);
  t.match(stderr, /cannot make \/run\/tiny\/flowpin0\/flows-0-ipv4 of \d+ MiB: ENOSPC; make room/);
  t.match(stderr, /--state-dir/, 'with what to do about it');
  t.strictSame(await changes(), [], 'the network is as before');
});

t.test('damaged state files are set aside with a message, and connections can be made', async (t) => {
  const killed = await startUp(node, { files: FILES, args: ARGS });
  await killed.stop('SIGKILL');
  writeFileSync(join(STATE_DIR, 'flows-0-ipv4'), Buffer.alloc(1 << 20, 0xa5));
  writeFileSync(join(STATE_DIR, 'counters-0'), 'hello');
  writeFileSync(join(STATE_DIR, 'affinity'), Buffer.alloc(5000, 0xff));
  writeFileSync(join(STATE_DIR, 'endpoints.json'), '[{');
  writeFileSync(join(STATE_DIR, 'ports.json'), '{"a":1}');
  const up = await startUp(node, { files: FILES, args: ARGS });
  t.match(up.stderr, /endpoints.json: damaged; kept as/);
  t.match(up.stderr, /ports.json: damaged; kept as/);
  t.match(up.stderr, /flows-0-ipv4: not a flow table; kept as .*set-aside/);
  const args = [
    labScript('http-client'),
    '--to',
    HTTPENV.clusterIP,
    '--connections',
    '20',
    '--requests',
    '1',
  ];
  const { stdout } = await client.run(process.execPath, args, { timeoutMs: 30_000 });
  t.equal(lastJson<HttpReport>(stdout).connections.answered, 20);
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  t.strictSame(await changes(), [], 'the network is as before');
});

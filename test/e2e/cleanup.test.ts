// The node is left as it was found: after SIGINT, SIGTERM, and a crash followed by a start and a stop.

import { setTimeout as sleep } from 'node:timers/promises';
import { flowpinArgs, STATE_DIR, startUp, TUN_NAME, upArgs } from '../../src/lab/flowpin-up.js';
import { hostState, settledHostState, stateChanges } from '../../src/lab/host-state.js';
import type { HttpReport } from '../../src/lab/http-client.js';
import { buildHttpenv, HTTPENV, labScript } from '../../src/lab/httpenv.js';
import { readCounters } from '../../src/observe/counters.js';
import { FILES, lastJson, tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildHttpenv();
t.teardown(() => lab.close());
const node = lab.router;
const before = await settledHostState(node);

const changes = async (): Promise<string[]> => stateChanges(before, await hostState(node));

/** Runs the HTTP client against the Service. */
async function client(flags: readonly string[]): Promise<HttpReport> {
  const args = [labScript('http-client'), '--to', HTTPENV.clusterIP, ...flags];
  const { stdout } = await lab.host('client').run(process.execPath, args, { timeoutMs: 40_000 });
  return lastJson<HttpReport>(stdout);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`${signal} puts everything back`, async (t) => {
    const up = await startUp(node, { files: FILES });
    t.ok(
      (await changes()).some((line) => line.includes(TUN_NAME)),
      'the device and its routes were there',
    );
    const { connections } = await client(['--connections', '20', '--requests', '1']);
    t.equal(connections.answered, 20, 'and it worked');
    const { code, signal: killedBy } = await up.stop(signal);
    t.strictSame({ code, killedBy }, { code: 0, killedBy: null }, up.stderr);
    t.strictSame(await changes(), [], 'the network is as before');
  });
}

t.test(
  'after kill -9 the next start goes on with the same flows, and its stop puts everything back',
  async (t) => {
    const killed = await startUp(node, { files: FILES });
    const busy = client(['--connections', '1', '--requests', '5000']);
    // In the middle of the kept-alive connection: 5000 requests are 10,000 packets.
    for (let round = 0; round < 500 && readCounters(STATE_DIR).forwarded < 1000; round++) await sleep(10);
    await killed.stop('SIGKILL');
    t.ok(readCounters(STATE_DIR).forwarded < 9000, 'it was killed in the middle');

    const up = await startUp(node, { files: FILES });
    const { keepAlive } = await busy;
    t.strictSame(keepAlive.errors, {}, 'the connection of before lives on');
    t.equal(keepAlive.answered, 5000);
    t.equal(keepAlive.serverConnections, 1, 'as one connection, on the same endpoint');
    t.equal(
      (await client(['--connections', '20', '--requests', '1'])).connections.answered,
      20,
      'new ones work',
    );
    t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
    t.strictSame(await changes(), [], 'the network is as before the first start');
  },
);

t.test('--dry-run prints the commands and changes nothing', async (t) => {
  const { code, stdout, stderr } = await node.run(
    process.execPath,
    upArgs({ files: FILES, args: ['--dry-run'] }),
  );
  t.equal(code, 0, stderr);
  t.match(stdout, new RegExp(`^ip .*${TUN_NAME}`, 'm'), 'commands a person can repeat');
  t.match(stdout, HTTPENV.clusterIP.split(':')[0], 'with the route of the ClusterIP');
  t.notMatch(stdout, /^ready/m, 'it does not claim to run');
  t.strictSame(await changes(), [], 'the network is as before');
});

t.test('a file that does not exist stops it before it touches the network', async (t) => {
  const { code, stderr } = await node.run(process.execPath, flowpinArgs('up', '-f', 'no-such-file.yaml'));
  t.not(code, 0);
  t.match(stderr, 'no-such-file.yaml', 'and the message names it');
  t.strictSame(await changes(), [], 'the network is as before');
});

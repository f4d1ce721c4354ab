// userspace mode on real traffic: one endpoint serves, one refuses, one is silent; every connection is made all the same.

import { setTimeout as sleep } from 'node:timers/promises';
import { STATE_DIR, startUp } from '../../src/lab/flowpin-up.js';
import type { HttpReport } from '../../src/lab/http-client.js';
import { HTTPENV, HTTPENV_FILE, HTTPENV_HOSTS, labScript } from '../../src/lab/httpenv.js';
import { buildTopology } from '../../src/lab/topology.js';
import { readCounters } from '../../src/observe/counters.js';
import { lastJson, tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildTopology(HTTPENV_HOSTS);
t.teardown(() => lab.close());
const client = lab.host('client');

/** Connections of the client through the ClusterIP. */
async function request(connections: number): Promise<HttpReport> {
  const args = ['--to', HTTPENV.clusterIP, '--connections', String(connections), '--requests', '5'];
  const { stdout, stderr } = await client.run(process.execPath, [labScript('http-client'), ...args], {
    timeoutMs: 60_000,
  });
  if (stdout === '') throw new Error(`the client printed nothing: ${stderr}`);
  return lastJson<HttpReport>(stdout);
}

const [serving] = HTTPENV.endpoints;
const server = lab
  .host('endpoint-0')
  .spawn(process.execPath, [labScript('http-server'), '--listen', serving ?? '', '--name', 'endpoint-0']);
await server.line(/^ready/, 10_000);
// endpoint-1 listens nowhere and refuses; endpoint-2 takes packets and says nothing.
const silent = await lab.host('endpoint-2').run('ip', ['route', 'replace', 'blackhole', 'default']);
t.equal(silent.code, 0, silent.stderr);

t.test('without retry some connections fail, as with kube-proxy', async (t) => {
  const up = await startUp(lab.router, { files: [HTTPENV_FILE], args: ['--seed', '1'] });
  const { connections } = await request(6);
  t.ok(connections.answered < 6, `${connections.answered} of 6 were answered`);
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

t.test('in userspace mode every connection is made, with one that serves', async (t) => {
  const up = await startUp(lab.router, { files: [HTTPENV_FILE], args: ['--proxy-mode', 'userspace'] });
  const { connections, keepAlive } = await request(60);
  t.strictSame(connections.errors, {});
  t.equal(connections.answered, 60);
  t.strictSame(Object.keys(connections.byEndpoint), [serving]);
  t.equal(keepAlive.answered, 5);
  const { retries, retried, received, forwarded, passed, rejected, reset, dropped } = readCounters(STATE_DIR);
  t.ok(retries > 0, `${retries} SYNs went to another endpoint`);
  t.ok(retried > 0, 'some of them after a refusal');
  t.ok(retries > retried, 'some of them after silence');
  const drops = Object.values(dropped).reduce((sum, count) => sum + count, 0);
  t.equal(forwarded + passed + rejected + reset + retried + drops, received, 'every packet has one outcome');
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

t.test('an endpoint that comes to life gets its share again', async (t) => {
  const up = await startUp(lab.router, { files: [HTTPENV_FILE], args: ['--proxy-mode', 'userspace'] });
  await request(10);
  const [, second] = HTTPENV.endpoints;
  const args = [labScript('http-server'), '--listen', second ?? '', '--name', 'endpoint-1'];
  const revived = lab.host('endpoint-1').spawn(process.execPath, args);
  await revived.line(/^ready/, 10_000);
  await sleep(10_500); // the penalty of an endpoint that failed
  const { connections } = await request(40);
  t.strictSame(connections.errors, {});
  t.strictSame(Object.keys(connections.byEndpoint).sort(), [serving, second].sort());
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

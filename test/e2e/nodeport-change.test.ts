// Services that change while they are used: nothing of what is kept fails, and the host follows.

import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startUp } from '../../src/lab/flowpin-up.js';
import { hostState, settledHostState, stateChanges } from '../../src/lab/host-state.js';
import {
  at,
  buildNodeportLab,
  count,
  FAMILIES,
  get,
  http,
  synced,
  web,
  writeManifest,
} from './nodeport-lab.js';
import { tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildNodeportLab();
t.teardown(() => lab.close());
const node = lab.router;
const before = await settledHostState(node);
const ARGS = ['--hostname-override', 'this-node'];
const [v4, v6] = FAMILIES as [(typeof FAMILIES)[0], (typeof FAMILIES)[0]];

t.test('endpoints come and go under load: no request fails', async (t) => {
  const file = writeManifest(web());
  const up = await startUp(node, { files: [file], args: ARGS });
  const load = FAMILIES.flatMap(({ node, clusterIP }) => [
    http(lab, 'client', at(node, 30080), [
      '--connections',
      '1500',
      '--requests',
      '2000',
      '--concurrency',
      '8',
    ]),
    http(lab, 'client', at(clusterIP, 80), [
      '--connections',
      '1500',
      '--requests',
      '2000',
      '--concurrency',
      '8',
    ]),
  ]);
  let busy = true;
  const done = Promise.all(load).finally(() => {
    busy = false;
  });
  const states = [[0], [0, 1], [1], [0, 1]];
  let changes = 0;
  for (; busy && changes < 200; changes++) {
    writeManifest(web({ ready: states[changes % states.length] }));
    await sleep(100);
  }
  for (const { to, connections, keepAlive } of await done) {
    t.strictSame(connections.errors, {}, `new connections to ${to}`);
    t.strictSame(keepAlive.errors, {}, `the kept-alive connection to ${to}`);
    t.equal(keepAlive.serverConnections, 1, 'which stays with its endpoint while that comes and goes');
    t.equal(connections.answered + keepAlive.answered, 3500);
  }
  t.ok(changes >= 8, `${changes} changes`);
  t.ok(count(up) >= 4, `of which ${count(up)} were published one by one`);
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

t.test('a Service that comes is served and one that goes leaves nothing', async (t) => {
  const file = writeManifest(web({ nodePort: null }));
  const up = await startUp(node, { files: [file], args: ARGS });
  const withOne = await hostState(node);
  writeManifest([...web({ nodePort: null }), ...web({ name: 'late', number: 11, nodePort: 30090 })]);
  await synced(up, 1);
  t.match(up.stderr, 'changed: default/late; table 2 is in force after', 'one line says what changed');
  for (const { clusterIP, node } of FAMILIES) {
    for (const to of [at(clusterIP.replace(/10$/, '11'), 80), at(node, 30090)]) {
      const { connections } = await http(lab, 'client', to, ['--connections', '4', '--requests', '0']);
      t.equal(connections.answered, 4, to);
    }
  }
  writeManifest(web({ nodePort: null }));
  await synced(up, 2);
  const routes = stateChanges(withOne, await hostState(node)).filter(
    (line) => line.includes('10.96.0.11') || line.includes('fd00:96::11'),
  );
  t.strictSame(routes, [], 'its routes are gone');
  const { connections } = await http(lab, 'client', at(v4.node, 30090), [
    '--connections',
    '2',
    '--requests',
    '0',
  ]);
  t.strictSame(connections.errors, { ECONNREFUSED: 2 }, 'and its NodePort is refused');
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  t.strictSame(stateChanges(before, await hostState(node)), [], 'the node is as it was');
});

t.test('a connection to a NodePort lives on when the port is taken away', async (t) => {
  const file = writeManifest(web());
  const up = await startUp(node, { files: [file], args: ARGS });
  const busy = FAMILIES.map(({ node }) =>
    http(lab, 'client', at(node, 30080), ['--connections', '1', '--requests', '12000']),
  );
  await sleep(700);
  writeManifest(web({ nodePort: null }));
  await synced(up, 1);
  const early = await Promise.race([...busy, Promise.resolve(null)]);
  t.equal(early, null, 'it was taken away in the middle');
  for (const { keepAlive } of await Promise.all(busy)) {
    t.strictSame(keepAlive.errors, {});
    t.equal(keepAlive.serverConnections, 1);
  }
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

t.test('a half-written file changes nothing, and SIGHUP reads at once', async (t) => {
  const file = writeManifest(web());
  const up = await startUp(node, { files: [file], args: ARGS });
  writeFileSync(file, '{"apiVersion": "v1", "kind": "Li');
  for (let round = 0; round < 500 && !up.stderr.includes('stands'); round++) await sleep(10);
  t.match(up.stderr, /services\.json:1: .*what it held before stands/);
  const { connections } = await http(lab, 'client', at(v6.node, 30080), [
    '--connections',
    '4',
    '--requests',
    '0',
  ]);
  t.equal(connections.answered, 4);
  writeManifest(web({ ready: [1] }));
  up.child.kill('SIGHUP');
  await synced(up, 1);
  const one = await http(lab, 'client', at(v4.node, 30080), ['--connections', '12', '--requests', '0']);
  t.strictSame(one.connections.byEndpoint, { '10.244.1.2:8888': 12 });
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

t.test('healthCheckNodePort follows the local endpoints', async (t) => {
  const spec = { externalTrafficPolicy: 'Local', healthCheckNodePort: 32000 };
  const up = await startUp(node, { files: [writeManifest(web({ spec }))], args: ARGS });
  const ask = (): Promise<string> => get(lab, 'client', `http://${v4.node}:32000/`);
  t.match(await ask(), /^200 .*"localEndpoints":1/);
  writeManifest(web({ spec, ready: [1] }));
  await synced(up, 1);
  t.match(await ask(), /^503 .*"localEndpoints":0/);
  writeManifest(web());
  await synced(up, 2);
  t.match(await ask(), 'fetch failed', 'without the policy nobody is asked');
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
});

t.test('rules and routes that somebody takes away are put back', async (t) => {
  const config = '/run/manifests/config.conf';
  const head = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';
  const file = writeManifest(web());
  writeFileSync(config, `${head}iptables: {syncPeriod: 500ms}\nhealthzBindAddress: 127.0.0.1:10300\n`);
  const up = await startUp(node, { files: [file], args: [...ARGS, '--config', config] });
  const there = await hostState(node);
  const away = [
    `ip rule del pref 41 ipproto 6 dport 30080`,
    `ip -6 rule del pref 41 ipproto 6 dport 30080`,
    `ip route del ${v4.clusterIP}/32`,
    `ip rule add pref 0 lookup local`,
  ];
  for (const command of away) t.equal((await node.run('sh', ['-c', command])).code, 0, command);
  // One look may come between two of the commands: then two have put them back.
  const putBack = (): number =>
    [...up.stderr.matchAll(/put back (\d+) routes and rules that somebody had taken away/g)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    );
  for (let round = 0; round < 500 && putBack() < away.length; round++) await sleep(10);
  t.equal(putBack(), away.length);
  t.strictSame(stateChanges(there, await hostState(node)), []);
  t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  t.strictSame(stateChanges(before, await hostState(node)), [], 'the node is as it was');
});

// What the benchmark compares carries what it says: every peer that is installed really takes the client's traffic to the
// server, and nothing else does.

import { buildLab, CLIENT, manifestFile, PORT, ready, SERVER, VIP } from '../../bench/lab.js';
import { PEERS, type Peer, peerUnavailable, startPeer } from '../../bench/peers.js';
import { compileReference, program } from '../../bench/reference.js';
import { checkCarries, firstPacketUs, WORKLOADS } from '../../bench/workloads.js';
import type { Host } from '../../src/lab/host.js';
import type { HttpReport } from '../../src/lab/http-client.js';
import { labScript } from '../../src/lab/httpenv.js';
import { lastJson, tapInSandbox } from './support.js';

const t = await tapInSandbox();
t.setTimeout(240_000);
process.env.PATH += ':/usr/sbin:/sbin';
await compileReference();
const file = await manifestFile();

/** Who the server takes for its client: what the peer replaces the source by. */
const SEEN_AS: { readonly [peer in Peer]: RegExp } = {
  flowpin: /^198\.18\.0\./,
  'c-loop': /^198\.18\.0\.1$/,
  iptables: /^10\.244\.0\.1$/,
  nftables: /^10\.244\.0\.1$/,
  haproxy: /^10\.244\.0\.1$/,
  'node-pipe': /^10\.244\.0\.1$/,
};
const WINDOWS = { bulk: [], seconds: 1, ms: 100, warmMs: 50 };

t.test('without a peer nobody answers at the address of the Service', async (t) => {
  const lab = await buildLab();
  t.teardown(() => lab.close());
  await t.rejects(checkCarries({ peer: 'node-pipe', lab, process: null }), /carries no TCP/);
  await t.rejects(firstPacketUs({ peer: 'flowpin', lab, process: null }, 1), /ended with code 1/);
});

for (const peer of PEERS) {
  const missing = peerUnavailable(peer);
  t.test(`${peer} carries requests, datagrams and every load`, { skip: missing ?? false }, async (t) => {
    const lab = await buildLab();
    t.teardown(() => lab.close());
    const running = await startPeer(peer, lab, file);
    await checkCarries(running);

    // In the place of iperf3's server one that tells who has asked.
    const who = [labScript('http-server'), '--listen', `${SERVER}:${PORT.bulk}`];
    const server = await ready(lab.server.spawn(process.execPath, who));
    const ask = [
      labScript('http-client'),
      '--to',
      `${VIP}:${PORT.bulk}`,
      '--connections',
      '2',
      '--requests',
      '1',
    ];
    const { connections } = lastJson<HttpReport>((await lab.client.run(process.execPath, ask)).stdout);
    await server.stop();
    t.strictSame(connections.errors, {});
    t.equal(connections.answered, 2);
    for (const address of connections.clientAddresses) {
      t.match(address, SEEN_AS[peer]);
      t.not(address, CLIENT);
    }

    // What the hosts leave to their devices nobody looks at, so the checksums have to be made first: behind the proxy, of
    // what it was given unfinished; then by the hosts, so that it gets them whole.
    const [toClient, toServer] = [lab.client, lab.server].map(({ name }) => `to-${name}`);
    const off = async (host: Host, device = 'eth0') => {
      t.equal((await host.run(program('checksums'), [device])).code, 0, `${device} of ${host.name}`);
    };
    await Promise.all([off(lab.proxy, toClient), off(lab.proxy, toServer)]);
    await checkCarries(running);
    await Promise.all([off(lab.client), off(lab.server)]);
    await checkCarries(running);

    // Those of our own; iperf3 and wrk are others' and may not be there.
    for (const workload of WORKLOADS.filter(({ tool, carriedBy }) => tool === undefined && carriedBy(peer))) {
      for (const [id, value] of await workload.measure(running, WINDOWS)) t.ok(value > 0, `${id}: ${value}`);
    }
  });
}

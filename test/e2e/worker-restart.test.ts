// A worker thread that is killed in the middle of traffic: the next one takes up its queue and its flows.

import { execFileSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { closeDescriptor, openQueue } from '../../native-bindings/index.js';
import type { Supervisor } from '../../src/dataplane/supervisor.js';
import { COUNTER } from '../../src/table/counters.js';
import { rig } from '../support/supervisor.js';
import { tapInSandbox } from './support.js';

const t = await tapInSandbox();

const CLIENT = '10.0.1.2';
const ENDPOINTS = ['10.244.0.3', '10.244.1.2', '10.244.2.2'];
const VIP = '10.96.0.1';
const PORT = 7000;

// Client, endpoints and proxy on one host: what goes to a Service or to the SNAT pool goes through the device.
execFileSync('sh', [
  '-ec',
  `ip tuntap add dev flowpin0 mode tun multi_queue vnet_hdr
   ip link set dev flowpin0 addrgenmode none up
   for a in ${[CLIENT, ...ENDPOINTS].join(' ')}; do ip address add $a/32 dev lo; done
   ip route add ${VIP}/32 dev flowpin0 src ${CLIENT}
   ip route add 198.18.0.0/24 dev flowpin0
   echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
   echo 0 > /proc/sys/net/ipv4/conf/flowpin0/rp_filter
   echo 1 > /proc/sys/net/ipv4/conf/flowpin0/accept_local`,
]);

const bound = async (address: string, port: number): Promise<Socket> => {
  const socket = createSocket('udp4');
  socket.bind(port, address);
  await once(socket, 'listening');
  return socket;
};

/** Sends one datagram and waits for the answer, the endpoint's name; asks again when it is lost. */
async function ask(socket: Socket): Promise<string> {
  for (let tries = 0; tries < 20; tries++) {
    socket.send('who?', PORT, VIP);
    const answer = await Promise.race([once(socket, 'message'), sleep(250, null)]);
    if (answer !== null) return String(answer[0]);
  }
  return 'nobody';
}

/** Ends a worker thread as a failure within it would: at any point of its loop, with nothing put in order. */
const killThread = (supervisor: Supervisor, worker: number): Promise<number> =>
  (supervisor as unknown as { pool: { threads: Worker[] } }).pool.threads[worker]!.terminate();

t.test('flows keep their endpoints while workers are killed one after the other', async (t) => {
  const servers = await Promise.all(ENDPOINTS.map((address) => bound(address, PORT)));
  for (const [i, server] of servers.entries()) {
    server.on('message', (_, peer) => server.send(ENDPOINTS[i]!, peer.port, peer.address));
  }
  const clients = await Promise.all(Array.from({ length: 40 }, () => bound(CLIENT, 0)));
  const queues = [openQueue('flowpin0'), openQueue('flowpin0')];
  const services = { [`${VIP}:${PORT}/udp`]: ENDPOINTS.map((address) => `${address}:${PORT}`) };
  const { supervisor, publisher, ended, restarts, counters } = rig(t.testdir(), queues, services);
  await publisher.seen(10_000);

  const first = await Promise.all(clients.map(ask));
  t.notOk(first.includes('nobody'), first.join(' '));
  t.equal(new Set(first).size, 3, 'all endpoints have clients');
  for (let round = 1; round <= 4; round++) {
    await killThread(supervisor, round % 2);
    await sleep(200);
    t.strictSame(await Promise.all(clients.map(ask)), first, `after ${round} kills each has its endpoint`);
  }
  t.equal(restarts.length, 4);
  t.ok((counters()[COUNTER.FLOWS_CREATED] ?? 0) <= clients.length, 'and no flow was begun anew');

  await supervisor.stop();
  await ended;
  publisher.close();
  for (const queue of queues) closeDescriptor(queue);
  for (const socket of [...servers, ...clients]) socket.close();
});

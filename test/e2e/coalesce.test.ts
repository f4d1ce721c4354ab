// Super-packets made by flowpin, taken apart by the kernel: receivers get every datagram as it was sent and in order.

import { startUp, TUN_NAME } from '../../src/lab/flowpin-up.js';
import { buildHttpenv, labScript, startOnEndpoints } from '../../src/lab/httpenv.js';
import type { TransferReport } from '../../src/lab/tcp-transfer.js';
import { ECHO, endpointsAt, FILES, lastJson, TRANSFER, tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildHttpenv();
t.teardown(() => lab.close());
const client = lab.host('client');

/** Datagrams that say who they are: sender, number, and bytes that follow from both. */
const FORMAT = `
const bodyOf = (sender, number, size) => {
  const body = Buffer.alloc(size);
  body.writeUInt32LE(sender, 0);
  body.writeUInt32LE(number, 4);
  for (let i = 8; i < size; i++) body[i] = (sender * 31 + number * 7 + i) & 255;
  return body;
};`;
const RECEIVER = `${FORMAT}
import { createSocket } from 'node:dgram';
const [address, port] = process.argv[1].split(':');
const last = new Map();
const report = { received: 0, changed: 0, overtaken: 0 };
const socket = createSocket({ type: 'udp4', recvBufferSize: 8 << 20 });
socket.on('message', (got) => {
  if (got.length < 8) { process.stdout.write(JSON.stringify(report) + '\\n'); return; }
  const [sender, number] = [got.readUInt32LE(0), got.readUInt32LE(4)];
  report.received++;
  if (!got.equals(bodyOf(sender, number, got.length))) report.changed++;
  if (number <= (last.get(sender) ?? -1)) report.overtaken++;
  last.set(sender, number);
});
socket.bind(Number(port), address, () => process.stdout.write('ready\\n'));
`;
const SENDER = `${FORMAT}
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
const [target, senders, count] = [process.argv[1].split(':'), Number(process.argv[2]), Number(process.argv[3])];
const sockets = await Promise.all(Array.from({ length: senders }, async () => {
  const socket = createSocket({ type: 'udp4', sendBufferSize: 8 << 20 });
  socket.connect(Number(target[1]), target[0]);
  await once(socket, 'connect');
  return socket;
}));
// Runs of one size, as streams have them, now and then another; in bursts, so that many are on their way at once.
const sizeOf = (number) => (number % 50 === 49 ? 8 + (number % 300) : 600);
for (let number = 0; number < count; number++) {
  for (const [sender, socket] of sockets.entries()) socket.send(bodyOf(sender, number, sizeOf(number)));
  if (number % 8 === 7) await new Promise((done) => setTimeout(done, 1));
}
await new Promise((done) => setTimeout(done, 500));
for (const socket of sockets) socket.send('end');
await new Promise((done) => setTimeout(done, 300));
process.exit(0);
`;

/** Packets that the kernel has taken from the device so far. */
async function takenFromDevice(): Promise<number> {
  const { stdout } = await lab.router.run('ip', ['-json', '-stats', 'link', 'show', TUN_NAME]);
  return (JSON.parse(stdout) as { stats64: { rx: { packets: number } } }[])[0]!.stats64.rx.packets;
}

const inline = (script: string, ...args: string[]): string[] => [
  '--input-type=module',
  '-e',
  script,
  ...args,
];

for (const offload of [true, false]) {
  const SENDERS = 4;
  const COUNT = 2000;
  t.test(
    `bursts of datagrams ${offload ? '' : 'without offloads '}arrive unchanged and in order`,
    async (t) => {
      const up = await startUp(lab.router, { files: FILES, args: offload ? [] : ['--no-offload'] });
      const receivers = await startOnEndpoints(lab, endpointsAt(9001), (endpoint) =>
        inline(RECEIVER, endpoint),
      );
      const before = await takenFromDevice();
      const sent = await client.run(process.execPath, inline(SENDER, ECHO, String(SENDERS), String(COUNT)), {
        timeoutMs: 40_000,
      });
      t.equal(sent.code, 0, sent.stderr);
      const taken = (await takenFromDevice()) - before;
      const sum = { received: 0, changed: 0, overtaken: 0 };
      for (const { stdout } of receivers) {
        const [said] = stdout
          .split('\n')
          .filter((line) => line.startsWith('{'))
          .reverse();
        const report = said === undefined ? sum : (JSON.parse(said) as typeof sum);
        if (said !== undefined)
          for (const key of ['received', 'changed', 'overtaken'] as const) sum[key] += report[key];
      }
      t.ok(sum.received > 0.9 * SENDERS * COUNT, `${sum.received} of ${SENDERS * COUNT} arrived`);
      t.equal(sum.changed, 0, 'none was changed');
      t.equal(sum.overtaken, 0, 'none was overtaken by a later one of its flow');
      if (offload) {
        if (up.stdout.includes('uso4')) {
          t.ok(taken < 0.7 * sum.received, `they went into the kernel as ${taken} packets`);
        }
      } else {
        t.ok(taken >= sum.received, `one by one (${taken})`);
        t.match(up.stdout, 'offloads=none');
      }
      await Promise.all(receivers.map((receiver) => receiver.stop()));
      t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
    },
  );

  t.test(`TCP in segments of one packet ${offload ? '' : 'without offloads '}arrives whole`, async (t) => {
    // Neither end makes super-packets, as if they came over a wire: joining is flowpin's alone.
    const ends = [client, ...['endpoint-0', 'endpoint-1', 'endpoint-2'].map((name) => lab.host(name))];
    for (const host of ends) await host.run('ip', ['link', 'set', 'dev', 'eth0', 'gso_max_segs', '1']);
    const up = await startUp(lab.router, { files: FILES, args: offload ? [] : ['--no-offload'] });
    const bytes = 8 * 1024 * 1024;
    const servers = await startOnEndpoints(lab, endpointsAt(9000), (endpoint) => [
      ...[labScript('tcp-transfer'), '--listen', endpoint, '--bytes', String(bytes), '--seed', '1'],
    ]);
    const args = [labScript('tcp-transfer'), '--to', TRANSFER, '--bytes', String(bytes), '--seed', '2'];
    const { stdout } = await client.run(process.execPath, args, { timeoutMs: 60_000 });
    const here = lastJson<TransferReport>(stdout);
    const there = lastJson<TransferReport>(
      await Promise.any(servers.map((server) => server.line(/^\{/, 10_000))),
    );
    t.equal(here.error, undefined);
    t.equal(here.received.bytes, bytes);
    t.strictSame(there.received, here.sent);
    t.strictSame(here.received, there.sent);
    await Promise.all(servers.map((server) => server.stop()));
    t.equal((await up.stop('SIGTERM')).code, 0, up.stderr);
  });
}

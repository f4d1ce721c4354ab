// Entry script for both ends of a UDP exchange: a server that sends every datagram back, and a client that sends
// datagrams of given sizes and compares what comes back byte for byte.
//
//   node udp-echo.js --listen 10.244.0.3:9001               prints `ready ADDRESS`
//   node udp-echo.js --to 10.103.145.8:9001 --sizes 1,2,1400 [--seed N]
//                                                           prints one line of JSON, a UdpReport
//
// The client's socket is connected, so the kernel gives it only what comes from the address it sent to, and reports
// an ICMP port unreachable as ECONNREFUSED (udp(7)). A datagram that starts with WHO is answered with the server's own
// address instead: so the client learns which endpoint its flow is pinned to.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { parseArgs } from 'node:util';
import { SeededBytes } from './seeded-bytes.js';
import { splitAddress } from './socket-address.js';

export interface UdpReport {
  readonly to: string;
  readonly sent: number;
  /** Datagrams that came back unchanged. */
  readonly echoed: number;
  /** Sizes, in bytes, of those that came back changed, or not within a second. */
  readonly changed: readonly number[];
  readonly lost: readonly number[];
  /** Endpoints that said they were the server, first and last time asked: one element when the flow stayed. */
  readonly endpoints: readonly string[];
  /** Error code of the socket, which also ends the run: ECONNREFUSED. */
  readonly error?: string;
}

const WHO = 'who are you?';
const ANSWER_TIMEOUT_MS = 1000;
/** After so many in a row the rest would be lost too, and the run has to end. */
const LOST_MAX = 3;

const { values } = parseArgs({
  options: {
    listen: { type: 'string' },
    to: { type: 'string' },
    sizes: { type: 'string', default: '64' },
    seed: { type: 'string', default: '1' },
  },
});

if (values.listen !== undefined) serve(values.listen);
else if (values.to !== undefined) {
  const report = await exchange(values.to, values.sizes.split(',').map(Number), Number(values.seed));
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.exit(0);
} else {
  process.stderr.write('give --listen or --to\n');
  process.exit(4);
}

function serve(address: string): void {
  const { host, port } = splitAddress(address);
  const socket = socketFor(host);
  socket.on('message', (datagram, peer) => {
    const answer = datagram.toString('latin1').startsWith(WHO) ? address : datagram;
    socket.send(answer, peer.port, peer.address);
  });
  socket.on('error', (error) => {
    process.stderr.write(`${address}: ${error.message}\n`);
    process.exit(4);
  });
  socket.bind(port, host, () => process.stdout.write(`ready ${address}\n`));
}

async function exchange(to: string, sizes: readonly number[], seed: number): Promise<UdpReport> {
  const { host, port } = splitAddress(to);
  const socket = socketFor(host);
  const source = new SeededBytes(seed);
  const endpoints = new Set<string>();
  const changed: number[] = [];
  const lost: number[] = [];
  let sent = 0;
  let echoed = 0;
  const report = (error?: string): UdpReport => ({
    ...{ to, sent, echoed, changed, lost, endpoints: [...endpoints] },
    ...(error === undefined ? {} : { error }),
  });
  const who = async (): Promise<void> => {
    const answer = await askOnce(socket, Buffer.from(WHO));
    if (answer !== null) endpoints.add(answer.toString());
  };
  try {
    socket.connect(port, host);
    await once(socket, 'connect');
    await who();
    for (const size of sizes) {
      if (lost.length >= LOST_MAX) break;
      const datagram = source.next(size);
      sent += 1;
      const answer = await askOnce(socket, datagram);
      if (answer === null) lost.push(size);
      else if (answer.equals(datagram)) echoed += 1;
      else changed.push(size);
    }
    await who();
    return report();
  } catch (error) {
    return report((error as { code?: string }).code ?? String(error));
  } finally {
    socket.close();
  }
}

/** Sends one datagram and gives the next that arrives, or null after the timeout. Rejects with the socket's error. */
function askOnce(socket: Socket, datagram: Buffer): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      socket.removeAllListeners('message').removeAllListeners('error');
      settle();
    };
    const timer = setTimeout(() => finish(() => resolve(null)), ANSWER_TIMEOUT_MS);
    socket.once('message', (answer) => finish(() => resolve(answer)));
    socket.once('error', (error) => finish(() => reject(error)));
    socket.send(datagram);
  });
}

function socketFor(host: string): Socket {
  return createSocket(isIPv6(host) ? 'udp6' : 'udp4');
}

// Entry script, run inside the clients' host: the connections of a workload on real sockets, each at its time and from its
// address. What it is told comes as one line of JSON on standard input, a LoadOrder.
//
// Prints `began` when its clock starts, and at the end one line of JSON, a RealFlow for each connection. It ends by itself:
// every connection gives up after ten seconds of silence, a socket after five.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cause } from './compare/client.js';
import type { Connection } from './compare/workload.js';

export interface LoadOrder {
  /** Address of the Service, and its ports. */
  readonly address: string;
  readonly ports: { readonly TCP: number; readonly UDP: number };
  readonly connections: readonly Connection[];
}

export interface RealFlow {
  readonly protocol: 'TCP' | 'UDP';
  readonly client: string;
  /** Numbers of the servers that answered. */
  readonly endpoints: readonly number[];
  readonly outcome: 'completed' | 'failed' | 'broken';
  readonly cause: Cause | null;
  /** UDP: datagrams sent, and those not answered. */
  readonly asked: number;
  readonly unanswered: number;
}

const PATIENCE_MS = 10_000;
const UDP_PATIENCE_MS = 5000;
const HEADER_BYTES = 8;

const order = JSON.parse(await text(process.stdin)) as LoadOrder;
process.stdout.write('began\n');
const beganMs = performance.now();
const flows = await Promise.all(order.connections.map(run));
process.stdout.write(`${JSON.stringify(flows)}\n`);
process.exit(0);

async function run(connection: Connection): Promise<RealFlow> {
  await sleep(Math.max(0, beganMs + connection.beginMs - performance.now()));
  return connection.protocol === 'TCP' ? runTcp(connection) : runUdp(connection);
}

function runTcp({ protocol, address, requests, thinkMs }: Connection): Promise<RealFlow> {
  return new Promise((resolve) => {
    const endpoints = new Set<number>();
    const socket = connect({ host: order.address, port: order.ports.TCP, localAddress: address });
    let connected = false;
    let asked = 0;
    let missing = 0;
    const end = (outcome: RealFlow['outcome'], cause: Cause | null): void => {
      socket.destroy();
      resolve({
        ...{ protocol, client: address, endpoints: [...endpoints], outcome, cause },
        ...{ asked: 0, unanswered: 0 },
      });
    };
    const ask = (): void => {
      if (socket.destroyed) return;
      const { requestBytes, responseBytes } = requests[asked++];
      missing = Math.max(HEADER_BYTES, responseBytes);
      socket.write(requestOf(requestBytes, responseBytes));
    };
    socket.setNoDelay(true).setTimeout(PATIENCE_MS);
    socket.on('connect', () => {
      connected = true;
      ask();
    });
    let isFirst = true;
    socket.on('data', (bytes) => {
      if (isFirst) endpoints.add(bytes.readUInt32BE(0));
      missing -= bytes.length;
      isFirst = missing <= 0;
      if (missing > 0) return;
      if (asked === requests.length) end('completed', null);
      else setTimeout(ask, thinkMs);
    });
    // Silence while a request waits, not while the client thinks: no think time is that long.
    socket.on('timeout', () => end(connected ? 'broken' : 'failed', connected ? 'timed out' : 'no answer'));
    socket.on('error', ({ code }: NodeJS.ErrnoException) =>
      end(connected ? 'broken' : 'failed', causeOf(code)),
    );
    socket.on('close', () => end('broken', 'reset'));
  });
}

function causeOf(code: string | undefined): Cause {
  if (code === 'ECONNREFUSED') return 'refused';
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH') return 'rejected';
  return code === 'ETIMEDOUT' ? 'no answer' : 'reset';
}

async function runUdp({ protocol, address, requests, thinkMs, together }: Connection): Promise<RealFlow> {
  const endpoints = new Set<number>();
  const socket = createSocket('udp4');
  let answered = 0;
  socket.on('message', (datagram) => {
    endpoints.add(datagram.readUInt32BE(0));
    answered++;
  });
  socket.on('error', () => {}); // refused: not answered
  socket.bind({ address });
  await once(socket, 'listening');
  socket.connect(order.ports.UDP, order.address);
  await once(socket, 'connect');
  let asked = 0;
  for (const [index, { requestBytes, responseBytes }] of requests.entries()) {
    if (index > 0) await sleep(thinkMs);
    for (let i = 0; i < together; i++) socket.send(requestOf(requestBytes, responseBytes));
    asked += together;
    for (let waitedMs = 0; answered < asked && waitedMs < UDP_PATIENCE_MS; waitedMs += 5) await sleep(5);
  }
  socket.close();
  const unanswered = Math.max(0, asked - answered);
  return {
    ...{ protocol, client: address, endpoints: [...endpoints], outcome: 'completed', cause: null },
    ...{ asked, unanswered },
  };
}

function requestOf(requestBytes: number, responseBytes: number): Buffer {
  const request = Buffer.alloc(Math.max(HEADER_BYTES, requestBytes));
  request.writeUInt32BE(request.length);
  request.writeUInt32BE(responseBytes, 4);
  return request;
}

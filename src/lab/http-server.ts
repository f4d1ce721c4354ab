// Entry script, run inside an endpoint's host: a real HTTP server that answers with who it is, as the image `httpenv`
// of the seeds does with its environment.
//
//   node http-server.js --listen 10.244.0.3:8888 --name endpoint-0
//
// Prints `ready ADDRESS` when it listens. SIGTERM ends it.

import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { addressOf, splitAddress } from './socket-address.js';

/** What a request is answered with, as JSON. */
export interface HttpAnswer {
  /** ADDRESS:PORT this server listens on: the endpoint. */
  readonly endpoint: string;
  readonly name: string;
  /** The peer as the server sees it: the masqueraded client. */
  readonly client: string;
  /** Which of this server's connections, from 1, and which request on it, from 1. */
  readonly connection: number;
  readonly request: number;
}

const { values } = parseArgs({ options: { listen: { type: 'string' }, name: { type: 'string' } } });
const endpoint = values.listen ?? '127.0.0.1:8888';
const name = values.name ?? endpoint;

/** Per connection: its number and how many requests it has brought. */
const connections = new WeakMap<Socket, { connection: number; requests: number }>();
let connectionCount = 0;

const server = createServer((request, response) => {
  const seen = connections.get(request.socket);
  if (seen !== undefined) seen.requests += 1;
  const answer: HttpAnswer = {
    endpoint,
    name,
    client: addressOf(request.socket.remoteAddress, request.socket.remotePort),
    connection: seen?.connection ?? 0,
    request: seen?.requests ?? 0,
  };
  const body = `${JSON.stringify(answer)}\n`;
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
});
server.on('connection', (socket) => {
  connectionCount += 1;
  connections.set(socket, { connection: connectionCount, requests: 0 });
});
server.on('error', (error) => {
  process.stderr.write(`${endpoint}: ${error.message}\n`);
  process.exit(4);
});
const { host, port } = splitAddress(endpoint);
server.listen({ host, port, backlog: 1024 }, () => process.stdout.write(`ready ${endpoint}\n`));

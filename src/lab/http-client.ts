// Entry script, run inside the client's host: many short HTTP connections to one address, then one kept-alive
// connection with many requests.
//
//   node http-client.js --to 10.103.145.7:8888 --connections 300 --requests 200 [--concurrency 16]
//
// Prints one line of JSON, an HttpReport. Every request has a timeout and the whole run has one, so it always ends;
// failures are counted in the report and the exit code stays 0.

import { Agent, get } from 'node:http';
import type { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import type { HttpAnswer } from './http-server.js';
import { splitAddress } from './socket-address.js';

/** What came of one batch of requests. */
export interface RequestsReport {
  readonly asked: number;
  /** Requests answered with 200 and a well-formed body. */
  readonly answered: number;
  /** Answers by endpoint, ADDRESS:PORT. */
  readonly byEndpoint: Readonly<Record<string, number>>;
  /** Requests that failed, by error code: ECONNREFUSED, ECONNRESET, ETIMEDOUT, HTTP_503, ... */
  readonly errors: Readonly<Record<string, number>>;
  /** TCP connections really used: as this end counts them, and as the servers do in their answers. */
  readonly sockets: number;
  readonly serverConnections: number;
  /** Addresses, without ports, that the servers saw the requests come from. */
  readonly clientAddresses: readonly string[];
  /** Time of one request, with the connection's set-up where it opened one. Milliseconds; 0 when none was answered. */
  readonly ms: {
    readonly median: number;
    readonly p99: number;
    readonly max: number;
    readonly total: number;
  };
}

export interface HttpReport {
  readonly to: string;
  /** One request per connection. */
  readonly connections: RequestsReport;
  /** All requests on one connection. */
  readonly keepAlive: RequestsReport;
}

/** A SYN that got lost is sent again after 1 s and 3 s (RFC 6298): with 5 s one loss is slow, two are an error. */
const REQUEST_TIMEOUT_MS = 5000;
const RUN_TIMEOUT_MS = 30_000;

const { values } = parseArgs({
  options: {
    to: { type: 'string' },
    connections: { type: 'string', default: '300' },
    requests: { type: 'string', default: '200' },
    concurrency: { type: 'string', default: '16' },
  },
});
const to = values.to ?? '127.0.0.1:8888';
const target = splitAddress(to);
const deadline = performance.now() + RUN_TIMEOUT_MS;

const report: HttpReport = {
  to,
  connections: await ask(
    Number(values.connections),
    Number(values.concurrency),
    new Agent({ keepAlive: false }),
  ),
  keepAlive: await ask(Number(values.requests), 1, new Agent({ keepAlive: true, maxSockets: 1 })),
};
process.stdout.write(`${JSON.stringify(report)}\n`);
// A connection that is still being tried would hold the process.
process.exit(0);

/** Sends `asked` requests, `concurrency` at a time. */
async function ask(asked: number, concurrency: number, agent: Agent): Promise<RequestsReport> {
  const byEndpoint: Record<string, number> = {};
  const errors: Record<string, number> = {};
  const sockets = new Set<Socket>();
  const serverConnections = new Set<string>();
  const clientAddresses = new Set<string>();
  const times: number[] = [];
  const began = performance.now();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < asked) {
      next += 1;
      const sent = performance.now();
      try {
        if (sent > deadline) throw Object.assign(new Error('out of time'), { code: 'RUN_TIMEOUT' });
        const { endpoint, connection, client } = await askOnce(agent, sockets);
        serverConnections.add(`${endpoint} ${connection}`);
        clientAddresses.add(splitAddress(client).host);
        byEndpoint[endpoint] = (byEndpoint[endpoint] ?? 0) + 1;
        times.push(performance.now() - sent);
      } catch (error) {
        const code = (error as { code?: string }).code ?? String(error);
        errors[code] = (errors[code] ?? 0) + 1;
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  const total = performance.now() - began;
  agent.destroy();
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    round(times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0);
  return {
    asked,
    answered: times.length,
    byEndpoint,
    errors,
    sockets: sockets.size,
    serverConnections: serverConnections.size,
    clientAddresses: [...clientAddresses].sort(),
    ms: { median: at(0.5), p99: at(0.99), max: at(1), total: round(total) },
  };
}

function askOnce(agent: Agent, sockets: Set<Socket>): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const request = get({ ...target, path: '/', agent, timeout: REQUEST_TIMEOUT_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode !== 200) {
          reject(Object.assign(new Error('not answered with 200'), { code: `HTTP_${response.statusCode}` }));
          return;
        }
        try {
          resolve(JSON.parse(body) as HttpAnswer);
        } catch {
          reject(Object.assign(new Error(`not JSON: ${body}`), { code: 'BAD_BODY' }));
        }
      });
    });
    request.on('socket', (socket) => sockets.add(socket));
    // The timeout is about silence on the socket and only announces itself; ending the request is up to us.
    request.on('timeout', () =>
      request.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
    );
    request.on('error', reject);
  });
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

// Entry script for both ends of a bulk TCP transfer, in both directions at once. Each end sends its own seeded bytes
// and hashes what it sends and what it receives; that nothing was lost, changed or reordered shows when one end's
// `received` is the other's `sent`.
//
//   node tcp-transfer.js --listen 10.244.0.3:9000 --bytes 67108864 --seed 1      prints `ready ADDRESS`, then
//                                                                                a line per connection
//   node tcp-transfer.js --to 10.103.145.8:9000 --bytes 67108864 --seed 2        prints one line
//
// A line is a TransferReport as JSON. `--bytes` is how much this end sends, `--pace` how many bytes a second at most,
// `--silence` how many seconds without a byte it bears.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { SeededBytes } from './seeded-bytes.js';
import { addressOf, splitAddress } from './socket-address.js';

export interface Passage {
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export interface TransferReport {
  /** ADDRESS:PORT of both ends as this one sees them. */
  readonly local: string;
  readonly remote: string;
  readonly sent: Passage;
  readonly received: Passage;
  readonly seconds: number;
  /** Error code when the connection broke: the passages then say how far it got. */
  readonly error?: string;
}

const { values } = parseArgs({
  options: {
    listen: { type: 'string' },
    to: { type: 'string' },
    bytes: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    pace: { type: 'string' },
    silence: { type: 'string', default: '10' },
  },
});
const bytes = Number(values.bytes);
const seed = Number(values.seed);

/** Multiple of 4, see SeededBytes; a few times the largest super-packet. */
const CHUNK_BYTES = 256 * 1024;
/** Silence after which a transfer has failed. */
const SILENCE_MS = Number(values.silence) * 1000;

async function report(socket: Socket): Promise<TransferReport> {
  const began = performance.now();
  const sent = new Tally();
  const received = new Tally();
  let error: string | undefined;
  let local = '?';
  let remote = '?';
  try {
    socket.setTimeout(SILENCE_MS, () => {
      socket.destroy(Object.assign(new Error('silence'), { code: 'ETIMEDOUT' }));
    });
    if (socket.connecting) await once(socket, 'connect');
    local = addressOf(socket.localAddress, socket.localPort);
    remote = addressOf(socket.remoteAddress, socket.remotePort);
    // Not `for await`: leaving it destroys the socket, and this end may still have to send.
    socket.on('data', (chunk: Buffer) => received.add(chunk));
    await Promise.all([send(socket, sent), finished(socket)]);
  } catch (broken) {
    error = (broken as { code?: string }).code ?? String(broken);
    socket.destroy();
  }
  const result: TransferReport = {
    local,
    remote,
    sent: sent.passage(),
    received: received.passage(),
    seconds: Math.round(performance.now() - began) / 1000,
    ...(error === undefined ? {} : { error }),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  return result;
}

async function send(socket: Socket, tally: Tally): Promise<void> {
  const source = new SeededBytes(seed);
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    const chunk = source.next(Math.min(left, CHUNK_BYTES));
    tally.add(chunk);
    if (!socket.write(chunk)) await once(socket, 'drain');
    if (values.pace !== undefined) await sleep((chunk.length / Number(values.pace)) * 1000);
  }
  socket.end();
}

class Tally {
  private bytes = 0;
  private readonly hash = createHash('sha256');

  add(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.hash.update(chunk);
  }

  passage(): Passage {
    return { bytes: this.bytes, sha256: this.hash.copy().digest('hex') };
  }
}

function quit(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(4);
}

if (values.listen !== undefined) {
  const address = values.listen;
  // An end that has received everything still has its own bytes to send.
  const server = createServer({ allowHalfOpen: true }, (socket) => void report(socket));
  server.on('error', (error) => quit(`${address}: ${error.message}`));
  server.listen(splitAddress(address), () => process.stdout.write(`ready ${address}\n`));
} else if (values.to !== undefined) {
  const { error } = await report(connect({ ...splitAddress(values.to), allowHalfOpen: true }));
  process.exit(error === undefined ? 0 : 1);
} else {
  quit('give --listen or --to');
}

// Entry script, run inside an endpoint's host: answers requests as the simulated endpoints of the lab do.
//
//   node load-server.js --listen 10.244.0.2 --tcp 8080 --udp 8053 --number 0      prints `ready ADDRESS`
//
// A request begins with two 32-bit numbers: its own length, and that of the response it asks for. A response begins with
// the server's number, so that its client learns where it is.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { parseArgs } from 'node:util';

/** Of both numbers, and of the one in a response. */
const HEADER_BYTES = 8;

const { values } = parseArgs({
  options: {
    listen: { type: 'string' },
    tcp: { type: 'string' },
    udp: { type: 'string' },
    number: { type: 'string' },
  },
});
const address = values.listen ?? '127.0.0.1';
const number = Number(values.number);

function responseOf(request: Buffer): Buffer {
  const response = Buffer.alloc(Math.max(HEADER_BYTES, request.readUInt32BE(4)));
  response.writeUInt32BE(number);
  return response;
}

function serve(socket: Socket): void {
  let got = Buffer.alloc(0);
  socket.on('data', (bytes) => {
    got = Buffer.concat([got, bytes]);
    while (got.length >= HEADER_BYTES && got.length >= got.readUInt32BE(0)) {
      socket.write(responseOf(got));
      got = got.subarray(got.readUInt32BE(0));
    }
  });
  socket.on('error', () => socket.destroy());
}

const tcp = createServer(serve).listen({ host: address, port: Number(values.tcp), backlog: 1024 });
const udp = createSocket('udp4');
udp.on('message', (datagram, peer) => {
  if (datagram.length >= HEADER_BYTES) udp.send(responseOf(datagram), peer.port, peer.address);
});
udp.bind(Number(values.udp), address);
await Promise.all([once(tcp, 'listening'), once(udp, 'listening')]);
process.stdout.write(`ready ${address}\n`);

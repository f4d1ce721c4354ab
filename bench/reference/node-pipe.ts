// What one writes in ten minutes with Node.js alone: a TCP proxy of pipes.
//
//   node node-pipe.js VIP ENDPOINT PORT...      prints `ready` when it listens on every port; SIGTERM ends it

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream';

const [vip, endpoint, ...ports] = process.argv.slice(2);

for (const port of ports.map(Number)) {
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: endpoint, port, noDelay: true, allowHalfOpen: true });
    // A side that breaks off ends the other; there is nobody to tell.
    pipeline(client, upstream, () => {});
    pipeline(upstream, client, () => {});
  });
  server.listen({ host: vip, port, backlog: 4096 });
  await once(server, 'listening');
}
console.log('ready');

// A flow table that is too small for what comes, in the real proxy: what is established stays, and the operator is told.

import { startUp } from '../../src/lab/flowpin-up.js';
import { buildHttpenv, HTTPENV } from '../../src/lab/httpenv.js';
import { ECHO, FILES, lastJson, tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildHttpenv();
t.teardown(() => lab.close());
const up = await startUp(lab.router, { files: FILES, args: ['--max-flows', '4096'] });
const client = lab.host('client');

/** One request before and one after a flood of datagrams that nobody answers, on one connection. */
const SCRIPT = `
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
const [web, echo, count] = process.argv.slice(1);
const [host, port] = web.split(':');
const socket = connect(Number(port), host);
let got = '';
socket.setEncoding('utf8').on('data', (text) => { got += text; });
const ask = async () => {
  const before = got.length;
  socket.write('GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n');
  const lateMs = performance.now() + 5000;
  while (got.length === before && performance.now() < lateMs) await new Promise((done) => setTimeout(done, 10));
  return got.slice(before).split('\\r\\n')[0];
};
await once(socket, 'connect');
const first = await ask();
const [address, udp] = echo.split(':');
for (let i = 0; i < Number(count); i++) {
  const datagram = createSocket('udp4');
  await new Promise((done) => datagram.send('anybody?', Number(udp), address, done));
  datagram.close();
}
const second = await ask();
console.log(JSON.stringify({ first, second }));
process.exit(0);
`;

t.test('a connection goes on through a flood, and who made it is said', async (t) => {
  const args = ['--input-type=module', '-e', SCRIPT, HTTPENV.clusterIP, ECHO, '14000'];
  const { stdout, stderr } = await client.run(process.execPath, args, { timeoutMs: 40_000 });
  t.ok(stdout, stderr);
  t.match(lastJson<object>(stdout), { first: /^HTTP\/1\.1 200/, second: /^HTTP\/1\.1 200/ });

  const FULL =
    /the IPv4 flow table is full \(4,0\d\d of 4,096 flows.*[\d,]+ that were not established made room and 0 packets were dropped; most flows: (\S+) [\d,]+ \([\d,]+ unanswered\)/;
  const lateMs = performance.now() + 10_000;
  while (!FULL.test(up.stderr) && performance.now() < lateMs)
    await new Promise((done) => setTimeout(done, 100));
  const [, source] = FULL.exec(up.stderr) ?? [];
  t.ok(source, up.stderr);
  t.match(source, /^\d+\.\d+\.\d+\.\d+$/);
  t.comment(FULL.exec(up.stderr)?.[0]);
});

/** A connection that cannot be made is made with another endpoint, and the client sees one connection. */
import t from 'tap';
import { PENALTY_TICKS, tickOf } from '../../src/dataplane/avoid.js';
import { COUNTER } from '../../src/table/counters.js';
import { ALGORITHM } from '../../src/table/layout.js';
import { TestDataplane } from '../support/dataplane.js';
import { frame, icmpError, type PacketSpec, type PacketView, VNET_BYTES, view } from '../support/packets.js';

const VIP = '10.103.145.7:8888';
const CLIENT = '10.0.1.2:40000';
const ENDPOINTS = ['10.244.0.1:80', '10.244.0.2:80', '10.244.0.3:80'];
const SYN: PacketSpec = { from: CLIENT, to: VIP, flags: ['SYN'], seq: 4711 };

const plane = (endpoints = ENDPOINTS, algorithm: number = ALGORITHM.ROUND_ROBIN): TestDataplane =>
  new TestDataplane({ [`${VIP}/tcp`]: { endpoints, algorithm, retry: true } });

const refusal = (syn: PacketView): PacketSpec => ({
  from: syn.to,
  to: syn.from,
  flags: ['RST', 'ACK'],
  ack: 4712,
});
const acceptance = (syn: PacketView): PacketSpec => ({
  from: syn.to,
  to: syn.from,
  flags: ['SYN', 'ACK'],
  ack: 4712,
});

t.test(
  'an endpoint that refuses the SYN is replaced by another at once; the client never hears of it',
  async (t) => {
    const p = plane();
    const first = p.forward(SYN);
    const second = p.forward(refusal(first));
    t.not(second.to, first.to);
    t.ok(ENDPOINTS.includes(second.to));
    t.match(second, { flags: ['SYN'], seq: 4711, transportChecksum: 'right', ipChecksumRight: true });
    const answer = p.forward(acceptance(second));
    t.match(answer, { from: VIP, to: CLIENT, flags: ['SYN', 'ACK'], ack: 4712, transportChecksum: 'right' });
    t.equal(
      p.forward({ ...SYN, flags: ['ACK'] }).to,
      second.to,
      'the flow is pinned to the one that answered',
    );
    t.strictSame(p.sleep(10), [], 'and nothing more is sent');
  },
);

t.test('all endpoints are tried once; then the refusal of the last reaches the client', async (t) => {
  const p = plane();
  let syn = p.forward(SYN);
  const tried = [syn.to];
  for (let i = 0; i < 2; i++) {
    syn = p.forward(refusal(syn));
    tried.push(syn.to);
  }
  t.strictSame([...tried].sort(), ENDPOINTS);
  t.match(p.forward(refusal(syn)), {
    from: VIP,
    to: CLIENT,
    flags: ['RST', 'ACK'],
    transportChecksum: 'right',
  });
});

t.test('an endpoint that is silent is given 250 ms, the next 500 ms, then 1 s, then 2 s', async (t) => {
  const p = plane(['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1', '10.0.0.4:1', '10.0.0.5:1']);
  const seen = [p.forward(SYN).to];
  const begin = p.nowMs;
  const at: number[] = [];
  while (p.nowMs < begin + 10_000) {
    for (const out of p.sleep(0.01, 10)) {
      at.push(p.nowMs - begin);
      seen.push(out.to);
      t.match(out, { flags: ['SYN'], seq: 4711, transportChecksum: 'right' });
    }
  }
  t.strictSame(at, [250, 750, 1750]);
  t.equal(new Set(seen).size, 4, 'four endpoints, each once');
});

t.test(
  'a late SYN-ACK of an abandoned endpoint is answered with RST to it and never reaches the client',
  async (t) => {
    const p = plane();
    const first = p.forward(SYN);
    const [second] = p.sleep(0.25, 250);
    const late = p.forward(acceptance(first));
    t.match(late, { from: first.from, to: first.to, flags: ['RST'], seq: 4712, transportChecksum: 'right' });
    t.equal(p.packet({ ...refusal(first) }), undefined, 'nor does an RST, which is not answered');
    t.match(p.forward(acceptance(second)), { from: VIP, to: CLIENT, flags: ['SYN', 'ACK'] });
  },
);

t.test('an ICMP unreachable about the SYN is a refusal', async (t) => {
  const p = plane();
  const first = p.forward(SYN);
  const quoted = frame({ ...SYN, from: first.from, to: first.to }).subarray(VNET_BYTES, VNET_BYTES + 28);
  const error = { from: '10.244.0.254', to: first.from.split(':')[0], type: 3, quoted };
  const [tooBig] = p.send(icmpError({ ...error, code: 4, rest: 1300 }));
  t.match(view(tooBig), { to: '10.0.1.2', icmp: { type: 3, code: 4 } }, 'one that says "too big" is none');
  const [out] = p.send(icmpError({ ...error, code: 1 }));
  t.match(view(out), { flags: ['SYN'], seq: 4711 }, 'the SYN goes to another endpoint in its place');
  t.not(view(out).to, first.to);
  t.match(p.counts, { received: 3, forwarded: 2, retried: 1 });
  const late = p.send(icmpError({ ...error, code: 1 }));
  t.strictSame(late, [], 'about the endpoint that was given up nobody hears any more');
  t.equal(p.counts['abandoned'], 1);
});

t.test(
  "the client's own repetitions go where the connection is being made, and count as no failure",
  async (t) => {
    const p = plane();
    p.forward(SYN);
    const [second] = p.sleep(0.25, 250);
    t.equal(p.forward(SYN).to, second.to);
  },
);

t.test('an endpoint that failed is passed over by other connections for ten seconds', async (t) => {
  const p = plane(['10.0.0.1:1', '10.0.0.2:1'], ALGORITHM.CASCADE);
  const first = p.forward(SYN);
  const second = p.forward(refusal(first));
  p.forward(acceptance(second));
  const chosen = (port: number) => {
    const syn = p.forward({ ...SYN, from: `10.0.1.3:${port}` });
    p.forward(acceptance(syn));
    return syn.to;
  };
  for (let port = 1; port < 50; port++) t.equal(chosen(port), second.to);
  p.sleep(11);
  t.equal(
    new Set(Array.from({ length: 50 }, (_, i) => chosen(100 + i))).size,
    2,
    'then it gets its share again',
  );
});

for (const [name, algorithm] of Object.entries({
  'in turn': ALGORITHM.ROUND_ROBIN,
  'by the cascade': ALGORITHM.CASCADE,
  'with equal chances': ALGORITHM.UNIFORM,
})) {
  t.test(`the share of an endpoint that is passed over goes to all others alike, ${name}`, async (t) => {
    const endpoints = Array.from({ length: 5 }, (_, i) => `10.244.${i}.2:8080`);
    const p = new TestDataplane({ [`${VIP}/tcp`]: { endpoints, algorithm, retry: true } });
    p.cx.retry.penalties[3] = tickOf(p.nowMs) + PENALTY_TICKS;
    const counts = new Map(endpoints.map((endpoint) => [endpoint, 0]));
    for (let port = 2000; port < 2800; port++) {
      const { to } = p.forward({ from: `10.0.1.2:${port}`, to: VIP, flags: ['SYN'] });
      counts.set(to, counts.get(to)! + 1);
    }
    const [a, b, away, c, d] = [...counts.values()];
    t.equal(away, 0);
    if (algorithm === ALGORITHM.ROUND_ROBIN) t.strictSame([a, b, c, d], [200, 200, 200, 200]);
    // Equal chances miss this once in 10^9; the neighbour had 320 when it took the whole share.
    else for (const count of [a, b, c, d]) t.ok(count! > 125 && count! < 275, `${[...counts.values()]}`);
  });
}

t.test('when all endpoints failed lately none is passed over', async (t) => {
  const p = plane(['10.0.0.1:1', '10.0.0.2:1']);
  const first = p.forward(SYN);
  p.forward(refusal(p.forward(refusal(first))));
  t.ok(p.forward({ ...SYN, from: '10.0.1.9:1' }).to);
});

t.test('a Service without retry passes the refusal on', async (t) => {
  const p = new TestDataplane({ [`${VIP}/tcp`]: ENDPOINTS });
  t.match(p.forward(refusal(p.forward(SYN))), { from: VIP, to: CLIENT, flags: ['RST', 'ACK'] });
});

t.test('a reset of an established connection is passed on', async (t) => {
  const p = plane();
  const syn = p.forward(SYN);
  p.forward(acceptance(syn));
  t.match(p.forward({ from: syn.to, to: syn.from, flags: ['RST'] }), {
    from: VIP,
    to: CLIENT,
    flags: ['RST'],
  });
});

t.test('ClientIP affinity follows the connection to the endpoint that took it', async (t) => {
  const p = new TestDataplane({ [`${VIP}/tcp`]: { endpoints: ENDPOINTS, retry: true, affinitySec: 100 } });
  const first = p.forward(SYN);
  const second = p.forward(refusal(first));
  p.forward(acceptance(second));
  p.sleep(30);
  for (let port = 1; port < 20; port++)
    t.equal(p.forward({ ...SYN, from: `10.0.1.2:${port}` }).to, second.to);
});

t.test('a dead Service spends the budget of retries and no more', async (t) => {
  const service = { endpoints: ENDPOINTS, algorithm: ALGORITHM.ROUND_ROBIN, retry: true };
  const p = new TestDataplane({ [`${VIP}/tcp`]: service }, { flowCapacity: 8192 });
  let retries = 0;
  for (let port = 1; port <= 1000; port++) {
    let out = p.forward({ ...SYN, from: `10.0.1.5:${port}` });
    while (out.flags.includes('SYN')) {
      out = p.forward(refusal(out));
      if (out.flags.includes('SYN')) retries++;
    }
    t.match(out, { from: VIP, flags: ['RST', 'ACK'] });
  }
  t.ok(retries <= 100 + 1000 / 5, `${retries} retries for 1000 connections`);
  t.ok(retries >= 200, `${retries} retries for 1000 connections`);
});

t.test('a client that gives up and begins anew is served anew', async (t) => {
  const p = plane();
  const first = p.forward(SYN);
  p.forward({ from: CLIENT, to: VIP, flags: ['RST'] });
  const again = p.forward({ ...SYN, seq: 1 });
  const out = p.sleep(0.25, 250);
  t.equal(out.length, 1, 'one connection waits, not two');
  t.match(out[0], { seq: 1 });
  t.not(out[0].to, again.to);
  t.ok(first.to);
});

t.test('every packet read has one outcome, whatever is refused, silent or late', async (t) => {
  const p = plane();
  const syns: PacketView[] = [];
  for (let port = 1; port <= 300; port++) {
    syns.push(p.forward({ ...SYN, from: `10.0.1.5:${port}` }));
    if (port % 3 === 0) p.packet(refusal(syns[port - 1]));
    if (port % 5 === 0) p.sleep(0.3, 100);
    if (port % 7 === 0) p.packet(acceptance(syns[port - 3]));
  }
  p.sleep(20);
  const { received, ...outcomes } = p.counts;
  t.equal(
    Object.values(outcomes).reduce((sum, count) => sum + count, 0),
    received,
  );
});

t.test(
  'a connection that was given up does not take another one with it that has its entry now',
  async (t) => {
    const p = plane();
    const other: PacketSpec = { ...SYN, from: '10.0.1.3:50000' };
    p.forward(SYN);
    const first = p.forward(other);
    // The first one's flow ends while its endpoint may still answer: a new SYN over the closed one finds no endpoint.
    p.forward({ ...SYN, flags: ['RST'] });
    p.change({ [`${VIP}/tcp`]: { endpoints: [], retry: true } });
    t.equal(p.packet({ ...SYN, seq: 1 })?.icmp?.type, 3);
    t.equal(p.flowCount, 1);

    // Refused, the second one goes on in the entry that was given back.
    p.change({ [`${VIP}/tcp`]: { endpoints: ENDPOINTS, retry: true, algorithm: ALGORITHM.ROUND_ROBIN } });
    const second = p.forward(refusal(first));
    p.forward(acceptance(second));
    t.equal(p.forward({ ...other, flags: ['ACK'] }).to, second.to);
    t.strictSame(p.sleep(5, 50), [], 'nobody is tried again');
    t.equal(p.forward({ ...other, flags: ['ACK'] }).to, second.to, 'the connection is still there');
  },
);

t.test('the patience with an endpoint does not depend on how long others have been waited for', async (t) => {
  const p = plane();
  p.forward(SYN);
  p.nowMs += 2 ** 31; // no turn in between: the first connection still waits
  const out = p.send(frame({ ...SYN, from: '10.0.1.3:50000' })).map(view);
  t.strictSame(
    out.filter(({ flags }) => flags.includes('SYN')).length,
    1,
    'the new SYN, once; the old one has expired with its flow',
  );
});

t.test('a SYN sent again that the kernel refuses is the outcome of no packet that was read', async (t) => {
  const p = plane();
  p.forward(SYN);
  p.device.writeBatch = (count) => {
    p.cx.slab.lengths.fill(-22, 0, count);
    return 0;
  };
  p.sleep(0.25, 250);
  const { received, ...outcomes } = p.counts;
  t.equal(received, 1);
  t.strictSame(outcomes, { forwarded: 1 });
  t.equal(p.cx.counters[COUNTER.INJECTED], 0, 'nor was it sent');
});

t.test('a client that gives up is not connected with another endpoint', async (t) => {
  const p = plane();
  const first = p.forward(SYN);
  p.forward({ ...SYN, flags: ['RST'] });
  t.strictSame(p.sleep(5, 50), []);
  t.match(p.forward({ ...SYN, from: '10.0.1.3:50000' }).to, /:80$/);
  t.equal(
    p.cx.retry.penalties.some((until) => until > 0),
    false,
    `${first.to} has done nothing wrong`,
  );
});

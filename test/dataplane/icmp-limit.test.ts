/** ICMP errors of flowpin's own: what is said when there is no room, and that it never says too much. */
import fc from 'fast-check';
import t from 'tap';
import { IcmpLimit } from '../../src/dataplane/icmp-limit.js';
import { SLOTS } from '../../src/dataplane/packet.js';
import { COUNTER } from '../../src/table/counters.js';
import { addressWords } from '../../src/wire/address.js';
import { TestDataplane } from '../support/dataplane.js';
import { frame, type PacketView } from '../support/packets.js';
import { holds } from '../support/property.js';
import { shows } from '../support/requirements.js';

const families = [
  { name: 'IPv4', vip: '10.96.0.1', client: '10.1.0.1', endpoint: '10.244.0.1', full: { type: 3, code: 13 } },
  { name: 'IPv6', vip: 'fd00:96::1', client: 'fd00::1', endpoint: 'fd00:244::1', full: { type: 1, code: 1 } },
];
const at = (ip: string, port: number): string => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`);

for (const { name, vip, client, endpoint, full } of families) {
  t.test(
    `${name}: a client for which there is no room is told so, and the packet counts as dropped`,
    shows('RFC 5508 REQ-8'),
    async (t) => {
      const plane = new TestDataplane({ [`${at(vip, 80)}/tcp`]: [at(endpoint, 80)] }, { flowCapacity: 2 });
      for (const port of [1, 2]) {
        const syn = plane.forward({ from: at(client, port), to: at(vip, 80), flags: ['SYN'] });
        plane.forward({ from: syn.to, to: syn.from, flags: ['SYN', 'ACK'] });
        plane.forward({ from: at(client, port), to: at(vip, 80), flags: ['ACK'] });
      }
      const refused = frame({ from: at(client, 3), to: at(vip, 80), flags: ['SYN'] });
      const [answer] = plane.send(refused);
      const seen = plane.packet({ from: at(client, 3), to: at(vip, 80), flags: ['SYN'] });
      t.match(seen, { from: vip, to: client, ipChecksumRight: true, icmp: { ...full, checksumRight: true } });
      t.strictSame(answer?.subarray(-refused.length + 10), refused.subarray(10), 'quotes what was sent');
      t.strictSame(plane.counts, { received: 8, forwarded: 6, 'flow-table-full': 2 });
    },
  );

  t.test(
    `${name}: one for which the SNAT pool has no port left is told so too`,
    shows('RFC 5508 REQ-8'),
    async (t) => {
      const plane = new TestDataplane({ [`${at(vip, 53)}/udp`]: [at(endpoint, 53)] });
      plane.cx.pools.forEach((pool) => {
        pool.draw = () => false;
      });
      const seen = plane.packet({ from: at(client, 3), to: at(vip, 53), protocol: 'udp' });
      t.match(seen, { from: vip, to: client, icmp: { ...full, checksumRight: true } });
      t.strictSame(plane.counts, { received: 1, 'snat-exhausted': 1 });
    },
  );
}

/** Rejected datagrams of one client. @returns how many were answered */
function ask(plane: TestDataplane, from: string, times: number): number {
  const frames = Array.from({ length: times }, (_, i) =>
    frame({ from: at(from, 1 + i), to: CLOSED, protocol: 'udp' }),
  );
  return plane.send(...frames).length;
}
const CLOSED = '10.96.0.9:53';
const SERVICES = { [`${CLOSED}/udp`]: [], [`${CLOSED}/tcp`]: [] };

t.test('a client gets six rejections at once and then one a second, as from the kernel', async (t) => {
  const plane = new TestDataplane(SERVICES);
  t.equal(ask(plane, '10.1.0.1', 20), 6);
  t.equal(plane.cx.counters[COUNTER.ICMP_SUPPRESSED], 14, 'the others are counted');
  t.strictSame(plane.counts, { received: 20, rejected: 20 }, 'and were rejected all the same');
  plane.nowMs += 999;
  t.equal(ask(plane, '10.1.0.1', 5), 0);
  plane.nowMs += 1;
  t.equal(ask(plane, '10.1.0.1', 5), 1);
  plane.nowMs += 60_000;
  t.equal(ask(plane, '10.1.0.1', 20), 6);
});

t.test('a client that asks too much takes nothing from another', async (t) => {
  const plane = new TestDataplane(SERVICES);
  ask(plane, '10.1.0.1', 40);
  t.equal(ask(plane, '10.1.0.2', 3), 3);
});

t.test('the node itself is always answered, as over the loopback device', async (t) => {
  const plane = new TestDataplane(SERVICES, { local: ['10.1.0.1'] });
  t.equal(ask(plane, '10.1.0.1', 60), 60);
  t.equal(ask(plane, '127.0.0.1', 60), 60);
  t.equal(ask(plane, '10.1.0.2', 60), 6);
});

t.test('a TCP client is always refused at once', async (t) => {
  const plane = new TestDataplane(SERVICES);
  for (let port = 1; port <= 200; port++) {
    const out = plane.forward({ from: `10.1.0.1:${port}`, to: CLOSED, flags: ['SYN'] });
    t.match(out.icmp, { type: 3, code: 3 });
  }
});

t.test(
  'all clients together get 50 at once and then 1000 a second: no flood from forged sources',
  async (t) => {
    const plane = new TestDataplane(SERVICES);
    const flood = (first: number): number => {
      let answers = 0;
      for (let i = 0; i < 200; i++) answers += ask(plane, `11.${first}.0.${i}`, 1);
      return answers;
    };
    t.equal(flood(0), 50);
    plane.nowMs += 20;
    t.equal(flood(1), 20);
  },
);

t.test('a flood of new connections into a full table is not answered with a flood', async (t) => {
  const plane = new TestDataplane({ '10.96.0.1:80/tcp': ['10.244.0.1:80'] }, { flowCapacity: 2 });
  for (const port of [1, 2]) {
    const syn = plane.forward({ from: `10.1.0.1:${port}`, to: '10.96.0.1:80', flags: ['SYN'] });
    plane.forward({ from: syn.to, to: syn.from, flags: ['SYN', 'ACK'] });
    plane.forward({ from: `10.1.0.1:${port}`, to: '10.96.0.1:80', flags: ['ACK'] });
  }
  let answers = 0;
  for (let i = 0; i < 10 * SLOTS; i++) {
    const syn = frame({ from: `12.0.${i >> 8}.${i & 255}:1`, to: '10.96.0.1:80', flags: ['SYN'] });
    answers += plane.send(syn).length;
  }
  t.equal(answers, 50);
  t.equal(plane.counts['flow-table-full'], 10 * SLOTS);
  t.equal(plane.cx.counters[COUNTER.ICMP_SUPPRESSED], 10 * SLOTS - 50);
});

t.test('RSTs are no ICMP: every segment to a connection that is to end gets one', async (t) => {
  const service = { '10.96.0.1:80/tcp': ['10.244.0.1:80'] };
  const plane = new TestDataplane(service);
  plane.forward({ from: '10.1.0.1:1', to: '10.96.0.1:80', flags: ['SYN'] });
  plane.change({ '10.96.0.1:80/tcp': [] }, { gone: 1 });
  for (let i = 0; i < 20; i++) {
    const out: PacketView = plane.forward({ from: '10.1.0.1:1', to: '10.96.0.1:80', flags: ['ACK'] });
    t.ok(out.flags.includes('RST'));
  }
});

/** The same with tokens that are counted: the limit of one address, of one family. */
class CountedTokens {
  private tokens: number;
  private atMs = 0;
  private readonly everyMs: number;
  private readonly most: number;
  constructor(everyMs: number, most: number) {
    this.everyMs = everyMs;
    this.most = most;
    this.tokens = most;
  }
  fill(nowMs: number): boolean {
    this.tokens = Math.min(this.most, this.tokens + (nowMs - this.atMs) / this.everyMs);
    this.atMs = nowMs;
    return this.tokens >= 1 - 1e-9;
  }
  take(): void {
    this.tokens--;
  }
}

t.test('property: the limit is that of buckets of tokens', async () => {
  const clients = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((text) => Int32Array.from(addressWords(text)));
  const step = fc.record({
    client: fc.nat(clients.length - 1),
    afterMs: fc.constantFrom(0, 0, 0, 0, 1, 10, 500, 1000, 5000),
  });
  holds(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const limit = new IcmpLimit(7);
      const all = new CountedTokens(1, 50);
      const each = clients.map(() => new CountedTokens(1000, 6));
      let nowMs = 1_000_000;
      return steps.every(({ client, afterMs }) => {
        nowMs += afterMs;
        const free = [all, each[client]!].map((bucket) => bucket.fill(nowMs)).every(Boolean);
        if (free) for (const bucket of [all, each[client]!]) bucket.take();
        return limit.allows(clients[client]!, 0, 1, 0, nowMs) === free;
      });
    }),
  );
});

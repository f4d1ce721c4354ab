/** The fast path and its slow twin: the same batches through both give the same bytes, counters and flow tables. */
import fc from 'fast-check';
import t from 'tap';
import { capture } from '../../src/dataplane/capture.js';
import { process } from '../../src/dataplane/pipeline.js';
import { reinject } from '../../src/dataplane/reinject.js';
import { retryDue } from '../../src/dataplane/retry.js';
import { type Services, TestDataplane } from '../support/dataplane.js';
import { frame, type PacketSpec, type TcpFlag, view } from '../support/packets.js';
import { holds } from '../support/property.js';

/** No word of these is zero, and no two are alike. */
const VIP6 = '[fd00:96:1:2:3:4:5:6]';
const PODS6 = ['[fd00:244:a:b:c:d:e:f]', '[fd00:244:a:b:c:d:e:10]'] as const;
const CLIENT6 = '[2001:db8:1:2:3:4:5:6]';
/** Its UDP and TCP tuples have the hash of CLIENT6's, with every seed: see `hashTuple`. */
const SAME_HASH6 = '[2001:db8:1:2:3:84:5:486]';

const SERVICES: Services = {
  '10.96.0.1:80/tcp': ['10.244.0.1:80', '10.244.0.2:80'],
  '10.96.0.1:53/udp': ['10.244.0.1:53'],
  '10.96.0.2:80/tcp': {
    endpoints: ['10.244.0.1:80', '10.244.0.2:80', '10.244.0.3:80'],
    retry: true,
    affinitySec: 60,
  },
  [`${VIP6}:80/tcp`]: [`${PODS6[0]}:80`, `${PODS6[1]}:80`],
  [`${VIP6}:53/udp`]: [`${PODS6[0]}:53`, `${PODS6[1]}:53`],
};
const FEWER: Services = {
  '10.96.0.1:80/tcp': ['10.244.0.2:80'],
  '10.96.0.1:53/udp': [],
  '10.96.0.2:80/tcp': { endpoints: ['10.244.0.3:80'], retry: true },
  [`${VIP6}:80/tcp`]: [`${PODS6[1]}:80`],
  [`${VIP6}:53/udp`]: [`${PODS6[1]}:53`],
};

/** Without the fast path: every packet through `process`. */
class SlowTwin extends TestDataplane {
  override send(...frames: Uint8Array[]): Uint8Array[] {
    for (const bytes of frames) this.device.put(bytes);
    this.device.sent.length = 0;
    const { cx, device } = this;
    for (;;) {
      cx.nowMs = this.nowMs;
      cx.nowSec = Math.floor(this.nowMs / 1000);
      const count = capture(cx, device);
      for (let slot = 0; slot < count; slot++) process(cx, slot);
      const used = retryDue(cx, count);
      if (used > 0) reinject(cx, device, used);
      if (count === 0) return [...device.sent];
    }
  }
}

const flags = fc.constantFrom<TcpFlag[]>(
  ['SYN'],
  ['ACK'],
  ['ACK'],
  ['ACK', 'PSH'],
  ['SYN', 'ACK'],
  ['FIN', 'ACK'],
  ['RST'],
  [],
);
const shape = fc.record({
  flags,
  payload: fc.nat(40).map((length) => new Uint8Array(length).fill(7)),
  partial: fc.boolean(),
  noChecksum: fc.boolean(),
  options: fc.constantFrom(false, false, false, true),
  ttl: fc.constantFrom(64, 64, 64, 64, 1, 0),
});

/** A packet of a client, a reply to something that came out before, or the same again. */
const packet = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('client' as const),
      to: fc.nat(5),
      port: fc.integer({ min: 1, max: 6 }),
      shape,
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('reply' as const), to: fc.nat(1000), shape }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('garbage' as const), bytes: fc.uint8Array({ maxLength: 80 }) }),
  },
);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      packets: fc.array(packet, { maxLength: 80 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('sleep' as const),
      seconds: fc.constantFrom(0.3, 5, 40, 130, 500_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('change' as const),
      fewer: fc.boolean(),
      gone: fc.constantFrom(0, 1),
    }),
  },
);

const DESTINATIONS = [
  '10.96.0.1:80',
  '10.96.0.2:80',
  `${VIP6}:80`,
  '10.96.0.1:53',
  `${VIP6}:53`,
  '192.0.2.1:80',
];

function specOf(
  to: string,
  from: string,
  given: {
    flags: TcpFlag[];
    payload: Uint8Array;
    partial: boolean;
    noChecksum: boolean;
    options: boolean;
    ttl: number;
  },
): PacketSpec {
  const { options, ...rest } = given;
  const v4 = !to.startsWith('[');
  const protocol = to.endsWith(':53') || from.endsWith(':53') ? 'udp' : 'tcp';
  return { ...rest, from, to, protocol, ...(options && v4 ? { options: Uint8Array.of(1, 1, 1, 0) } : {}) };
}

t.test('any sequence of batches, pauses and changes', async () => {
  holds(
    fc.property(fc.array(step, { maxLength: 30 }), fc.integer(), (steps, seed) => {
      const fast = new TestDataplane(SERVICES, { seed, flowCapacity: 64 });
      const slow = new SlowTwin(SERVICES, { seed, flowCapacity: 64 });
      const seen: { from: string; to: string }[] = [];
      for (const s of steps) {
        let frames: Uint8Array[] = [];
        if (s.kind === 'sleep') {
          fast.nowMs += s.seconds * 1000;
          slow.nowMs = fast.nowMs;
        } else if (s.kind === 'change') {
          fast.change(s.fewer ? FEWER : SERVICES, { gone: s.gone });
          slow.change(s.fewer ? FEWER : SERVICES, { gone: s.gone });
        } else {
          frames = s.packets.flatMap((p) => {
            if (p.kind === 'garbage') return [p.bytes];
            if (p.kind === 'reply') {
              const earlier = seen[p.to % Math.max(1, seen.length)];
              return earlier === undefined ? [] : [frame(specOf(earlier.from, earlier.to, p.shape))];
            }
            const to = DESTINATIONS[p.to];
            const from = to.startsWith('[')
              ? `${p.port > 3 ? CLIENT6 : SAME_HASH6}:${(p.port % 3) + 1}`
              : `10.0.1.2:${p.port}`;
            return [frame(specOf(to, from, p.shape))];
          });
        }
        // Reaping goes by the slice of a turn and the two turn as often; it is left out so that only packets decide.
        fast.cx.reapedMs = fast.nowMs;
        const [out, expected] = [fast.send(...frames), slow.send(...frames)];
        if (
          out.length !== expected.length ||
          out.some((bytes, i) => Buffer.compare(bytes, expected[i]) !== 0)
        )
          return false;
        for (const bytes of out) {
          const { from, to, protocol } = view(bytes);
          if (protocol === 6 || protocol === 17) seen.push({ from, to });
        }
        if (
          Buffer.compare(
            Buffer.from(fast.cx.counters.buffer, 0, 2048),
            Buffer.from(slow.cx.counters.buffer, 0, 2048),
          ) !== 0
        )
          return false;
        const same = fast.cx.flows.every(({ entries }, family) => {
          const twin = slow.cx.flows[family].entries;
          return Buffer.compare(Buffer.from(entries.buffer), Buffer.from(twin.buffer)) === 0;
        });
        if (!same) return false;
      }
      return true;
    }),
    300,
  );
});

t.test('the longest IPv6 packet, whose length takes more than 16 bits', async (t) => {
  const fast = new TestDataplane(SERVICES, { seed: 3 });
  const slow = new SlowTwin(SERVICES, { seed: 3 });
  const ends = { from: '[fd00::1]:5', to: `${VIP6}:53`, protocol: 'udp' } as const;
  const payload = new Uint8Array(65_535 - 8).fill(7);
  for (const bytes of [frame(ends), frame({ ...ends, payload }), frame({ ...ends, payload })]) {
    t.strictSame(fast.send(bytes), slow.send(bytes));
  }
  t.equal(fast.counts['forwarded'], 3);
  t.ok(fast.cx.counters.every((value, i) => value === slow.cx.counters[i]));
});

t.test('two IPv6 clients whose tuples have the same hash', async (t) => {
  const fast = new TestDataplane(SERVICES, { seed: 3 });
  const slow = new SlowTwin(SERVICES, { seed: 3 });
  const batch = [CLIENT6, SAME_HASH6, CLIENT6, SAME_HASH6].map((from) =>
    frame({ from: `${from}:7`, to: `${VIP6}:53`, protocol: 'udp', payload: Buffer.from(from) }),
  );
  for (let i = 0; i < 3; i++) {
    const out = fast.send(...batch);
    t.strictSame(out, slow.send(...batch));
    const sources = out.map((bytes) => view(bytes).from);
    t.not(sources[0], sources[1], 'two flows');
    t.strictSame(sources.slice(0, 2), sources.slice(2));
  }
  const { hashes } = fast.cx;
  t.equal(hashes[0], hashes[1], 'they have the same hash: the test tests what it says');
});

t.test('a batch in which a connection ends, begins anew and goes on', async (t) => {
  const fast = new TestDataplane(SERVICES, { seed: 3 });
  const slow = new SlowTwin(SERVICES, { seed: 3 });
  const client = '10.0.1.2:5';
  const to = '10.96.0.1:80';
  const [syn] = fast.send(frame({ from: client, to, flags: ['SYN'] }));
  slow.send(frame({ from: client, to, flags: ['SYN'] }));
  const { from: snat, to: endpoint } = view(syn);
  const batch: PacketSpec[] = [
    { from: endpoint, to: snat, flags: ['SYN', 'ACK'] },
    { from: client, to, flags: ['ACK'] },
    { from: client, to, flags: ['ACK', 'PSH'], payload: Buffer.from('GET') },
    { from: endpoint, to: snat, flags: ['RST'] },
    { from: client, to, flags: ['SYN'] },
    { from: endpoint, to: snat, flags: ['ACK'] },
    { from: client, to, flags: ['ACK'] },
  ];
  const frames = batch.map(frame);
  const [out, expected] = [fast.send(...frames), slow.send(...frames)];
  t.strictSame(out, expected);
  t.strictSame(fast.counts, slow.counts);
});

/** Datagrams in pieces through the real pipeline, in every order, over both families. */
import fc from 'fast-check';
import t from 'tap';
import {
  HELD_BYTES_MAX,
  HELD_MAX,
  HELD_PER_DATAGRAM_MAX,
  KNOWN_MS,
  WAIT_MS,
} from '../../src/conntrack/fragments.js';
import { WorkerContext } from '../../src/dataplane/context.js';
import { TestDataplane } from '../support/dataplane.js';
import { cut, cutAll, type Piece, rangeOf, reassemble } from '../support/fragments.js';
import { frame, type PacketSpec, view } from '../support/packets.js';
import { holds } from '../support/property.js';
import { shows } from '../support/requirements.js';

const FAMILIES = [
  {
    name: 'IPv4',
    at: (port: number) => `10.103.145.7:${port}`,
    VIP: '10.103.145.7:8888',
    ENDPOINTS: ['10.244.0.3:8080', '10.244.1.2:8080', '10.244.2.2:8080'],
    CLIENT: '10.0.1.2:40000',
    FOREIGN: '192.0.2.1:80',
    POOL: /^198\.18\./,
    sourceAt: 12,
    addressBytes: 4,
    ipHeader: 20,
    longest: 65_515,
  },
  {
    name: 'IPv6',
    at: (port: number) => `[fd00:10:96::7]:${port}`,
    VIP: '[fd00:10:96::7]:8888',
    ENDPOINTS: ['[fd00:244::3]:8080', '[fd00:244:1::2]:8080', '[fd00:244:2::2]:8080'],
    CLIENT: '[2001:db8::9]:40000',
    FOREIGN: '[2001:db8:9::1]:80',
    POOL: /^\[fd00:198:18:/,
    sourceAt: 8,
    addressBytes: 16,
    ipHeader: 40,
    longest: 65_535,
  },
];

/** Bytes that are all different enough for a fragment in the wrong place to be seen. */
const payloadOf = (bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 8)) & 255);

/** Every packet that was read has one outcome, or is held. */
function sumOf({ counts }: TestDataplane): { received: number; ended: number } {
  const { received = 0, ...ends } = counts;
  return { received, ended: Object.values(ends).reduce((sum, count) => sum + count, 0) };
}

for (const {
  name,
  at,
  VIP,
  ENDPOINTS,
  CLIENT,
  FOREIGN,
  POOL,
  sourceAt,
  addressBytes,
  ipHeader,
  longest,
} of FAMILIES) {
  const SERVICES = {
    [`${VIP}/udp`]: ENDPOINTS,
    [`${VIP}/tcp`]: ENDPOINTS,
    [`${VIP}/sctp`]: ENDPOINTS,
    [`${at(81)}/udp`]: [],
  };
  const datagram: PacketSpec = { from: CLIENT, to: VIP, protocol: 'udp', payload: payloadOf(4000) };
  const plane = () => new TestDataplane(SERVICES);

  t.test(name, async (t) => {
    const orders: { what: string; order: (pieces: Uint8Array[]) => Uint8Array[] }[] = [
      { what: 'in order', order: (pieces) => pieces },
      { what: 'in reverse order', order: (pieces) => [...pieces].reverse() },
      { what: 'with the first in the middle', order: ([first, second, ...rest]) => [...rest, first, second] },
    ];
    const specs: { what: string; spec: PacketSpec; size: number }[] = [
      { what: 'UDP of 4000 bytes', spec: datagram, size: 1480 },
      { what: 'UDP without a checksum', spec: { ...datagram, noChecksum: name === 'IPv4' }, size: 1480 },
      { what: 'UDP of 60,000 bytes', spec: { ...datagram, payload: payloadOf(60_000) }, size: 1232 },
      { what: 'the longest UDP', spec: { ...datagram, payload: payloadOf(longest - 8) }, size: 1448 },
      { what: 'TCP', spec: { from: CLIENT, to: VIP, flags: ['SYN'], payload: payloadOf(3000) }, size: 512 },
    ];
    for (const { what, spec, size } of specs) {
      for (const { what: how, order } of orders) {
        for (const together of [true, false]) {
          const batch = together ? 'in one batch' : 'one by one';
          t.test(`${what}, ${how}, ${batch}: there and back`, shows('RFC 4787 REQ-14'), async (t) => {
            const p = plane();
            const pieces = order(cutAll(frame(spec), size));
            const take = (frames: Uint8Array[]) =>
              together ? p.send(...frames) : frames.flatMap((piece) => p.send(piece));
            const there = take(pieces);
            t.equal(there.length, pieces.length, 'as many fragments came out');
            const seen = view(reassemble(there));
            t.ok(ENDPOINTS.includes(seen.to), `to ${seen.to}`);
            t.match(seen.from, POOL);
            t.equal(seen.transportChecksum, spec.noChecksum ? 'none' : 'right');
            t.strictSame(Buffer.from(seen.payload), Buffer.from(spec.payload!));

            const reply: PacketSpec = { ...spec, from: seen.to, to: seen.from };
            if (reply.flags) reply.flags = ['SYN', 'ACK'];
            const back = take(order(cutAll(frame(reply), size, 77)));
            const answer = view(reassemble(back));
            t.strictSame([answer.from, answer.to], [VIP, CLIENT]);
            t.equal(answer.transportChecksum, spec.noChecksum ? 'none' : 'right');
            t.strictSame(Buffer.from(answer.payload), Buffer.from(spec.payload!));
            t.strictSame(p.counts, { received: 2 * pieces.length, forwarded: 2 * pieces.length });
            t.equal(p.flowCount, 1);
            t.equal(p.cx.fragments.heldCount, 0);
          });
        }
      }
    }

    t.test('held fragments leave in the order in which they came, behind the first', async (t) => {
      const p = plane();
      const [first, ...later] = cutAll(frame(datagram), 800);
      const order = [later[2], later[0], later[4], later[1], later[3]];
      t.strictSame(p.send(...order), []);
      t.strictSame(p.counts, { received: 5, held: 5 });
      const starts = p.send(first).map((piece) => rangeOf(piece).start);
      t.strictSame(
        starts,
        [first, ...order].map((piece) => rangeOf(piece).start),
      );
      t.strictSame(p.counts, { received: 6, forwarded: 6 });
    });

    t.test('interleaved datagrams of many clients are not mixed up', shows('RFC 4787 REQ-14'), async (t) => {
      const p = plane();
      const clients = Array.from({ length: 8 }, (_, i) => CLIENT.replace('40000', String(40_000 + i)));
      const all = clients.map((from, i) =>
        cutAll(frame({ ...datagram, from, payload: payloadOf(3000 + i) }), 800, 1 + (i & 3) * 1000 + i),
      );
      const mixed: Uint8Array[] = [];
      for (let i = 3; i >= 0; i--) for (const pieces of all) mixed.push(pieces[i]);
      const out = p.send(...mixed);
      t.equal(out.length, 32);
      for (let i = 0; i < clients.length; i++) {
        const whole = out.filter((piece) => idOf(piece, name) === 1 + (i & 3) * 1000 + i);
        const seen = view(reassemble(whole));
        t.equal(seen.transportChecksum, 'right');
        t.equal(seen.payload.length, 3000 + i);
      }
      t.equal(p.flowCount, 8);
    });

    t.test('one identification, two clients: two datagrams', async (t) => {
      const p = plane();
      const other = name === 'IPv4' ? '10.0.1.3:40000' : '[2001:db8::a]:40000';
      const one = cutAll(frame(datagram), 2400);
      const two = cutAll(frame({ ...datagram, from: other, payload: payloadOf(4001) }), 2400);
      const out = p.send(one[0], two[0], two[1], one[1]);
      t.equal(view(reassemble([out[0], out[3]])).payload.length, 4000);
      t.equal(view(reassemble([out[1], out[2]])).payload.length, 4001);
    });

    t.test('a fragment that comes twice is dropped, its datagram goes on', async (t) => {
      const p = plane();
      const [one, two, three] = cutAll(frame(datagram), 1480);
      const out = p.send(one, one, two, two, one, three);
      t.equal(view(reassemble(out)).transportChecksum, 'right');
      t.strictSame(p.counts, { received: 6, forwarded: 3, 'duplicate-fragment': 3 });

      const q = plane();
      t.equal(
        view(reassemble(q.send(two, two, one, three))).transportChecksum,
        'right',
        'also while it is held',
      );
      t.strictSame(q.counts, { received: 4, forwarded: 3, 'duplicate-fragment': 1 });
    });

    const overlaps: { what: string; pieces: Piece[]; sent: number }[] = [
      {
        what: 'the tail of the one before',
        pieces: [
          { start: 0, end: 1480, more: true },
          { start: 1472, end: 2960, more: true },
          { start: 2960, end: 4008, more: false },
        ],
        sent: 1,
      },
      {
        what: 'the first',
        pieces: [
          { start: 0, end: 1480, more: true },
          { start: 0, end: 1488, more: true },
          { start: 1480, end: 4008, more: false },
        ],
        sent: 1,
      },
      {
        what: 'the one behind, which came first',
        pieces: [
          { start: 0, end: 8, more: true },
          { start: 1480, end: 4008, more: false },
          { start: 8, end: 1488, more: true },
        ],
        sent: 2,
      },
      {
        what: 'a larger one around it',
        pieces: [
          { start: 0, end: 8, more: true },
          { start: 800, end: 1600, more: true },
          { start: 8, end: 1608, more: true },
          { start: 1608, end: 4008, more: false },
        ],
        sent: 2,
      },
      {
        what: 'the end: bytes behind it',
        pieces: [
          { start: 0, end: 8, more: true },
          { start: 2000, end: 2008, more: true },
          { start: 1000, end: 1999, more: false },
        ],
        sent: 2,
      },
      {
        what: 'the end: another end',
        pieces: [
          { start: 0, end: 8, more: true },
          { start: 1000, end: 1999, more: false },
          { start: 2000, end: 2999, more: false },
        ],
        sent: 2,
      },
      {
        what: 'the end: more behind the last',
        pieces: [
          { start: 0, end: 8, more: true },
          { start: 1000, end: 1999, more: false },
          { start: 2000, end: 2008, more: true },
        ],
        sent: 2,
      },
    ];
    for (const { what, pieces, sent } of overlaps) {
      t.test(
        `a fragment that overlaps ${what}: nothing of the datagram is let through any more`,
        shows('RFC 4787 REQ-14a'),
        async (t) => {
          const p = plane();
          const whole = frame(datagram);
          const out = pieces.flatMap((piece) => p.send(cut(whole, piece)));
          t.equal(out.length, sent);
          const rest = pieces.length - sent - 1;
          t.strictSame(p.counts, {
            received: pieces.length,
            forwarded: sent,
            'overlapping-fragment': 1,
            ...(rest > 0 ? { fragment: rest } : {}),
          });
          t.strictSame(p.send(cut(whole, { start: 3000, end: 3008, more: true })), []);
        },
      );
    }

    const bad: { what: string; reason: string; spec: PacketSpec; piece: Piece }[] = [
      {
        what: 'a UDP header cut short',
        reason: 'bad-fragment',
        spec: datagram,
        piece: { start: 0, end: 7, more: true },
      },
      {
        what: 'a TCP header cut before its checksum',
        reason: 'tiny-fragment',
        spec: { from: CLIENT, to: VIP, flags: ['SYN'] },
        piece: { start: 0, end: 16, more: true },
      },
      {
        what: 'a TCP header of ports and sequence number',
        reason: 'tiny-fragment',
        spec: { from: CLIENT, to: VIP, flags: ['SYN'] },
        piece: { start: 0, end: 8, more: true },
      },
      {
        what: "a TCP fragment that begins inside the first one's header",
        reason: 'tiny-fragment',
        spec: { from: CLIENT, to: VIP, flags: ['SYN'], payload: payloadOf(100) },
        piece: { start: 8, end: 24, more: true },
      },
      {
        what: 'no payload',
        reason: 'bad-fragment',
        spec: datagram,
        piece: { start: 800, end: 800, more: true },
      },
      {
        what: 'a length that is no multiple of 8 before the end',
        reason: 'bad-fragment',
        spec: datagram,
        piece: { start: 0, end: 1001, more: true },
      },
      {
        what: 'an end beyond the longest datagram',
        reason: 'oversized-fragment',
        spec: datagram,
        piece: { start: 65_528, end: 65_536, more: false },
      },
      {
        what: 'an end one byte beyond the longest datagram',
        reason: 'oversized-fragment',
        spec: datagram,
        piece: { start: longest - 7 - ((longest - 7) & 7), end: longest + 1, more: false },
      },
      {
        what: 'an SCTP packet in pieces',
        reason: 'unsupported-fragment',
        spec: { ...datagram, protocol: 'sctp' },
        piece: { start: 0, end: 800, more: true },
      },
      {
        what: 'a ping of the VIP in pieces',
        reason: 'unsupported-fragment',
        spec: {
          ...datagram,
          protocol: name === 'IPv4' ? 1 : 58,
          to: VIP.replace(/^\[?(.*?)\]?:8888$/, '$1'),
          from: CLIENT.replace(/^\[?(.*?)\]?:40000$/, '$1'),
        },
        piece: { start: 0, end: 800, more: true },
      },
    ];
    for (const { what, reason, spec, piece } of bad) {
      t.test(`${what}: dropped for ${reason}`, async (t) => {
        const p = plane();
        t.strictSame(p.send(cut(frame(spec), piece)), []);
        t.strictSame(p.counts, { received: 1, [reason]: 1 });
        t.equal(p.flowCount, 0);
      });
    }

    t.test(
      'a fragment with a checksum left to do, or to be segmented, is none that a stack makes',
      async (t) => {
        const p = plane();
        const [first, later] = cutAll(frame(datagram), 2400);
        first[0] = 1;
        later[1] = 5;
        t.strictSame(p.send(first, later), []);
        t.strictSame(p.counts, { received: 2, 'bad-partial-checksum': 1, 'bad-fragment': 1 });
      },
    );

    t.test(
      'a rejected datagram is answered once, for its first fragment; the others are dropped',
      async (t) => {
        for (const order of [
          [0, 1, 2],
          [2, 1, 0],
        ]) {
          const p = plane();
          const pieces = cutAll(frame({ ...datagram, to: at(81) }), 1480);
          const out = p.send(...order.map((i) => pieces[i]));
          t.equal(out.length, 1);
          t.match(view(out[0]).icmp, {
            ...(name === 'IPv4' ? { type: 3, code: 3 } : { type: 1, code: 4 }),
            checksumRight: true,
          });
          t.strictSame(p.counts, { received: 3, rejected: 1, fragment: 2 });
          t.equal(p.cx.fragments.heldCount, 0);
        }
      },
    );

    t.test('fragments behind a tiny first one are dropped, not held', async (t) => {
      const p = plane();
      const whole = frame({ from: CLIENT, to: VIP, flags: ['SYN'], payload: payloadOf(100) });
      p.send(cut(whole, { start: 0, end: 16, more: true }), cut(whole, { start: 16, end: 120, more: false }));
      t.strictSame(p.counts, { received: 2, 'tiny-fragment': 1, fragment: 1 });
    });

    t.test('what is not for a Service passes unchanged, once its first fragment has told so', async (t) => {
      for (const spec of [
        { ...datagram, to: FOREIGN },
        { ...datagram, to: FOREIGN, protocol: 'sctp' as const },
      ]) {
        const p = plane();
        const pieces = cutAll(frame(spec), 1480);
        t.strictSame(p.send(pieces[1], pieces[0], pieces[2]), [pieces[0], pieces[2], pieces[1]]);
        t.strictSame(p.counts, { received: 3, passed: 3 });
      }
    });

    t.test('fragments that are not ours are not judged: they pass also twice and overlapping', async (t) => {
      const p = plane();
      const whole = frame({ ...datagram, to: FOREIGN });
      const [first, second] = cutAll(whole, 1480);
      const around = cut(whole, { start: 8, end: 2960, more: true });
      const all = [first, second, second, first, around, second];
      t.strictSame(p.send(...all), all);
      t.strictSame(p.counts, { received: 6, passed: 6 });
    });

    t.test('a fragment whose first one never comes is dropped when its time is over', async (t) => {
      const p = plane();
      const [first, second, third] = cutAll(frame(datagram), 1480);
      p.send(second);
      p.nowMs += WAIT_MS - 1;
      t.strictSame(p.send(third), []);
      t.strictSame(p.counts, { received: 2, held: 2 });
      p.nowMs += 1;
      t.strictSame(p.send(), []);
      t.strictSame(
        p.counts,
        { received: 2, 'fragment-timeout': 2 },
        'the whole datagram, by its first-comer',
      );
      t.equal(p.send(first).length, 1, 'the first goes also then');
      t.equal(p.cx.fragments.heldCount, 0);
    });

    t.test('a first fragment is remembered for a while', async (t) => {
      const p = plane();
      const [first, second, third] = cutAll(frame(datagram), 1480);
      p.send(first);
      p.nowMs += KNOWN_MS - 1;
      t.equal(p.send(third).length, 1);
      p.nowMs += 1;
      t.equal(p.send(second).length, 0);
      t.strictSame(p.counts, { received: 3, forwarded: 2, held: 1 });
    });

    t.test('a complete datagram is forgotten at once: its identification can be used again', async (t) => {
      const p = plane();
      for (let round = 0; round < 3; round++) {
        const out = p.send(...cutAll(frame({ ...datagram, payload: payloadOf(3000 + round) }), 1480));
        t.equal(view(reassemble(out)).payload.length, 3000 + round);
      }
    });

    t.test(
      'later fragments of a flow that has ended, or has another endpoint now, are dropped',
      async (t) => {
        const p = new TestDataplane({ [`${VIP}/udp`]: [ENDPOINTS[0]] });
        const [first, second, third] = cutAll(frame(datagram), 1480);
        p.send(first);
        p.change({ [`${VIP}/udp`]: [ENDPOINTS[1]] });
        t.strictSame(p.send(second), [], 'the endpoint is gone');
        t.equal(p.forward({ from: CLIENT, to: VIP, protocol: 'udp' }).to, ENDPOINTS[1]);
        t.strictSame(p.send(third), [], 'the flow of this tuple is another one');
        t.strictSame(p.counts, { received: 4, forwarded: 2, fragment: 2 });
      },
    );

    t.test('a frame of a larger MTU than is held is dropped by name when it comes early', async (t) => {
      const p = plane();
      const [first, later] = cutAll(frame({ ...datagram, payload: payloadOf(8000) }), 4000);
      t.ok(later.length > HELD_BYTES_MAX);
      t.strictSame(p.send(later), []);
      t.strictSame(p.counts, { received: 1, 'fragment-no-room': 1 });
      t.equal(p.send(first).length, 1);
      t.equal(p.send(later).length, 1, 'in order it is no matter');
    });

    t.test('no datagram has all the room', shows('RFC 4787 REQ-14a'), async (t) => {
      const p = plane();
      const whole = frame({ ...datagram, payload: payloadOf(2000) });
      for (let i = 0; i < HELD_PER_DATAGRAM_MAX + 3; i++) {
        p.send(cut(whole, { start: 8 * (i + 1), end: 8 * (i + 2), more: true }));
      }
      t.strictSame(p.counts, {
        received: HELD_PER_DATAGRAM_MAX + 3,
        held: HELD_PER_DATAGRAM_MAX,
        'fragment-no-room': 3,
      });
      const out = p.send(cut(whole, { start: 0, end: 8, more: true }));
      t.equal(out.length, 1 + HELD_PER_DATAGRAM_MAX, 'more than the free slots of one batch');
    });

    t.test('fragments in so many separate ranges that they cannot be remembered', async (t) => {
      const p = plane();
      const whole = frame({ ...datagram, payload: payloadOf(4000) });
      p.send(cut(whole, { start: 0, end: 8, more: true }));
      for (let i = 1; i <= 32; i++) p.send(cut(whole, { start: 16 * i, end: 16 * i + 8, more: true }));
      t.strictSame(p.counts, { received: 33, forwarded: 32, 'fragment-no-room': 1 });
    });

    t.test(
      '100,000 fragments without a first: memory and room stay bounded, those in order go on',
      shows('RFC 4787 REQ-14a'),
      async (t) => {
        const p = plane();
        const [first, second] = cutAll(frame(datagram), 2400);
        const [early, late] = cutAll(frame({ ...datagram, from: CLIENT.replace('40000', '41000') }), 2400, 9);
        const stray = cut(frame(datagram), { start: 1480, end: 2960, more: true });
        const whole: Uint8Array[] = [];
        const heapBefore = process.memoryUsage().arrayBuffers;
        for (let i = 0; i < 100_000; i += 50) {
          for (let j = i; j < i + 50; j++) {
            const bytes = stray.slice();
            bytes[10 + sourceAt + 2] ^= j >> 16;
            bytes[10 + sourceAt + 3] = j >> 8;
            if (name === 'IPv4') bytes[15] = j & 255;
            else bytes[10 + 40 + 7] = j & 255;
            p.device.put(bytes);
          }
          if (i === 50_000) whole.push(...p.send(first));
          else if (i === 50_050) whole.push(...p.send(second));
          else if (i === 70_000) p.send(late);
          else if (i === 70_050)
            t.equal(p.send(early).length, 2, 'also one out of order that is not much too late');
          else p.send();
          if (i % 1000 === 0) p.nowMs += 1;
        }
        t.equal(view(reassemble(whole)).transportChecksum, 'right');
        t.ok(process.memoryUsage().arrayBuffers - heapBefore < 64 << 20);
        t.equal(p.cx.fragments.heldCount, HELD_MAX);
        const { received, ended } = sumOf(p);
        t.equal(ended, received, 'one outcome for each');
        t.equal(p.counts['held'], HELD_MAX);
        p.nowMs += WAIT_MS;
        p.send();
        t.equal(p.cx.fragments.heldCount, 0);
        t.equal(p.counts['held'], undefined);
        t.equal(sumOf(p).ended, sumOf(p).received);
      },
    );

    t.test(
      'whatever comes, in whatever order: one outcome each, and nothing leaves for the VIP',
      async () => {
        const wholes = [0, 1, 2].map((id) =>
          frame({ ...datagram, from: CLIENT.replace('40000', String(40_000 + id)) }),
        );
        const piece = fc.record({
          id: fc.nat(2),
          start: fc.nat(12),
          units: fc.integer({ min: 0, max: 12 }),
          more: fc.boolean(),
          odd: fc.nat(9),
          patch: fc.option(fc.tuple(fc.nat(60), fc.nat(255)), { freq: 5 }),
          ms: fc.oneof(fc.constant(0), fc.nat(3000)),
        });
        holds(
          fc.property(fc.array(piece, { maxLength: 60 }), fc.boolean(), (pieces, together) => {
            const p = plane();
            const patched = pieces.some(({ patch }) => patch !== null);
            const out: Uint8Array[] = [];
            for (const { id, start, units, more, odd, patch, ms } of pieces) {
              const end = (start + units) * 8 - (odd === 0 && units > 0 ? 3 : 0);
              const bytes = cut(wholes[id], { start: start * 8, end, more }, id + 1);
              if (patch !== null) bytes[patch[0] % bytes.length] = patch[1];
              p.device.put(bytes);
              if (together && ms < 2000) continue;
              p.nowMs += ms;
              out.push(...p.send());
            }
            out.push(...p.send());
            const { received, ended } = sumOf(p);
            if (received !== pieces.length || ended !== received) throw new Error(JSON.stringify(p.counts));
            if (patched) return;
            for (const bytes of out) {
              const id = idOf(bytes, name);
              const { start, end } = rangeOf(bytes);
              const to = Buffer.from(
                bytes.subarray(10 + sourceAt + addressBytes, 10 + sourceAt + 2 * addressBytes),
              );
              const vip = wholes[0].subarray(10 + sourceAt + addressBytes, 10 + sourceAt + 2 * addressBytes);
              if (to.equals(vip)) throw new Error('to the VIP');
              const kept = Math.max(start, 8); // of the first fragment, ports and checksum are others now
              const payload = bytes.subarray(bytes.length - (end - start));
              const original = wholes[id - 1].subarray(10 + ipHeader, 10 + ipHeader + end);
              if (
                kept < end &&
                !Buffer.from(payload.subarray(kept - start)).equals(original.subarray(kept))
              ) {
                throw new Error(`bytes ${kept} to ${end} are others`);
              }
            }
          }),
        );
      },
    );

    t.test('what a worker held when it ended is counted as dropped by the next', async (t) => {
      const p = plane();
      const [, later] = cutAll(frame(datagram), 2400);
      p.send(later);
      const { cx } = p;
      new WorkerContext({ ...cx, penalties: cx.retry.penalties, coalesce: 0 });
      t.strictSame(p.counts, { received: 1, 'fragment-timeout': 1 });
    });
  });
}

t.test('IPv6: extension headers before and behind the fragment header', async (t) => {
  const VIP = '[fd00:10:96::7]:8888';
  const p = new TestDataplane({ [`${VIP}/udp`]: ['[fd00:244::3]:8080'] });
  // Behind it: destination options, which are in the payload of the first fragment.
  const options = Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0);
  const whole = frame({
    from: '[2001:db8::9]:1',
    to: VIP,
    protocol: 'udp',
    extensions: 60,
    options,
    payload: payloadOf(3000),
  });
  const pieces = cutAll(whole, 1232);
  const back = view(reassemble(p.send(pieces[2], pieces[0], pieces[1])));
  t.equal(back.to, '[fd00:244::3]:8080');
  t.equal(back.transportChecksum, 'right');

  const tiny = cut(whole, { start: 0, end: 8, more: true }, 5);
  t.strictSame(p.send(tiny), [], 'a first fragment that ends with the options');
  t.match(p.counts, { 'tiny-fragment': 1 });
  const nested = cut(whole, { start: 0, end: 1232, more: true }, 6);
  nested[10 + 40] = 44; // the options are a fragment header now
  t.strictSame(p.send(nested), []);
  t.match(p.counts, { 'bad-ipv6-extension': 1 });
});

t.test('IPv6: an atomic fragment is a whole packet (RFC 6946)', async (t) => {
  const VIP = '[fd00:10:96::7]:8888';
  const p = new TestDataplane({ [`${VIP}/udp`]: ['[fd00:244::3]:8080'] });
  const atomic = frame({
    ...{ from: '[2001:db8::9]:1', to: VIP, protocol: 'udp', payload: payloadOf(99) },
    ...{ extensions: 44, options: Uint8Array.of(17, 0xff, 0, 6, 1, 2, 3, 4) },
  } as PacketSpec);
  for (let i = 0; i < 2; i++) {
    const [out] = p.send(atomic);
    t.strictSame(
      [...out.subarray(10 + 40, 10 + 48)],
      [17, 0xff, 0, 6, 1, 2, 3, 4],
      'the header goes through',
    );
    const whole = new Uint8Array(out.length - 8);
    whole.set(out.subarray(0, 50));
    whole.set(out.subarray(58), 50);
    whole[16] = 17;
    new DataView(whole.buffer).setUint16(14, whole.length - 50);
    t.equal(view(whole).transportChecksum, 'right');
    t.equal(view(whole).to, '[fd00:244::3]:8080');
  }
  t.strictSame(p.counts, { received: 2, forwarded: 2 });
});

function idOf(piece: Uint8Array, family: string): number {
  const data = new DataView(piece.buffer, piece.byteOffset);
  return family === 'IPv4' ? data.getUint16(14) : data.getUint32(10 + 44);
}

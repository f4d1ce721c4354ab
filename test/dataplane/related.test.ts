/**
 * ICMP errors about our flows, in and out, for both families, both directions, every protocol. What comes out is compared
 * to the byte with what the router would have sent had it seen the packet before it was translated.
 */
import fc from 'fast-check';
import t from 'tap';
import { TestDataplane } from '../support/dataplane.js';
import {
  checksum,
  frame,
  type IcmpErrorSpec,
  icmpError,
  type PacketSpec,
  VNET_BYTES,
  view,
} from '../support/packets.js';
import { holds } from '../support/property.js';
import { shows } from '../support/requirements.js';

const FAMILIES = [
  {
    family: 'IPv4',
    vip: '10.103.145.7',
    endpoint: '10.244.0.3',
    client: '10.0.1.2',
    router: '192.0.2.254',
    unreachable: { type: 3, code: 3 },
    tooBig: { type: 3, code: 4, rest: 1300 },
    errors: [
      { type: 3, code: 0 },
      { type: 3, code: 4, rest: 1300 },
      { type: 3, code: 13 },
      { type: 11, code: 0 },
      { type: 12, code: 0, rest: 20 << 24 },
    ],
    others: [
      { type: 0, code: 0 },
      { type: 4, code: 0 },
      { type: 5, code: 1 },
      { type: 8, code: 0 },
    ],
    // Padding, then the end of options (RFC 791); for the quote and for the packet around it.
    options: { options: Uint8Array.of(1, 1, 1, 0, 1, 1, 1, 0) },
    headerBytes: 20,
  },
  {
    family: 'IPv6',
    vip: 'fd00:10:96::7',
    endpoint: 'fd00:244::3',
    client: '2001:db8::9',
    router: '2001:db8:ffff::1',
    unreachable: { type: 1, code: 4 },
    tooBig: { type: 2, code: 0, rest: 1300 },
    errors: [
      { type: 1, code: 0 },
      { type: 2, code: 0, rest: 1300 },
      { type: 3, code: 0 },
      { type: 4, code: 1, rest: 40 },
    ],
    others: [
      { type: 128, code: 0 },
      { type: 129, code: 0 },
      { type: 5, code: 0 },
    ],
    options: (last: number) => ({
      extensions: 0,
      options: Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0, last, 0, 1, 4, 0, 0, 0, 0),
    }),
    headerBytes: 40,
  },
] as const;
type Family = (typeof FAMILIES)[number];
type Protocol = 'tcp' | 'udp' | 'sctp';
const PROTOCOLS: readonly Protocol[] = ['tcp', 'udp', 'sctp'];
const NUMBERS = { tcp: 6, udp: 17, sctp: 132, icmp: 1, icmp6: 58 } as const;

const at = (ip: string, port: number | string): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
const hostOf = (end: string): string => end.replace(/^\[|\]?:\d+$/g, '');
const packetOf = (bytes: Uint8Array): Uint8Array => bytes.slice(VNET_BYTES);
const optionsOf = ({ options }: Family, last: number): Partial<PacketSpec> =>
  typeof options === 'function' ? options(last) : options;

/** From and to where the checksum lies in the transport header. */
const CHECKSUM_AT = { tcp: [16, 18], udp: [6, 8], sctp: [8, 12] } as const;

interface Way {
  plane: TestDataplane;
  /** From where the packet that fails came, and to where, before it was translated. */
  before: { from: string; to: string };
  /** The same behind the translation. */
  behind: { from: string; to: string };
}

interface Case {
  family: Family;
  protocol: Protocol;
  /** "there": about a packet to the endpoint. "back": about its reply to the client. */
  direction: 'there' | 'back';
  masquerade: boolean;
  hairpin: boolean;
}

/** A flow that has been used in both directions, and the ends of what is quoted. */
function wayOf({ family, protocol, direction, masquerade, hairpin }: Case): Way {
  const vip = at(family.vip, 8888);
  const client = at(hairpin ? family.endpoint : family.client, 40000);
  const plane = new TestDataplane({ [`${vip}/${protocol}`]: [at(family.endpoint, 8080)] }, { masquerade });
  const there = plane.forward({
    from: client,
    to: vip,
    protocol,
    ...(protocol === 'tcp' ? { flags: ['SYN'] } : {}),
  });
  plane.forward({
    from: there.to,
    to: there.from,
    protocol,
    ...(protocol === 'tcp' ? { flags: ['SYN', 'ACK'] } : {}),
  });
  if (direction === 'there') {
    return { plane, before: { from: client, to: vip }, behind: { from: there.from, to: there.to } };
  }
  return { plane, before: { from: there.to, to: there.from }, behind: { from: vip, to: client } };
}

const CASES: Case[] = FAMILIES.flatMap((family) =>
  PROTOCOLS.flatMap((protocol) =>
    (['there', 'back'] as const).flatMap((direction) => [
      { family, protocol, direction, masquerade: true, hairpin: false },
      { family, protocol, direction, masquerade: false, hairpin: false },
      { family, protocol, direction, masquerade: true, hairpin: true },
    ]),
  ),
);

const caseName = ({ family, protocol, direction, masquerade, hairpin }: Case): string => {
  const what = direction === 'there' ? 'a packet to the endpoint' : 'a reply to the client';
  const how = hairpin ? 'hairpin' : masquerade ? 'masqueraded' : 'source kept';
  return `${family.family} ${protocol}, ${how}: an error about ${what}`;
};

/** Sends a router's error about what came out, and what it must be when it comes out itself. */
function errorsOf(
  way: Way,
  router: string,
  kind: { type: number; code: number; rest?: number },
  given: Given = {},
) {
  const { spec = {}, outer = {}, quoteBytes = Number.POSITIVE_INFINITY, shown = router, extension } = given;
  const quote = (ends: { from: string; to: string }): Uint8Array => {
    const whole = packetOf(frame({ ...ends, ttl: 63, payload: Buffer.alloc(300, 0x5a), ...spec }));
    const quoted = whole.subarray(0, Math.min(whole.length, quoteBytes));
    return extension === undefined ? quoted : Buffer.concat([quoted, extension]);
  };
  const common = { ...kind, ...outer };
  const into: IcmpErrorSpec = {
    ...common,
    from: router,
    to: hostOf(way.behind.from),
    quoted: quote(way.behind),
  };
  const out: IcmpErrorSpec = {
    ...common,
    from: shown,
    to: hostOf(way.before.from),
    quoted: quote(way.before),
  };
  return { into: icmpError(into), out: icmpError(out) };
}
interface Given {
  /** The packet that fails. */
  spec?: Partial<PacketSpec>;
  /** The packet that carries the error. */
  outer?: Partial<IcmpErrorSpec>;
  quoteBytes?: number;
  /** The outer source that comes out. */
  shown?: string;
  extension?: Uint8Array;
}

for (const given of CASES) {
  const { family, protocol } = given;
  const spec: Partial<PacketSpec> = { protocol };
  t.test(
    `${caseName(given)} arrives where that came from, translated back`,
    shows(
      'RFC 4787 REQ-12a',
      'RFC 4787 REQ-12b',
      'RFC 5382 REQ-9',
      'RFC 5508 REQ-4a',
      'RFC 5508 REQ-4b',
      'RFC 5508 REQ-4c',
      'RFC 5508 REQ-5a',
      'RFC 5508 REQ-5b',
      'RFC 5508 REQ-7',
      'RFC 5508 REQ-7a',
    ),
    async (t) => {
      const way = wayOf(given);
      for (const kind of family.errors) {
        const { into, out } = errorsOf(way, family.router, kind, { spec });
        t.strictSame(way.plane.send(into), [out], `type ${kind.type} code ${kind.code}, to the byte`);
        const seen = view(out);
        t.equal(seen.ipChecksumRight, true);
        t.match(seen.icmp, { type: kind.type, code: kind.code, checksumRight: true });
      }
      const options = optionsOf(family, NUMBERS[protocol]);
      const icmp = optionsOf(family, family.family === 'IPv4' ? NUMBERS.icmp : NUMBERS.icmp6);
      const walked = errorsOf(way, family.router, family.tooBig, {
        spec: { ...spec, ...options },
        outer: icmp,
      });
      t.strictSame(way.plane.send(walked.into), [walked.out], 'options are walked, inside and outside');
      const least = errorsOf(way, family.router, family.tooBig, { spec, quoteBytes: family.headerBytes + 8 });
      t.strictSame(way.plane.send(least.into), [least.out], 'eight bytes behind the IP header are enough');
      const count = family.errors.length + 2;
      t.strictSame(way.plane.counts, { received: 2 + count, forwarded: 2 + count });
    },
  );

  t.test(
    `${caseName(given)}: an end of the flow that speaks itself is shown as the other end knows it`,
    shows('RFC 5508 REQ-5c'),
    async (t) => {
      const way = wayOf(given);
      const { into, out } = errorsOf(way, hostOf(way.behind.to), family.unreachable, {
        spec,
        shown: hostOf(way.before.to),
      });
      t.strictSame(way.plane.send(into), [out]);
    },
  );

  t.test(
    `${caseName(given)} neither refreshes nor ends the flow`,
    shows('RFC 4787 REQ-12', 'RFC 5382 REQ-10', 'RFC 5508 REQ-6', 'RFC 7857 section 7.1 ICMP'),
    async (t) => {
      const way = wayOf(given);
      const { flows } = way.plane.cx;
      const before = flows.map(({ entries }) => entries.slice());
      way.plane.nowMs += 5000;
      way.plane.send(errorsOf(way, family.router, family.unreachable, { spec }).into);
      t.strictSame(
        flows.map(({ entries }) => entries.slice()),
        before,
        'not a word of it has changed',
      );
      t.equal(way.plane.flowCount, 1);
    },
  );
}

for (const family of FAMILIES) {
  const given: Case = { family, protocol: 'udp', direction: 'there', masquerade: true, hairpin: false };

  t.test(
    `${family.family}: extensions behind the quote, and their length field, come through as they are`,
    shows('RFC 5508 REQ-3d'),
    async (t) => {
      const way = wayOf(given);
      // RFC 4884: 128 bytes are quoted, and an extension header with an MPLS object follows.
      const length = family.family === 'IPv4' ? (128 / 4) << 16 : (128 / 8) << 24;
      const extension = Uint8Array.of(0x20, 0, 0xab, 0xcd, 0, 8, 1, 1, 0, 0x10, 1, 0xff);
      const kind = { ...family.unreachable, rest: length };
      const { into, out } = errorsOf(way, family.router, kind, {
        spec: { protocol: 'udp' },
        quoteBytes: 128,
        extension,
      });
      t.strictSame(way.plane.send(into), [out]);
    },
  );

  t.test(`${family.family}: a quoted UDP checksum of zero stays zero`, async (t) => {
    const way = wayOf(given);
    const { into, out } = errorsOf(way, family.router, family.tooBig, {
      spec: { protocol: 'udp', noChecksum: true },
    });
    t.strictSame(way.plane.send(into), [out]);
  });

  t.test(
    `${family.family}: a quoted transport checksum that is wrong is not looked at (RFC 5508, 3c)`,
    shows('RFC 5508 REQ-3c'),
    async (t) => {
      const way = wayOf(given);
      const whole = packetOf(frame({ ...way.behind, protocol: 'udp', payload: Buffer.alloc(40, 1) }));
      whole[whole.length - 1] ^= 0xff;
      const [out] = way.plane.send(
        icmpError({ ...family.tooBig, from: family.router, to: hostOf(way.behind.from), quoted: whole }),
      );
      t.match(view(out).icmp, { checksumRight: true });
      t.equal(view(out).to, family.client);
    },
  );

  const drops: { reason: string; what: string; bytes: (way: Way) => Uint8Array }[] = [
    {
      reason: 'bad-icmp-checksum',
      what: 'a wrong ICMP checksum',
      bytes: (way) => patched(errorFrom(way), VNET_BYTES + family.headerBytes + 2, 1),
    },
    {
      reason: 'bad-icmp-checksum',
      what: 'a byte that changed on the way',
      bytes: (way) => patched(errorFrom(way), -1, 1),
    },
    {
      reason: 'bad-partial-checksum',
      what: 'a checksum that is left to be completed',
      bytes: (way) => patched(errorFrom(way), 0, 1),
    },
    {
      reason: 'short-quote',
      what: 'a quote that ends within the ports',
      bytes: (way) => errorFrom(way, (quote) => quote.subarray(0, family.headerBytes + 3)),
    },
    {
      reason: 'short-quote',
      what: 'a quote that ends within the IP header',
      bytes: (way) => errorFrom(way, (quote) => quote.subarray(0, family.headerBytes - 1)),
    },
    {
      reason: 'short-quote',
      what: 'no quote at all',
      bytes: (way) => errorFrom(way, () => new Uint8Array(0)),
    },
    {
      reason: 'bad-quote',
      what: 'a quote of the other family',
      bytes: (way) => errorFrom(way, (quote) => patched(quote, 0, 0x20)),
    },
    {
      reason: 'stray-icmp-error',
      what: 'another destination than the sender of what it quotes',
      bytes: (way) => errorFrom(way, (quote) => quote, family.vip),
    },
  ];
  if (family.family === 'IPv4') {
    drops.push(
      {
        reason: 'bad-quote',
        what: 'a wrong header checksum in the quote',
        bytes: (way) => errorFrom(way, (quote) => patched(quote, 8, 1)),
      },
      {
        reason: 'bad-quote',
        what: 'a quoted header length below five words',
        bytes: (way) => errorFrom(way, (quote) => patched(quote, 0, 0x45 ^ 0x44)),
      },
      {
        reason: 'short-quote',
        what: 'options that leave the quote',
        bytes: (way) => errorFrom(way, (quote) => patched(quote.subarray(0, 28), 0, 0x45 ^ 0x4f)),
      },
      {
        reason: 'quoted-fragment',
        what: 'a quoted fragment that is not the first',
        bytes: (way) =>
          errorFrom(way, () => packetOf(frame({ ...way.behind, fragment: { offset: 3, more: true } }))),
      },
    );
  } else {
    const extended = (extensions: number, options: Uint8Array) => (way: Way) =>
      errorFrom(way, () => packetOf(frame({ ...way.behind, protocol: 'udp', extensions, options })));
    drops.push(
      {
        reason: 'quoted-fragment',
        what: 'a quoted fragment',
        bytes: extended(44, Uint8Array.of(17, 0, 0, 9, 0, 0, 0, 1)),
      },
      {
        reason: 'bad-quote',
        what: 'more extension headers than are walked',
        bytes: extended(
          60,
          Buffer.concat(Array.from({ length: 9 }, () => Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0))),
        ),
      },
    );
  }
  /** A router's error about a datagram to the endpoint. */
  const errorFrom = (
    way: Way,
    change = (quote: Uint8Array) => quote,
    to = hostOf(way.behind.from),
  ): Uint8Array => {
    const quoted = change(packetOf(frame({ ...way.behind, protocol: 'udp', payload: Buffer.alloc(100, 7) })));
    return icmpError({ ...family.tooBig, from: family.router, to, quoted });
  };
  for (const { reason, what, bytes } of drops) {
    t.test(
      `${family.family}: an error with ${what} is dropped for ${reason}`,
      shows('RFC 5508 REQ-3', 'RFC 5508 REQ-3a'),
      async (t) => {
        const way = wayOf(given);
        t.strictSame(way.plane.send(bytes(way)), []);
        t.strictSame(way.plane.counts, { received: 3, forwarded: 2, [reason]: 1 });
      },
    );
  }

  t.test(
    `${family.family}: an error about no flow has its old outcome`,
    shows('RFC 5508 REQ-4', 'RFC 5508 REQ-5'),
    async (t) => {
      const way = wayOf(given);
      const strange = { from: way.behind.from.replace(/\d+$/, '1'), to: way.behind.to };
      const error = (to: string): Uint8Array => {
        const quoted = packetOf(frame({ ...strange, protocol: 'udp' }));
        return icmpError({ ...family.tooBig, from: family.router, to, quoted });
      };
      t.strictSame(way.plane.send(error(hostOf(way.behind.from))), []);
      t.strictSame(way.plane.send(error(family.vip)), []);
      const foreign = error(family.client);
      t.strictSame(way.plane.send(foreign), [foreign], 'what is for others passes unchanged');
      t.match(way.plane.counts, { 'no-flow': 1, 'unsupported-protocol': 1, passed: 1 });
    },
  );

  t.test(`${family.family}: an unreadable error for others passes unchanged`, async (t) => {
    const way = wayOf(given);
    const bytes = errorFrom(way, (quote) => quote.subarray(0, 9), family.client);
    t.strictSame(way.plane.send(bytes), [bytes]);
  });

  t.test(`${family.family}: an error about a flow that has expired has no flow`, async (t) => {
    const way = wayOf(given);
    const bytes = errorFrom(way);
    way.plane.nowMs += 1_000_000;
    t.strictSame(way.plane.send(bytes), []);
    t.match(way.plane.counts, { 'no-flow': 1 });
  });

  t.test(
    `${family.family}: other messages that look like errors are none`,
    shows('RFC 5508 REQ-11'),
    async (t) => {
      const way = wayOf(given);
      for (const kind of family.others) {
        t.strictSame(
          way.plane.send(errorsOf(way, family.router, kind, { spec: { protocol: 'udp' } }).into),
          [],
        );
      }
      t.match(way.plane.counts, { 'no-flow': family.others.length });
    },
  );
}

t.test(
  'an error to the node itself is a copy: translated if it is about a flow, and never passed on',
  async (t) => {
    for (const { node, vip, client, endpoint, unreachable } of [
      {
        node: '192.0.2.1',
        vip: '192.0.2.1:80',
        client: '10.0.1.2:4000',
        endpoint: '10.244.0.9:80',
        unreachable: { type: 3, code: 1 },
      },
      {
        node: '2001:db8::1',
        vip: '[2001:db8::1]:80',
        client: '[fd00::2]:4000',
        endpoint: '[fd00:244::9]:80',
        unreachable: { type: 1, code: 0 },
      },
    ]) {
      // A frontend on an address that is the node's, as an external IP or a NodePort is.
      const plane = new TestDataplane({ [`${vip}/udp`]: [endpoint] }, { local: [node] });
      const there = plane.forward({ from: client, to: vip, protocol: 'udp' });
      const reply = frame({ from: vip, to: client, protocol: 'udp' }).subarray(VNET_BYTES);
      const copy = (quoted: Uint8Array) =>
        plane.send(icmpError({ from: hostOf(client), to: node, ...unreachable, quoted }));
      const [out] = copy(reply);
      t.match(view(out), { to: hostOf(endpoint), icmp: { ...unreachable, checksumRight: true } });
      t.ok(there);
      const own = frame({ from: vip.replace('80', '81'), to: client, protocol: 'udp' }).subarray(VNET_BYTES);
      t.strictSame(copy(own), [], 'about a socket of the node');
      t.strictSame(copy(own.subarray(0, 9)), [], 'about nothing that can be read');
      t.strictSame(plane.counts, { received: 4, forwarded: 2, 'icmp-copy': 2 });
    }
  },
);

t.test('IPv4: a quoted first fragment has ports, and so a flow', async (t) => {
  const [family] = FAMILIES;
  const way = wayOf({ family, protocol: 'udp', direction: 'there', masquerade: true, hairpin: false });
  const spec: Partial<PacketSpec> = { protocol: 'udp', fragment: { offset: 0, more: true } };
  const { into, out } = errorsOf(way, family.router, { type: 11, code: 1 }, { spec });
  t.strictSame(way.plane.send(into), [out]);
});

t.test(
  'whatever is quoted of whatever packet, it is what the sender sent',
  shows('RFC 5508 REQ-3b'),
  async () => {
    holds(
      fc.property(
        fc.constantFrom(...CASES),
        fc.uint8Array({ maxLength: 600 }),
        fc.nat(600),
        fc.nat(30),
        fc.boolean(),
        fc.nat(255),
        (given, payload, cut, kind, optional, ttl) => {
          const { family, protocol } = given;
          const way = wayOf(given);
          const options = optional ? optionsOf(family, NUMBERS[protocol]) : {};
          const optionBytes = optional ? (family.family === 'IPv4' ? 8 : 16) : 0;
          const { into, out } = errorsOf(way, family.router, family.errors[kind % family.errors.length], {
            spec: { ...options, protocol, payload, ttl },
            quoteBytes: family.headerBytes + optionBytes + withoutPartOf(CHECKSUM_AT[protocol], 4 + cut),
          });
          const sent = way.plane.send(into);
          return sent.length === 1 && Buffer.from(sent[0]).equals(out);
        },
      ),
    );
  },
);

t.test('an error of random bytes, with right checksums, has exactly one outcome', async () => {
  holds(
    fc.property(
      fc.constantFrom(...FAMILIES),
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 6 }),
      fc.boolean(),
      (family, random, changes, real) => {
        const way = wayOf({ family, protocol: 'tcp', direction: 'there', masquerade: true, hairpin: false });
        const quoted = real ? packetOf(frame({ ...way.behind, payload: random })) : random;
        for (const [place, value] of changes) if (place < quoted.length) quoted[place] = value;
        const to = hostOf(way.behind.from);
        const sent = way.plane.send(icmpError({ ...family.tooBig, from: family.router, to, quoted }));
        const { received, ...outcomes } = way.plane.counts;
        const sum = Object.values(outcomes).reduce((total, count) => total + count, 0);
        return sum === received && sent.every((bytes) => view(bytes).icmp?.checksumRight === true);
      },
    ),
  );
});

/** A quote that ends within the checksum says nothing of it that could be right or wrong: let it end before. */
function withoutPartOf([from, to]: readonly [number, number], quoteBytes: number): number {
  return quoteBytes > from && quoteBytes < to ? from : quoteBytes;
}

/** A copy with one byte changed. */
function patched(bytes: Uint8Array, place: number, mask: number): Uint8Array {
  const copy = bytes.slice();
  copy[place < 0 ? copy.length + place : place] ^= mask;
  return copy;
}

t.test('the checksum that judges is right itself', async (t) => {
  // RFC 1071 section 3: the sum of these is ddf2.
  t.equal(checksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)), 0xffff - 0xddf2);
});

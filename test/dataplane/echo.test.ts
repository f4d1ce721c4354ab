/** Where an ICMP query can pass: to an address of a Service, through a Service, and past it. */
import t from 'tap';
import { TestDataplane } from '../support/dataplane.js';
import { frame, icmpError, VNET_BYTES, view } from '../support/packets.js';
import { shows } from '../support/requirements.js';

const SERVICES = { '10.96.0.1:80/tcp': ['10.244.0.1:80'], '[fd00:96::1]:80/tcp': ['[fd00:244::1]:80'] };

interface Family {
  name: string;
  vip: string;
  client: string;
  endpoint: string;
  /** Types of an echo request and of its reply. */
  request: number;
  reply: number;
  martians: string[];
}

const families: Family[] = [
  {
    name: 'IPv4',
    vip: '10.96.0.1',
    client: '10.1.0.1',
    endpoint: '10.244.0.1',
    request: 8,
    reply: 0,
    martians: ['0.0.0.0', '224.0.0.1', '255.255.255.255'],
  },
  {
    name: 'IPv6',
    vip: 'fd00:96::1',
    client: 'fd00::1',
    endpoint: 'fd00:244::1',
    request: 128,
    reply: 129,
    martians: ['::', 'ff02::1', '::1'],
  },
];
/** Identifier and sequence number. */
const REST = 0xbeef_0001;
const DATA = Uint8Array.from({ length: 57 }, (_, i) => i);

for (const { name, vip, client, endpoint, request, reply, martians } of families) {
  const ping = (from: string, to: string, more: object = {}): Uint8Array =>
    icmpError({ from, to, type: request, code: 0, rest: REST, quoted: DATA, ...more });
  const answering = (): TestDataplane => new TestDataplane(SERVICES, { answerPing: true });

  t.test(
    `${name}: a ping of a ClusterIP gets no answer unless that is asked for`,
    shows('RFC 5508 REQ-1'),
    async (t) => {
      const plane = new TestDataplane(SERVICES);
      t.strictSame(plane.send(ping(client, vip)), []);
      t.strictSame(plane.counts, { received: 1, 'unsupported-protocol': 1 });
    },
  );

  t.test(
    `${name}: with answerPing it gets the same identifier, number and data back`,
    shows('RFC 5508 REQ-10a'),
    async (t) => {
      const plane = answering();
      const [out] = plane.send(ping(client, vip));
      t.match(view(out!), {
        from: vip,
        to: client,
        ttl: 64,
        ipChecksumRight: true,
        icmp: { type: reply, code: 0, checksumRight: true, quoted: DATA },
      });
      t.equal(Buffer.from(out!).readUInt32BE(out!.length - DATA.length - 4), REST);
      t.strictSame([...out!.subarray(0, VNET_BYTES)], Array(VNET_BYTES).fill(0));
      t.strictSame(plane.counts, { received: 1, echoed: 1 });
      t.equal(plane.flowCount, 0);
    },
  );

  t.test(`${name}: a checksum that is left to the device is made`, async (t) => {
    const given = ping(client, vip);
    const vnet = new DataView(given.buffer, 0, VNET_BYTES);
    const header = name === 'IPv4' ? 20 : 40;
    vnet.setUint8(0, 1);
    vnet.setUint16(6, header, true);
    vnet.setUint16(8, 2, true);
    given.fill(0, VNET_BYTES + header + 2, VNET_BYTES + header + 4);
    const [out] = answering().send(given);
    t.match(view(out!), { icmp: { type: reply, checksumRight: true, quoted: DATA } });
    vnet.setUint16(8, 4, true);
    const plane = answering();
    t.strictSame(plane.send(given), []);
    t.strictSame(plane.counts, { received: 1, 'bad-partial-checksum': 1 }, 'but only its own');
  });

  t.test(`${name}: a damaged ping gets no answer`, async (t) => {
    const plane = answering();
    const given = ping(client, vip);
    given[given.length - 1]! ^= 1;
    t.strictSame(plane.send(given), []);
    t.strictSame(plane.counts, { received: 1, 'bad-icmp-checksum': 1 });
  });

  t.test(
    `${name}: other queries, replies and codes get no answer`,
    shows('RFC 5508 REQ-10c', 'RFC 5508 REQ-11'),
    async (t) => {
      const others = name === 'IPv4' ? [reply, 13, 15, 17, 10] : [reply, 133, 135, 139, 130];
      for (const type of others)
        t.strictSame(answering().send(ping(client, vip, { type })), [], `type ${type}`);
      t.strictSame(answering().send(ping(client, vip, { code: 1 })), []);
      const short = frame({
        from: client,
        to: vip,
        protocol: name === 'IPv4' ? 1 : 58,
        payload: DATA.subarray(0, 7),
      });
      t.strictSame(answering().send(short), []);
    },
  );

  t.test(`${name}: nobody who cannot have asked gets an answer`, async (t) => {
    for (const from of martians) {
      const plane = answering();
      t.strictSame(plane.send(ping(from, vip)), [], from);
      t.strictSame(plane.counts, { received: 1, 'martian-source': 1 });
    }
    const plane = answering();
    plane.send(ping(vip, vip));
    t.strictSame(plane.counts, { received: 1, land: 1 });
  });

  t.test(
    `${name}: what is no Service's address is not answered for: multicast, broadcast, the node's, others`,
    async (t) => {
      const plane = new TestDataplane(SERVICES, { answerPing: true, local: [endpoint] });
      for (const to of [...martians, endpoint, name === 'IPv4' ? '192.0.2.1' : '2001:db8::1']) {
        const given = ping(client, to);
        t.strictSame(plane.send(given), [given], `${to} passes`);
      }
    },
  );

  t.test(
    `${name}: a ping to an endpoint, and its answer, pass as they are, whatever flows there are`,
    shows('RFC 5508 REQ-1'),
    async (t) => {
      const plane = answering();
      const at = (ip: string, port: number) => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`);
      plane.forward({ from: at(client, 0xbeef), to: at(vip, 80), flags: ['SYN'] });
      const there = ping(client, endpoint);
      const back = ping(endpoint, client, { type: reply });
      t.strictSame(plane.send(there, back), [there, back]);
      t.match(plane.counts, { passed: 2 });
    },
  );

  t.test(
    `${name}: an endpoint that pings its own Service is no hairpin: it gets the answer, or none`,
    async (t) => {
      const [out] = answering().send(ping(endpoint, vip));
      t.match(view(out!), { from: vip, to: endpoint, icmp: { type: reply } });
      t.strictSame(new TestDataplane(SERVICES).send(ping(endpoint, vip)), []);
    },
  );

  t.test(`${name}: an ICMP error about a ping is of no flow, and passes`, async (t) => {
    const plane = answering();
    const quoted = ping(client, endpoint).subarray(VNET_BYTES);
    const about = name === 'IPv4' ? { type: 11, code: 0 } : { type: 3, code: 0 };
    const error = icmpError({ from: endpoint.replace(/1$/, '9'), to: client, ...about, quoted });
    t.strictSame(plane.send(error), [error]);
    t.strictSame(plane.counts, { received: 1, passed: 1 });
  });

  t.test(`${name}: a ping to an address of the SNAT pool is dropped: it belongs to no flow`, async (t) => {
    const plane = answering();
    t.strictSame(plane.send(ping(endpoint, name === 'IPv4' ? '198.18.0.77' : 'fd00:198:18::77')), []);
    t.strictSame(plane.counts, { received: 1, 'no-flow': 1 });
  });
}

t.test('IPv4 options and IPv6 extension headers of a ping are not repeated', async (t) => {
  for (const { vip, client, request, reply } of families) {
    const options = vip.includes(':') ? Uint8Array.of(58, 0, 1, 4, 0, 0, 0, 0) : Uint8Array.of(1, 1, 1, 0);
    const more = vip.includes(':') ? { options, extensions: 60 } : { options };
    const plane = new TestDataplane(SERVICES, { answerPing: true });
    const given = icmpError({
      from: client,
      to: vip,
      type: request,
      code: 0,
      rest: REST,
      quoted: DATA,
      ...more,
    });
    const [out] = plane.send(given);
    t.match(view(out!), { ipChecksumRight: true, icmp: { type: reply, checksumRight: true, quoted: DATA } });
    t.equal(out!.length, given.length - options.length);
  }
});

/** Several workers: whichever a packet comes to, it has one outcome, and a flow one endpoint. Over both families. */
import fc from 'fast-check';
import t from 'tap';
import { DROP_REASON_NAMES, DropReason } from '../../src/dataplane/verdict.js';
import { ALGORITHM } from '../../src/table/layout.js';
import { cutAll, reassemble } from '../support/fragments.js';
import { frame, icmpError, type PacketSpec, VNET_BYTES, view } from '../support/packets.js';
import { holds } from '../support/property.js';
import { TestWorkers } from '../support/workers.js';

const FAMILIES = [
  {
    name: 'IPv4',
    VIP: '10.103.145.7:8888',
    OTHER_PORT: '10.103.145.7:9999',
    ENDPOINTS: ['10.244.0.3:8080', '10.244.1.2:8080', '10.244.2.2:8080'],
    client: (n: number) => `10.0.${1 + (n % 5)}.${2 + (n % 7)}:${32768 + 2 * n}`,
    NODE_PORT: '192.0.2.10:30080',
    UNREACHABLE: { type: 3, code: 4 },
  },
  {
    name: 'IPv6',
    VIP: '[fd00:10:96::7]:8888',
    OTHER_PORT: '[fd00:10:96::7]:9999',
    ENDPOINTS: ['[fd00:244::3]:8080', '[fd00:244:1::2]:8080', '[fd00:244:2::2]:8080'],
    client: (n: number) => `[2001:db8:${1 + (n % 5)}::${2 + (n % 7)}]:${32768 + 2 * n}`,
    NODE_PORT: '[2001:db8:ff::10]:30080',
    UNREACHABLE: { type: 2, code: 0 },
  },
];

const addressOf = (end: string): string => end.slice(0, end.lastIndexOf(':')).replace(/[[\]]/g, '');

/** Every packet that was read has one outcome, or waits. */
function sumOf({ counts }: TestWorkers): { received: number; ended: number } {
  const { received = 0, 'handed-off': given = 0, 'taken-over': taken = 0, ...ends } = counts;
  const ended = Object.values(ends).reduce((sum, count) => sum + count, 0);
  return { received, ended: ended + given - taken };
}

for (const { name, VIP, OTHER_PORT, NODE_PORT, ENDPOINTS, client, UNREACHABLE } of FAMILIES) {
  const SERVICES = { [`${VIP}/tcp`]: ENDPOINTS, [`${VIP}/udp`]: ENDPOINTS };
  const twice = fc.tuple(fc.nat(), fc.nat());

  t.test(`${name}: least connection counts the flows of all workers`, async (t) => {
    const algorithm = ALGORITHM.LEAST_CONNECTION;
    const workers = new TestWorkers({ [`${VIP}/tcp`]: { endpoints: ENDPOINTS, algorithm } }, 3);
    const flows = ENDPOINTS.map(() => 0);
    for (let n = 0; n < 60; n++) {
      const [out] = workers.deliver(n % 3, frame({ from: client(n), to: VIP, flags: ['SYN'] }));
      flows[ENDPOINTS.indexOf(view(out!).to)]!++;
      t.ok(Math.max(...flows) - Math.min(...flows) <= 1, `after ${n + 1} flows: ${flows}`);
    }
    t.ok(
      workers.workers.every(({ flowCount }) => flowCount > 5),
      'every worker has some of them',
    );
  });

  t.test(`${name}: flows live at any number of workers, whichever their packets come to`, async () => {
    const play = fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.boolean(),
      fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
      fc.array(fc.tuple(fc.nat(40), twice), { minLength: 1, maxLength: 60 }),
      (count, masquerade, protocol, packets) => {
        const all = new TestWorkers(SERVICES, count, { masquerade });
        const endpoints = new Map<string, string>();
        for (const [n, [there, back]] of packets) {
          const from = client(n);
          const known = endpoints.get(from);
          const flags: PacketSpec['flags'] = known === undefined ? ['SYN'] : ['ACK'];
          const [sent, ...more] = all.deliver(there % count, frame({ from, to: VIP, protocol, flags }));
          if (sent === undefined || more.length > 0) return false;
          const { from: source, to: endpoint } = view(sent);
          if (known !== undefined && known !== endpoint) return false;
          if (!masquerade && source !== from) return false;
          endpoints.set(from, endpoint);
          const reply = frame({
            from: endpoint,
            to: source,
            protocol,
            flags: known === undefined ? ['SYN', 'ACK'] : ['ACK'],
          });
          const [answer] = all.deliver(back % count, reply);
          if (answer === undefined || view(answer).to !== from || view(answer).from !== VIP) return false;
        }
        const { received, ended } = sumOf(all);
        return all.flowCount === endpoints.size && received === ended && received === 2 * packets.length;
      },
    );
    holds(play, 40);
  });

  t.test(
    `${name}: first packets of one tuple, one at each worker, are one flow and none is lost`,
    async (t) => {
      for (let n = 0; n < 50; n++) {
        const all = new TestWorkers(SERVICES, 4);
        const query = frame({ from: client(n), to: VIP, protocol: 'udp' });
        for (const { device } of all.workers) device.put(query);
        const out = all.settle().map((bytes) => view(bytes));
        t.equal(out.length, 4, 'all four came out');
        t.equal(
          new Set(out.map(({ from, to }) => `${from} ${to}`)).size,
          1,
          'to one endpoint, from one source',
        );
        t.equal(all.flowCount, 1);
        t.equal(all.counts['handed-off'], 3);
      }
    },
  );

  t.test(`${name}: an ICMP error about either way of a flow reaches who sent the packet`, async (t) => {
    for (const masquerade of [true, false]) {
      for (let at = 0; at < 3; at++) {
        const all = new TestWorkers(SERVICES, 3, { masquerade });
        const from = client(at);
        const [there] = all.deliver(
          0,
          frame({ from, to: VIP, protocol: 'udp', payload: new Uint8Array(32) }),
        );
        const { from: source, to: endpoint } = view(there!);
        const [back] = all.deliver(1, frame({ from: endpoint, to: source, protocol: 'udp' }));
        const aboutQuery = icmpError({
          ...UNREACHABLE,
          from: addressOf(endpoint),
          to: addressOf(source),
          quoted: there!.subarray(VNET_BYTES),
        });
        const aboutAnswer = icmpError({
          ...UNREACHABLE,
          from: addressOf(from),
          to: addressOf(VIP),
          quoted: back!.subarray(VNET_BYTES),
        });
        const [toClient] = all.deliver(at, aboutQuery);
        const [toEndpoint] = all.deliver(at, aboutAnswer);
        t.equal(view(toClient!).to, addressOf(from), `at worker ${at}`);
        t.equal(view(toEndpoint!).to, addressOf(endpoint), `at worker ${at}`);
        t.ok(view(toClient!).icmp?.checksumRight && view(toEndpoint!).icmp?.checksumRight);
      }
    }
  });

  t.test(`${name}: fragments in any order, each at any worker, are one whole datagram again`, async () => {
    const play = fc.property(
      fc.integer({ min: 2, max: 5 }),
      fc.nat(200),
      fc.array(twice, { minLength: 5, maxLength: 5 }),
      (count, n, places) => {
        const all = new TestWorkers(SERVICES, count);
        const payload = Uint8Array.from({ length: 900 }, (_, i) => (i * 7 + (i >> 8)) & 255);
        const pieces = cutAll(frame({ from: client(n), to: VIP, protocol: 'udp', payload }), 184, n);
        const order = pieces.map((_, i) => i).sort((a, b) => places[a]![0] - places[b]![0] || a - b);
        const out = order.flatMap((i) => all.deliver(places[i]![1] % count, pieces[i]!));
        if (out.length !== pieces.length || all.flowCount !== 1) return false;
        const whole = view(reassemble(out));
        const { received, ended } = sumOf(all);
        return (
          ENDPOINTS.includes(whole.to) &&
          Buffer.from(whole.payload).equals(payload) &&
          whole.transportChecksum === 'right' &&
          received === ended
        );
      },
    );
    holds(play, 40);
  });

  t.test(
    `${name}: datagrams one after the other, in fragments that come to any worker, are all whole`,
    async () => {
      const play = fc.property(
        fc.integer({ min: 3, max: 5 }),
        fc.array(fc.tuple(fc.nat(200), twice), { minLength: 2, maxLength: 12 }),
        (count, datagrams) => {
          const all = new TestWorkers(SERVICES, count);
          const payload = new Uint8Array(300).fill(7);
          for (const [id, [n, [first, second]]] of datagrams.entries()) {
            const pieces = cutAll(frame({ from: client(n), to: VIP, protocol: 'udp', payload }), 184, id + 1);
            const out = pieces.flatMap((piece, i) => all.deliver((i === 0 ? first : second) % count, piece));
            if (out.length !== 2 || !ENDPOINTS.includes(view(reassemble(out)).to)) return false;
          }
          return true;
        },
      );
      holds(play, 60);
    },
  );

  t.test(`${name}: a port that a Service has no more keeps its connections, at any worker`, async (t) => {
    const both = { [`${VIP}/tcp`]: ENDPOINTS, [`${OTHER_PORT}/tcp`]: ENDPOINTS };
    for (let n = 0; n < 20; n++) {
      const all = new TestWorkers(both, 4);
      all.deliver(n % 4, frame({ from: client(n), to: OTHER_PORT, flags: ['SYN'] }));
      for (const worker of all.workers) worker.change({ [`${VIP}/tcp`]: ENDPOINTS });
      for (let at = 0; at < 4; at++) {
        const [out] = all.deliver(at, frame({ from: client(n), to: OTHER_PORT, flags: ['ACK'] }));
        t.ok(ENDPOINTS.includes(view(out!).to), `at worker ${at}`);
      }
      t.equal(all.counts['rejected'], undefined);
    }
  });

  t.test(`${name}: a port of the node that is no more keeps its connections, at any worker`, async (t) => {
    const options = { local: [addressOf(NODE_PORT)] };
    for (let n = 0; n < 20; n++) {
      const all = new TestWorkers({ [`${NODE_PORT}/tcp`]: ENDPOINTS }, 4, options);
      all.deliver(n % 4, frame({ from: client(n), to: NODE_PORT, flags: ['SYN'] }));
      for (const worker of all.workers) worker.change({}, options);
      for (let at = 0; at < 4; at++) {
        const [out] = all.deliver(at, frame({ from: client(n), to: NODE_PORT, flags: ['ACK'] }));
        t.ok(ENDPOINTS.includes(view(out!).to), `at worker ${at}`);
      }
    }
  });

  t.test(`${name}: answers to the node's own connections find them, at any worker`, async (t) => {
    const options = { masquerade: false, local: [addressOf(NODE_PORT)] };
    for (let n = 0; n < 20; n++) {
      const all = new TestWorkers(SERVICES, 4, options);
      const from = NODE_PORT.replace('30080', String(32768 + 2 * n));
      const [there] = all.deliver(n % 4, frame({ from, to: VIP, flags: ['SYN'] }));
      for (let at = 0; at < 4; at++) {
        const [back] = all.deliver(at, frame({ from: view(there!).to, to: from, flags: ['SYN', 'ACK'] }));
        t.equal(view(back!).from, VIP, `at worker ${at}`);
      }
      const { received, ended } = sumOf(all);
      t.equal(received, ended, 'one outcome each');
    }
  });

  t.test(`${name}: hostile packets, each at any worker, end in one outcome`, async () => {
    const udp = frame({ from: client(1), to: VIP, protocol: 'udp', payload: new Uint8Array(64) });
    const seeds = [
      udp,
      frame({ from: client(2), to: VIP, flags: ['SYN'] }),
      frame({ from: ENDPOINTS[0]!, to: client(1), protocol: 'udp' }),
      ...cutAll(udp, 24, 7),
      icmpError({
        ...UNREACHABLE,
        from: addressOf(ENDPOINTS[0]!),
        to: addressOf(client(1)),
        quoted: frame({ from: client(1), to: ENDPOINTS[0]!, protocol: 'udp' }).subarray(VNET_BYTES),
      }),
    ];
    const change = fc.tuple(fc.nat(), fc.nat(255));
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      fc
        .tuple(fc.constantFrom(...seeds), fc.array(change, { maxLength: 4 }), fc.nat(300))
        .map(([whole, changes, length]) => {
          const bytes = whole.slice(0, Math.max(1, length));
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          return bytes;
        }),
    );
    const play = fc.property(
      fc.integer({ min: 2, max: 4 }),
      fc.array(fc.tuple(hostile, fc.nat(3)), { minLength: 1, maxLength: 60 }),
      (count, packets) => {
        const all = new TestWorkers(SERVICES, count);
        for (const [bytes, at] of packets) all.deliver(at % count, bytes);
        const { received, ended } = sumOf(all);
        return received === packets.length && received === ended;
      },
    );
    holds(play, 60);
  });

  t.test(`${name}: a full ring refuses by name, and works again when it was emptied`, async (t) => {
    const all = new TestWorkers(SERVICES, 2);
    const [one, two] = all.workers;
    const payload = new Uint8Array(60_000);
    let given = 0;
    for (let n = 0; n < 100; n++) {
      one!.send(frame({ from: client(n), to: VIP, protocol: 'udp', payload }));
      given = one!.counts['handed-off'] ?? 0;
    }
    const full = one!.counts[DROP_REASON_NAMES[DropReason.HandOffFull]!] ?? 0;
    t.ok(given >= 3, `${given} found room`);
    t.ok(full > 10, `${full} did not`);
    t.equal(two!.send().length, given, 'what was given is all there');
    one!.send(frame({ from: client(0), to: VIP, protocol: 'udp' }));
    for (let n = 0; n < 10; n++) one!.send(frame({ from: client(n), to: VIP, protocol: 'udp' }));
    t.ok((one!.counts['handed-off'] ?? 0) > given);
  });

  t.test(`${name}: two workers with different tables send nothing to and fro`, async (t) => {
    let disagreements = 0;
    for (let n = 0; n < 40; n++) {
      const all = new TestWorkers({}, 2);
      all.workers[n % 2]!.change(SERVICES);
      all.deliver((n + 1) % 2, frame({ from: client(n), to: VIP, protocol: 'udp' }));
      all.deliver(n % 2, frame({ from: client(n), to: VIP, protocol: 'udp' }));
      const { received, ended } = sumOf(all);
      t.equal(received, ended, 'every packet has its outcome');
      t.ok((all.counts['handed-off'] ?? 0) <= 4, 'and was handed over twice at most');
      disagreements += all.counts[DROP_REASON_NAMES[DropReason.WrongWorker]!] ?? 0;
    }
    t.ok(disagreements > 0, 'which is the case that this is about');
  });
}

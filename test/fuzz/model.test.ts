/**
 * Any Services and any connections over them, through the plain model and through the real pipeline: the same verdicts, the
 * same tuples, the same counts. Random choices are compared as membership.
 */
import fc from 'fast-check';
import t from 'tap';
import { COUNTER } from '../../src/table/counters.js';
import { frame, type PacketSpec, type PacketView, view } from '../support/packets.js';
import { FUZZ_TIMEOUT_MS, holdsForLong } from '../support/property.js';
import { keyOf, ReferenceProxy, reversed, type Segment, type Tuple } from '../support/reference-proxy.js';
import { OUTCOMES } from '../support/watched-plane.js';
import {
  anyKinds,
  anyOptions,
  anyStates,
  clusterIP,
  externalIP,
  NODE,
  NODE_PORT,
  optionsOf,
  POOL_CIDRS,
  PORT,
  planOfWorld,
  podIP,
  type States,
  WorldPlane,
} from '../support/world.js';

t.setTimeout(FUZZ_TIMEOUT_MS);

const anyEnds = fc.boolean().chain((v6) => {
  const node = NODE[v6 ? 1 : 0];
  const vip = fc
    .tuple(fc.constantFrom(clusterIP, externalIP), fc.nat(2))
    .map(([of, service]) => of(service, v6));
  const martian = v6 ? ['::', '::1', 'ff02::5'] : ['0.0.0.0', '224.0.0.1', '255.255.255.255'];
  return fc.record({
    src: fc.oneof(
      {
        weight: 12,
        arbitrary: fc.constantFrom(
          v6 ? '2001:db8:113::5' : '203.0.113.5',
          v6 ? '2001:db8:9::9' : '192.0.2.77',
          node,
        ),
      },
      {
        weight: 6,
        arbitrary: fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 9 })).map(([s, n]) => podIP(s, n, v6)),
      },
      { weight: 1, arbitrary: fc.constantFrom(...martian) },
      { weight: 1, arbitrary: vip },
    ),
    sport: fc.oneof(fc.integer({ min: 40_000, max: 40_003 }), fc.constant(PORT)),
    dst: fc.oneof(
      { weight: 8, arbitrary: vip.map((ip) => ({ ip, port: PORT })) },
      { weight: 1, arbitrary: vip.map((ip) => ({ ip, port: 81 })) },
      {
        weight: 4,
        arbitrary: fc
          .tuple(fc.constantFrom(node, node, v6 ? '::1' : '127.0.0.1'), fc.nat(11))
          .map(([ip, n]) => ({ ip, port: NODE_PORT + n })),
      },
      {
        weight: 1,
        arbitrary: fc
          .constantFrom(...(v6 ? ['2001:db8:ff::1', 'fd00:198:18::5'] : ['192.0.2.250', '198.18.0.5']))
          .map((ip) => ({ ip, port: PORT })),
      },
    ),
    // Not SCTP: how long its flows live depends on chunks, which the model has none of.
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  });
});

const anyCommand = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('open' as const), ends: anyEnds }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('more' as const), flow: fc.nat(20) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('answer' as const), flow: fc.nat(20) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('close' as const), flow: fc.nat(20), reply: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stray' as const), ends: anyEnds }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(10, 900, 5000, 11_000, 29_000, 61_000, 119_000, 600_000, 10_800_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('change' as const), states: anyStates }) },
);
type Command = typeof anyCommand extends fc.Arbitrary<infer Value> ? Value : never;

class Pair {
  private readonly real: WorldPlane;
  private readonly model: ReferenceProxy;
  private readonly planFor: (states: States) => ReturnType<typeof planOfWorld>;
  private readonly counts = new Map<string, number>();
  private created = 0;
  packets = 0;

  constructor(kinds: readonly string[], states: States, some: Parameters<typeof optionsOf>[0]) {
    // Retries and resets are the real one's own.
    const options = optionsOf({ ...some, ...(some.mode === 'userspace' && { mode: 'iptables' }) });
    this.planFor = (given) =>
      planOfWorld(
        kinds,
        given.map((state) => ({ ...state, onRemoval: 'keep' })),
        options,
        false,
      );
    this.real = new WorldPlane(this.planFor(states), options, 1024);
    this.model = new ReferenceProxy(this.planFor(states), options, POOL_CIDRS);
    this.model.nowMs = this.real.nowMs;
  }

  run(command: Command): void {
    if (command.kind === 'open' || command.kind === 'stray') {
      const { src, sport, dst, protocol } = command.ends;
      const flags = protocol !== 'tcp' ? '' : command.kind === 'open' ? 'SYN' : 'FIN';
      const segment: Segment = { protocol, src, sport, dst: dst.ip, dport: dst.port, flags };
      const state = this.model.flowOf(segment)?.state;
      // What a repeated SYN or a stray FIN does to a living connection is for the test of TCP states.
      if (
        state === undefined ||
        state === 'none' ||
        (command.kind === 'open' && state !== 'ESTABLISHED' && state !== 'SYN_RECV')
      )
        this.send(segment);
    } else if (command.kind === 'wait') {
      this.real.nowMs += command.ms;
      this.model.nowMs += command.ms;
      this.real.send();
    } else if (command.kind === 'change') {
      const plan = this.planFor(command.states);
      this.real.change(plan);
      this.model.plan = plan;
    } else {
      this.goOn(command);
    }
  }

  private goOn(command: Extract<Command, { flow: number }>): void {
    const flows = [...new Set(this.model.flows.values())];
    const flow = flows[command.flow % Math.max(1, flows.length)];
    if (flow === undefined || flow.state === 'CLOSE') return;
    const isTcp = flow.original.protocol === 'tcp';
    const isReply = command.kind === 'answer' || (command.kind === 'close' && command.reply);
    // Of a flow that is over, the client's packets begin anew, which `open` is for.
    if (this.model.flowOf(flow.original) !== flow) return;
    if (isTcp && command.kind === 'more' && flow.state === 'SYN_SENT') return;
    const opening = flow.state === 'SYN_SENT' || flow.state === 'SYN_RECV';
    const flags = !isTcp ? '' : command.kind === 'close' ? 'RST' : isReply && opening ? 'SYN-ACK' : 'ACK';
    this.send({ ...(isReply ? flow.reply : flow.original), flags });
  }

  private send(segment: Segment): void {
    const expected = this.model.expect(segment);
    const { counters } = this.real.cx;
    const before = counters.slice(0, 64);
    const sent = frame(specOf(segment));
    const [out] = this.real.send(sent);
    const outcome = [...OUTCOMES].find(([counter]) => counters[counter] > before[counter]!)?.[1] ?? 'none';
    const where = `${keyOf(segment)} ${segment.flags}`;
    if (outcome !== expected.outcome) throw new Error(`${where}: ${outcome}, not ${expected.outcome}`);
    this.counts.set(outcome, (this.counts.get(outcome) ?? 0) + 1);
    this.packets++;
    if (outcome === 'passed' && Buffer.compare(out!, sent) !== 0) throw new Error(`${where}: changed`);
    if (outcome !== 'forwarded') return;

    const seen = view(out!);
    if (!seen.ipChecksumRight || seen.transportChecksum !== 'right')
      throw new Error(`${where}: wrong checksum`);
    const to = tupleOf(segment.protocol, seen);
    if ('to' in expected) {
      if (keyOf(to) !== keyOf(expected.to))
        throw new Error(`${where}: went ${keyOf(to)}, not ${keyOf(expected.to)}`);
      this.model.happened(segment, to);
      return;
    }
    if (!('oneOf' in expected)) throw new Error('forwarded to nobody');
    const endpoint = expected.oneOf.find(({ ip, port }) => ip === to.dst && port === to.dport);
    if (endpoint === undefined) throw new Error(`${where}: went to ${to.dst} ${to.dport}, which it may not`);
    this.checkSource(where, segment, to, expected.masquerade(endpoint));
    this.created++;
    this.model.happened(segment, to, { endpoint, port: expected.port });
  }

  private checkSource(where: string, segment: Segment, to: Tuple, masquerade: boolean): void {
    const flow = this.model.flowOf(reversed(to));
    if (flow !== undefined && keyOf(flow.original) !== keyOf(segment))
      throw new Error(`${where}: the source ${to.src} ${to.sport} is in use`);
    if (masquerade) {
      if (!this.model.isPool(to.src) || to.sport < 1024) throw new Error(`${where}: not masqueraded`);
      return;
    }
    if (to.src !== segment.src) throw new Error(`${where}: masqueraded`);
    const own = reversed({ ...to, sport: segment.sport });
    if (to.sport !== segment.sport && !this.model.flows.has(keyOf(own)))
      throw new Error(`${where}: the source port was changed for nothing`);
  }

  checkCounts(): void {
    const { counters } = this.real.cx;
    for (const [counter, name] of OUTCOMES) {
      if (counters[counter] !== (this.counts.get(name) ?? 0))
        throw new Error(`${name}: ${counters[counter]} counted, ${this.counts.get(name) ?? 0} seen`);
    }
    if (counters[COUNTER.FLOWS_CREATED] !== this.created)
      throw new Error(`${counters[COUNTER.FLOWS_CREATED]} flows created, not ${this.created}`);
  }
}

const end = (ip: string, port: number): string => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`);

const FLAGS = {
  '': [],
  SYN: ['SYN'],
  'SYN-ACK': ['SYN', 'ACK'],
  ACK: ['ACK'],
  RST: ['RST', 'ACK'],
  FIN: ['FIN', 'ACK'],
} as const;

/** As the ends of a connection number their segments: 1000 the client, 5000 the endpoint. */
function specOf({ protocol, src, sport, dst, dport, flags }: Segment): PacketSpec {
  const fromClient = dport === PORT || (dport >= NODE_PORT && dport < NODE_PORT + 12) || dport === 81;
  const own = fromClient ? 1001 : flags === 'SYN-ACK' ? 5000 : 5001;
  return {
    from: end(src, sport),
    to: end(dst, dport),
    protocol: protocol as 'tcp' | 'udp',
    flags: [...FLAGS[flags]],
    seq: flags === 'SYN' ? 1000 : own,
    ack: flags === 'SYN' ? 0 : fromClient ? 5001 : 1001,
  };
}

function tupleOf(protocol: string, { from, to }: PacketView): Tuple {
  const split = (text: string): [string, number] => {
    const [, ip, port] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(text) ?? [];
    return [ip!, Number(port)];
  };
  const [src, sport] = split(from);
  const [dst, dport] = split(to);
  return { protocol, src, sport, dst, dport };
}

t.test('the model and the pipeline say the same', async (t) => {
  let packets = 0;
  holdsForLong(
    fc.property(
      anyKinds,
      anyStates,
      anyOptions,
      fc.noBias(fc.array(anyCommand, { minLength: 1, maxLength: 120, size: 'max' })),
      (kinds, states, some, commands) => {
        const pair = new Pair(kinds, states, some);
        for (const command of commands) pair.run(command);
        pair.checkCounts();
        packets += pair.packets;
      },
    ),
  );
  t.ok(packets > 100, `${packets} packets`);
});

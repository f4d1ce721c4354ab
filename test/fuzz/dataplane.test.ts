/**
 * Any packets, any Services, any order: nothing throws, nothing is read or written outside of a packet's slot, every packet
 * read has one outcome, nothing is sent to an address of ours, what leaves is as right as it came, and a flow goes one way.
 * What is checked is in support/watched-plane.ts. FLOWPIN_FUZZ_SECONDS says for how long, FLOWPIN_TEST_SEED repeats a run.
 */
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { addressWords } from '../../src/wire/address.js';
import { answerTo, anyMutation, anyQuery, anySpec, icmpError, mutated } from '../support/hostile-packets.js';
import { frame, type PacketSpec } from '../support/packets.js';
import { FUZZ_TIMEOUT_MS, holdsForLong } from '../support/property.js';
import { OUTCOMES, type Seen, WatchedPlane } from '../support/watched-plane.js';
import {
  anyKinds,
  anyOptions,
  anyStates,
  clusterIP,
  externalIP,
  optionsOf,
  planOfWorld,
  SERVICES,
  type States,
  WorldPlane,
} from '../support/world.js';

t.setTimeout(FUZZ_TIMEOUT_MS);

const CORPUS = 'test/fuzz/corpus';

const bytesOf = (ip: string): string => Buffer.from(Int32Array.from(addressWords(ip)).buffer).toString('hex');

/** Addresses that Services have and nobody else. */
function oursOf(kinds: readonly string[]): Set<string> {
  const ours = new Set<string>();
  for (let service = 0; service < SERVICES; service++) {
    for (const v6 of [false, true]) {
      ours.add(bytesOf(clusterIP(service, v6)));
      if (kinds[service] === 'LoadBalancer') ours.add(bytesOf(externalIP(service, v6)));
    }
  }
  return ours;
}

const anyFrame = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('spec' as const), spec: anySpec }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      back: fc.nat(6),
      flags: fc.constantFrom(0x12, 0x10, 0x10, 0x04, 0x14, 0x11, 0x02),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('again' as const), back: fc.nat(6) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('error' as const),
      back: fc.nat(6),
      type: fc.constantFrom(3, 1, 2, 11, 12, 4, 5),
      code: fc.nat(15),
      quoted: fc.constantFrom(28, 48, 20, 0, 60, 500),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('raw' as const),
      bytes: fc.oneof(fc.uint8Array({ maxLength: 120 }), anyQuery),
    }),
  },
);
const anyMutations = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.array(anyMutation, { minLength: 1, maxLength: 3 }) },
);
const anyPacket = fc.tuple(anyFrame, anyMutations);
type AnyPacket = typeof anyPacket extends fc.Arbitrary<infer Value> ? Value : never;

const anyStep = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      packets: fc.oneof(
        { weight: 3, arbitrary: fc.array(anyPacket, { minLength: 1, maxLength: 1 }) },
        { weight: 1, arbitrary: fc.array(anyPacket, { minLength: 2, maxLength: 12 }) },
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 60, 250, 600, 1000, 2500, 11_000, 31_000, 121_000, 86_400_000, 2 ** 31),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('change' as const), states: anyStates }) },
);

/** For what asks about an earlier packet when there is none. */
const FIRST = frame({ from: '203.0.113.5:40000', to: '10.96.1.1:80', flags: ['SYN'] });

/** What a session has seen: packets that came, packets that left. */
class Session {
  readonly watched: WatchedPlane;
  private readonly kinds: readonly string[];
  private readonly options: ReturnType<typeof optionsOf>;
  private readonly came: Uint8Array[] = [];
  private readonly left: Uint8Array[] = [];
  /** As a file of the corpus. */
  readonly log: string[] = [];

  constructor(
    kinds: readonly string[],
    states: States,
    some: Parameters<typeof optionsOf>[0],
    flowCapacity: number,
  ) {
    this.kinds = kinds;
    this.options = optionsOf(some);
    const plan = planOfWorld(kinds, states, this.options);
    this.watched = new WatchedPlane(() => new WorldPlane(plan, this.options, flowCapacity), oursOf(kinds));
  }

  change(states: States): void {
    const plan = planOfWorld(this.kinds, states, this.options);
    this.watched.both((plane) => plane.change(plan));
  }

  wait(ms: number): void {
    this.log.push(`+${ms}`);
    this.watched.both((plane) => {
      plane.nowMs += ms;
    });
    this.note(this.watched.send([]));
  }

  send(frames: readonly Uint8Array[]): void {
    for (const bytes of frames) this.log.push(Buffer.from(bytes).toString('hex'));
    this.came.push(...frames);
    this.note(this.watched.send(frames));
  }

  build([given, mutations]: AnyPacket): Uint8Array {
    return mutated(this.plain(given), mutations);
  }

  private plain(given: AnyPacket[0]): Uint8Array {
    if (given.kind === 'raw') return given.bytes;
    if (given.kind === 'spec') return frame(given.spec);
    const from = (list: Uint8Array[], back: number) =>
      list[list.length - 1 - (back % Math.max(1, list.length))];
    if (given.kind === 'again') return from(this.came, given.back) ?? FIRST;
    const about = from(this.left, given.back);
    if (about === undefined) return FIRST;
    if (given.kind === 'error') return icmpError(about, given.type, given.code, given.quoted);
    return answerTo(about, given.flags);
  }

  private note(seen: readonly Seen[]): void {
    for (const { out, outcome } of seen) {
      if (out !== undefined && ['forwarded', 'retried', 'injected'].includes(outcome)) this.left.push(out);
    }
  }
}

const FIXED: States = Array.from({ length: SERVICES }, (_, service) => ({
  endpoints: [1, 2, 3],
  here: false,
  internalTrafficPolicy: 'Cluster',
  externalTrafficPolicy: 'Cluster',
  affinity: service === 0,
  ranges: [],
  algorithm: 'rr',
  retry: service === 1,
  onRemoval: 'keep',
}));

t.test('every case of the corpus', async (t) => {
  for (const name of readdirSync(CORPUS).filter((name) => name.endsWith('.hex'))) {
    const session = new Session(Array(SERVICES).fill('LoadBalancer'), FIXED, {}, 64);
    for (const line of readFileSync(`${CORPUS}/${name}`, 'utf8').split('\n')) {
      if (line.startsWith('+')) session.wait(Number(line.slice(1)));
      else if (line !== '' && !line.startsWith('#'))
        session.send([Uint8Array.from(Buffer.from(line, 'hex'))]);
    }
    session.watched.checkTables();
    t.pass(name);
  }
});

const TYPICAL: PacketSpec[] = [
  { from: '203.0.113.5:5', to: '10.96.1.1:80', flags: ['SYN'], options: Uint8Array.of(1, 1, 1, 0) },
  { from: '203.0.113.5:5', to: '10.96.1.1:80', protocol: 'udp', payload: new Uint8Array(9) },
  { from: '203.0.113.5:5', to: '10.96.1.1:80', protocol: 'sctp', payload: new Uint8Array(4) },
  { from: '203.0.113.5:5', to: '10.96.1.1:80', gsoSize: 100, payload: new Uint8Array(300) },
  { from: '[2001:db8::5]:5', to: '[fd00:96::1]:80', flags: ['SYN'], payload: new Uint8Array(3) },
  {
    from: '[2001:db8::5]:5',
    to: '[fd00:96::1]:80',
    protocol: 'udp',
    extensions: 0,
    options: Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0),
  },
];

t.test('typical packets cut at every byte, and with every byte of their headers changed', async (t) => {
  for (const spec of TYPICAL) {
    const whole = frame(spec);
    const session = new Session(Array(SERVICES).fill('LoadBalancer'), FIXED, {}, 256);
    const frames = Array.from(whole.subarray(0, 120), (_, length) => whole.slice(0, length));
    for (let at = 0; at < Math.min(whole.length, 86); at++) {
      for (const value of [0, 1, 0xff, 0x80, whole[at] + 1, whole[at] - 1, whole[at] ^ 0x10]) {
        const bytes = whole.slice();
        bytes[at] = value;
        frames.push(bytes);
      }
    }
    for (let at = 0; at < frames.length; at += 32) session.send(frames.slice(at, at + 32));
    session.watched.checkTables();
    t.pass(`${spec.protocol ?? 'tcp'} to ${spec.to}: ${frames.length} packets`);
  }
});

t.test('any packets, any Services, any order', async (t) => {
  let packets = 0;
  const outcomes = new Map<string, number>();
  const count = ({ watched: { plane } }: Session) => {
    packets += plane.cx.counters[0];
    for (const [name, counts] of Object.entries(countsOf(plane)))
      outcomes.set(name, (outcomes.get(name) ?? 0) + counts);
  };
  holdsForLong(
    fc.property(
      anyKinds,
      anyStates,
      anyOptions,
      fc.constantFrom(4, 64, 256),
      fc.noBias(fc.array(anyStep, { minLength: 1, maxLength: 120, size: 'max' })),
      (kinds, states, some, flowCapacity, steps) => {
        const session = new Session(kinds, states, some, flowCapacity);
        try {
          for (const step of steps) {
            if (step.kind === 'send') session.send(step.packets.map((packet) => session.build(packet)));
            else if (step.kind === 'wait') session.wait(step.ms);
            else session.change(step.states);
          }
          session.watched.checkTables();
        } catch (error) {
          throw new Error(`${(error as Error).stack}\nfor the corpus:\n${session.log.join('\n')}`);
        }
        count(session);
      },
    ),
  );
  t.ok(packets > 100, `${packets} packets`);
  t.comment([...outcomes].map(([name, n]) => `${name} ${n}`).join(', '));
});

function countsOf({ cx: { counters } }: WorldPlane): Record<string, number> {
  const names: Record<string, number> = {};
  for (const [counter, name] of OUTCOMES) if (counters[counter] > 0) names[name] = counters[counter];
  return names;
}

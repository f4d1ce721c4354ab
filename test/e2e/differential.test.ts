// The same packets through the kernel's NAT, with kube-proxy's rules, and through flowpin: what comes out is the same, byte
// by byte, but for what differential-normal.ts lists; or it differs as differential-cases.ts says, in that way and no other.

import fc from 'fast-check';
import { holds } from '../support/property.js';
import { CASES } from './differential-cases.js';
import { FAMILIES, type FamilyNames, kernelUnable, startPeers } from './differential-lab.js';
import { withoutSource } from './differential-normal.js';
import {
  type Cast,
  connection,
  datagram,
  error,
  type Fate,
  fragments,
  PEERS,
  type PeerName,
  SIDES,
  type Side,
  type Step,
} from './differential-script.js';
import { CLIENTS, type Client, castOf, type Result, take } from './differential-step.js';
import { at } from './nodeport-lab.js';
import { tapInSandbox } from './support.js';

const t = await tapInSandbox();
const skip = kernelUnable();
const peers = skip ? undefined : await startPeers();
t.teardown(async () => {
  for (const peer of Object.values(peers ?? {})) {
    await peer.router.close();
    peer.close();
  }
});

const TITLES = { outside: 'masqueraded', pod: 'source kept', endpoint: 'hairpin' } as const;
const VARIANTS = FAMILIES.flatMap((names) => CLIENTS.map((client) => ({ names, client })));

interface Variant {
  readonly names: FamilyNames;
  readonly client: Client;
}

const anyVariant = fc.constantFrom(...VARIANTS);

let clientPort = 10_000;

/** Who is who at both peers, in a run of its own. */
function castsOf({ names, client }: Variant): Record<PeerName, Cast> {
  clientPort++;
  return { kernel: castOf(names, client, clientPort), flowpin: castOf(names, client, clientPort) };
}

for (const { name, only = () => true, steps } of CASES) {
  t.test(name, { skip }, async (t) => {
    for (const variant of VARIANTS) {
      const casts = castsOf(variant);
      if (!only(casts.kernel)) continue;
      const wrong = steps().flatMap((step, number) =>
        [...disagreements(step, casts), ...wrongSources(variant.names, casts)].map(
          (what) => `step ${number + 1}: ${what}`,
        ),
      );
      t.strictSame(wrong, [], `${variant.names.family}, ${TITLES[variant.client]}`);
    }
  });
}

/** Takes one step at both peers. @returns what is not as it was to be */
function disagreements(step: Step, casts: Record<PeerName, Cast>): string[] {
  const kernel = take(peers!.kernel, step, casts.kernel);
  const flowpin = take(peers!.flowpin, step, casts.flowpin);
  const expected = step.becomes(casts.kernel);
  const { onlySource, ...fates } =
    typeof expected === 'object' && 'why' in expected ? expected : { kernel: expected, flowpin: expected };
  const wrong = [
    ...surprises('kernel', kernel, fates.kernel, step.at),
    ...surprises('flowpin', flowpin, fates.flowpin, step.at),
  ];
  if (wrong.length > 0 || ('why' in fates && !onlySource)) return wrong;
  const [one, other] = onlySource
    ? [kernel, flowpin].map((results) => results.map(({ hex }) => withoutSource(hex)).join('; '))
    : [textOf(kernel), textOf(flowpin)];
  return one === other ? [] : [`kernel:  ${one}`, `flowpin: ${other}`];
}

/** What is not so; nothing in most cases. */
function surprises(peer: PeerName, results: Result[], fate: Fate, sentAt: Side): string[] {
  const lines = linesOf(results);
  if (typeof fate !== 'string') {
    return lines.join() === fate.join() ? [] : [`${peer}: not "${fate}" but "${lines}"`];
  }
  const isSo =
    results.length === Number(fate !== 'dropped') &&
    results.every(({ side }) => (side === sentAt) === (fate === 'back')) &&
    !/wrong|not a whole/i.test(lines.join());
  return isSo ? [] : [`${peer}: not ${fate} but "${lines}"`];
}

function linesOf(results: Result[]): string[] {
  return results.map(({ line }) => line);
}

/** All of it. */
function textOf(results: Result[]): string {
  return results.map(({ line, hex }) => `${line} ${hex}`).join('; ');
}

/** The peers whose endpoint sees another address than the client was to have. */
function wrongSources({ masquerade }: FamilyNames, casts: Record<PeerName, Cast>): string[] {
  return PEERS.flatMap((peer) => {
    const { client, clientPort, sourceKept, seen, received } = casts[peer];
    const isRight = sourceKept ? seen === at(client, clientPort) : masquerade[peer].test(seen);
    return isRight || received.endpoint === undefined ? [] : [`${peer}: the endpoint sees ${seen}`];
  });
}

/** Takes a step at both peers: what the kernel translates, flowpin has to translate alike. @returns whether it did so */
function alike(step: Step, casts: Record<PeerName, Cast>): 'alike' | 'dropped' | 'let by' {
  const [kernel, flowpin] = PEERS.map((peer) => take(peers![peer], step, casts[peer])) as [
    Result[],
    Result[],
  ];
  const expected = step.at === 'client' ? 'endpoint: client > endpoint ' : 'client: vip > client ';
  const isTranslated = ({ line }: Result) => line.startsWith(expected) && !/wrong/i.test(line);
  const failure = `kernel: ${textOf(kernel)}\nflowpin: ${textOf(flowpin)}`;
  // flowpin may translate what the kernel drops, but lets nothing by as it is.
  if (!flowpin.every(isTranslated)) throw new Error(failure);
  if (kernel.length === 0) return 'dropped';
  if (!kernel.every(isTranslated)) return 'let by';
  if (textOf(kernel) !== textOf(flowpin)) throw new Error(failure);
  return 'alike';
}

t.test('TCP: random segments are translated wherever the kernel does so, and alike', { skip }, async (t) => {
  const segment = fc.record({
    side: fc.constantFrom(...SIDES),
    flags: fc.constantFrom('SYN', 'SYN ACK', 'ACK', 'ACK', 'PSH ACK', 'FIN ACK', 'RST', 'RST ACK', 'FIN', ''),
    seq: fc.constantFrom(0, 0, 0, 0, -1, 1, 60_000, 3_000_000),
    ack: fc.constantFrom(0, 0, 0, -1, 1, 70_000),
    data: fc.constantFrom('', '', 'data'),
  });
  holds(
    fc.property(anyVariant, fc.array(segment, { maxLength: 16 }), (variant, segments) => {
      const casts = castsOf(variant);
      const ends = connection();
      const steps = [
        ends.client('SYN'),
        ...segments.map(({ side, flags, ...more }) => ends[side](flags, more)),
      ];
      // What the kernel lets by, or answers itself, may have begun a flow there that flowpin has not.
      steps.every((step) => alike(step, casts) !== 'let by');
    }),
  );
  t.pass();
});

t.test('fragments of any size come through in any order', { skip }, async (t) => {
  const pieces = fc.record({
    side: fc.constantFrom(...SIDES),
    bytes: fc.integer({ min: 1, max: 5000 }),
    size: fc.integer({ min: 25, max: 175 }).map((words) => words * 8),
    sortedBy: fc.array(fc.nat(), { minLength: 32, maxLength: 32 }),
  });
  holds(
    fc.property(anyVariant, pieces, (variant, { side, bytes, size, sortedBy }) => {
      const casts = castsOf(variant);
      alike(datagram('client', 'one'), casts);
      const order = sortedBy.map((_, i) => i).sort((a, b) => sortedBy[a]! - sortedBy[b]!);
      const step = fragments(
        side,
        'x'.repeat(bytes),
        size,
        order.filter((i) => i * size < bytes + 8),
      );
      if (alike(step, casts) !== 'alike') throw new Error('the kernel did not translate it');
    }),
  );
  t.pass();
});

t.test('ICMP: errors of the ends with any code and any length are translated alike', { skip }, async (t) => {
  const errors = fc.record({
    side: fc.constantFrom(...SIDES),
    kind: fc.constantFrom(0, 1, 2, 3),
    code: fc.integer({ min: 0, max: 20 }),
    // An MTU; quotes that end after 128 bytes, with extensions behind them, in either family (RFC 4884); nonsense.
    rest: fc.constantFrom(0, 1300, 0x00200000, 0x10000000, 0xffffffff),
    dataBytes: fc.integer({ min: 0, max: 1000 }),
    // Not a part of a TCP header that holds the checksum, or half of it: nf_nat leaves that as it is.
    quoteBytes: fc.integer({ min: 8, max: 1100 }).filter((bytes) => bytes <= 16 || bytes >= 20),
    protocol: fc.constantFrom('tcp', 'udp'),
  });
  const TYPES = { IPv4: [3, 11, 12, 3], IPv6: [1, 2, 3, 4] } as const;
  holds(
    fc.property(
      anyVariant,
      errors,
      (variant, { side, kind, code, rest, dataBytes, quoteBytes, protocol }) => {
        const casts = castsOf(variant);
        const tcp = connection();
        const data = 'x'.repeat(dataBytes);
        const before =
          protocol === 'tcp'
            ? [
                tcp.client('SYN'),
                tcp.endpoint('SYN ACK'),
                tcp.client('ACK', { data }),
                tcp.endpoint('ACK', { data }),
              ]
            : [datagram('client', data), datagram('endpoint', data)];
        for (const step of before) alike(step, casts);
        const type = TYPES[variant.names.family][kind]!;
        if (alike(error(side, [type, code, rest], { byEnd: true, quoteBytes }), casts) !== 'alike')
          throw new Error('the kernel did not translate it');
      },
    ),
  );
  t.pass();
});

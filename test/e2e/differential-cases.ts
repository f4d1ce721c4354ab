// What is sent, case by case. Unless a step says otherwise, its packet comes out at the other side of both peers, with the
// same bytes.

import { cut } from '../support/fragments.js';
import { frame, type PacketSpec } from '../support/packets.js';
import {
  becomes,
  type Cast,
  connection,
  type Departure,
  datagram,
  ERRORS,
  type ErrorKind,
  ends,
  error,
  fragments,
  handshake,
  packet,
  type Side,
  type Step,
} from './differential-script.js';
import { at } from './nodeport-lab.js';

export interface Case {
  readonly name: string;
  /** Which runs it makes sense in; all unless given. */
  readonly only?: (cast: Cast) => boolean;
  readonly steps: () => Step[];
}

/** A connection that has been opened. */
const opened = () => {
  const tcp = connection();
  return { ...tcp, open: handshake(tcp) };
};

/** One that the client has closed first. */
const closed = () => {
  const { client, endpoint, open } = opened();
  return { client, endpoint, all: [...open, client('FIN ACK'), endpoint('FIN ACK'), client('ACK')] };
};

/** Where the next connection over the same tuple begins. */
const LATER = [90_000_000, 95_000_000] as const;

/** TCP options: MSS, SACK permitted, timestamps, window scale; what follows a handshake with them. */
const OPTIONS = {
  syn: [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
  timestamps: [1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1],
  /** Of the last two bytes of three behind the initial sequence number 1000. */
  sack: [1, 1, 5, 10, 0, 0, 0x03, 0xea, 0, 0, 0x03, 0xec],
};

/**
 * What nf_conntrack finds INVALID it does not translate. kube-proxy drops it where it is forwarded; a reply to the node's own
 * address is not forwarded but delivered to the node, whose stack knows of no connection and resets the endpoint's
 * (kubernetes issue 74839).
 * @param answer of the node
 */
const invalid =
  (side: Side, answer = 'RST') =>
  ({ sourceKept }: Cast): Departure => ({
    kernel: side === 'client' || sourceKept ? 'dropped' : [`endpoint: client > endpoint ${answer}`],
    flowpin: 'through',
    why: 'PARITY: windows are not looked at, and every packet of a flow is translated',
  });

const TCP_CASES: Case[] = [
  {
    name: 'TCP: a request and its answer, closed by the client',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [
        ...open,
        client('PSH ACK', { data: 'GET' }),
        endpoint('ACK'),
        endpoint('PSH ACK', { data: '200' }),
        client('ACK'),
        client('FIN ACK'),
        endpoint('ACK'),
        endpoint('FIN ACK'),
        client('ACK'),
      ];
    },
  },
  {
    name: 'TCP: closed by the endpoint',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [...open, endpoint('FIN ACK'), client('ACK'), client('FIN ACK'), endpoint('ACK')];
    },
  },
  {
    name: 'TCP: closed by both at once',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [...open, client('FIN ACK'), endpoint('FIN ACK', { ack: -1 }), client('ACK'), endpoint('ACK')];
    },
  },
  {
    name: 'TCP: half closed by the client, the endpoint goes on',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [
        ...open,
        client('FIN ACK'),
        endpoint('ACK'),
        endpoint('PSH ACK', { data: 'more' }),
        client('ACK'),
        endpoint('FIN ACK'),
        client('ACK'),
      ];
    },
  },
  {
    name: 'TCP: half closed by the endpoint, the client goes on',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [
        ...open,
        endpoint('FIN ACK'),
        client('ACK'),
        client('PSH ACK', { data: 'more' }),
        endpoint('ACK'),
        client('FIN ACK'),
        endpoint('ACK'),
      ];
    },
  },
  {
    name: 'TCP: the last segments again, after the connection was closed',
    steps: () => {
      const { client, endpoint, all } = closed();
      return [...all, endpoint('FIN ACK', { seq: -1 }), client('ACK')];
    },
  },
  {
    name: 'TCP: opened by both at once',
    steps: () => {
      const { client, endpoint } = connection();
      return [
        client('SYN'),
        endpoint('SYN'),
        client('SYN ACK', { seq: -1 }),
        endpoint('SYN ACK', { seq: -1 }),
        client('PSH ACK', { data: 'hello' }),
      ];
    },
  },
  {
    name: 'TCP: refused, then tried again',
    steps: () => {
      const { client, endpoint } = connection();
      return [client('SYN'), endpoint('RST ACK'), ...handshake(connection(...LATER))];
    },
  },
  {
    name: 'TCP: reset by the client, a segment of the endpoint still on its way',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [...open, client('RST ACK'), endpoint('ACK')];
    },
  },
  {
    name: 'TCP: reset by the endpoint, a segment of the client still on its way',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [...open, endpoint('RST ACK'), client('ACK')];
    },
  },
  {
    name: 'TCP: a SYN sent again, and its answer',
    steps: () => {
      const { client, endpoint } = connection();
      return [
        client('SYN'),
        client('SYN', { seq: -1 }),
        endpoint('SYN ACK'),
        endpoint('SYN ACK', { seq: -1 }),
        client('ACK'),
      ];
    },
  },
  {
    name: 'TCP: a SYN-ACK again on an open connection',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [...open, endpoint('SYN ACK', { seq: -1 }), client('ACK'), client('PSH ACK', { data: 'GET' })];
    },
  },
  {
    name: 'TCP: a SYN over an open connection, and the ACK that answers it',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [...open, client('SYN', { seq: 50_000 }), endpoint('ACK'), client('PSH ACK', { data: 'GET' })];
    },
  },
  {
    name: 'TCP: a SYN over a connection that the endpoint has forgotten',
    steps: () => {
      const { client, endpoint } = connection(...LATER);
      return [
        ...opened().open,
        client('SYN'),
        endpoint('SYN ACK'),
        client('ACK'),
        endpoint('PSH ACK', { data: 'new' }),
      ];
    },
  },
  {
    name: 'TCP: the tuple again after the connection was closed',
    steps: () => [...closed().all, ...handshake(connection(...LATER))],
  },
  {
    name: 'TCP: the tuple again after a reset',
    steps: () => {
      const { client, open } = opened();
      return [...open, client('RST ACK'), ...handshake(connection(...LATER))];
    },
  },
  {
    name: 'TCP: a SYN of the endpoint after the connection was closed',
    steps: () => [
      ...closed().all,
      becomes(
        ({ sourceKept }) => ({
          kernel: [sourceKept ? 'client: endpoint > client SYN' : 'endpoint: client > endpoint RST ACK'],
          flowpin: 'through',
          why: 'PARITY: translated, not let by as the first packet of a flow from the endpoint to the client',
        }),
        connection(...LATER).endpoint('SYN'),
      ),
    ],
  },
  {
    name: 'TCP: data with the SYN, urgent data, an old segment as keep-alive',
    steps: () => {
      const { client, endpoint } = connection();
      return [
        client('SYN', { data: 'early' }),
        endpoint('SYN ACK'),
        client('ACK'),
        client('PSH URG ACK', { data: 'now' }),
        endpoint('ACK'),
        client('ACK', { seq: -1 }),
        endpoint('ACK'),
      ];
    },
  },
  {
    name: 'TCP: options',
    steps: () => {
      const { client, endpoint } = connection();
      return [
        client('SYN', { options: OPTIONS.syn }),
        endpoint('SYN ACK', { options: OPTIONS.syn }),
        client('ACK', { options: OPTIONS.timestamps }),
        client('PSH ACK', { data: 'GET', options: OPTIONS.timestamps }),
        endpoint('ACK', { ack: -3, options: OPTIONS.sack }),
      ];
    },
  },
  {
    name: 'TCP: far outside of the window',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [
        ...open,
        becomes(invalid('client'), client('PSH ACK', { data: 'late', seq: 1_000_000 })),
        becomes(invalid('endpoint'), endpoint('PSH ACK', { data: 'late', seq: 1_000_000 })),
        client('PSH ACK', { data: 'GET' }),
      ];
    },
  },
  {
    name: 'TCP: a reset far outside of the window',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [
        ...open,
        becomes(
          (cast) => ({ ...invalid('endpoint')(cast), kernel: 'dropped' }),
          endpoint('RST', { seq: 1_000_000 }),
        ),
        becomes(invalid('client'), client('RST', { seq: 1_000_000 })),
        endpoint('PSH ACK', { data: 'more' }),
        client('ACK'),
      ];
    },
  },
  {
    name: 'TCP: flags that make no sense',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [
        ...open,
        becomes(invalid('client'), client('', { seq: 1 })),
        becomes(invalid('client'), client('SYN FIN', { seq: 1 })),
        becomes(invalid('endpoint', 'RST ACK'), endpoint('FIN', { seq: 1 })),
        client('PSH ACK', { data: 'GET' }),
      ];
    },
  },
  {
    name: 'TCP: picked up in mid-stream by an ACK',
    steps: () => {
      const { client, endpoint } = connection();
      return [client('ACK'), endpoint('PSH ACK', { data: 'more' }), client('ACK')];
    },
  },
  {
    name: 'TCP: a stray FIN, SYN-ACK and RST',
    steps: () => {
      const { client } = connection();
      return ['FIN ACK', 'SYN ACK', 'RST', 'RST ACK'].map((flags) => becomes('dropped', client(flags)));
    },
  },
  {
    name: 'TCP: a segment of the endpoint that belongs to no connection goes to the client itself',
    steps: () => [connection().endpoint('ACK')],
  },
  {
    name: 'TCP: a wrong checksum',
    steps: () => {
      const { client, open } = opened();
      return [
        ...open,
        wrongChecksum(client('PSH ACK', { data: 'GET' }), 'client > endpoint PSH ACK 3 bytes'),
      ];
    },
  },
];

/** The same, with its last byte changed on the way. */
const wrongChecksum = (step: Step, line: string): Step => ({
  ...step,
  frames: (cast) =>
    step.frames(cast).map((bytes) => bytes.with(bytes.length - 1, bytes[bytes.length - 1]! ^ 0xff)),
  becomes: () => ({
    kernel: 'dropped',
    flowpin: [`endpoint: ${line} checksum wrong`],
    why: 'decision 11: a wrong checksum stays wrong, and the receiver drops the packet',
  }),
});

const UDP_CASES: Case[] = [
  {
    name: 'UDP: requests and replies, and the tuple again',
    steps: () => [
      datagram('client', 'one'),
      datagram('endpoint', 'two'),
      datagram('client', 'three'),
      datagram('endpoint', 'four'),
    ],
  },
  {
    name: 'UDP: requests without replies',
    steps: () => [datagram('client', 'one'), datagram('client', 'two')],
  },
  {
    name: 'UDP: nothing in it, an odd length',
    steps: () => [
      datagram('client', ''),
      datagram('endpoint', ''),
      datagram('client', 'x'.repeat(999)),
      datagram('endpoint', 'odd'),
    ],
  },
  {
    name: 'UDP: without checksum',
    steps: () => [
      datagram('client', 'one', () => ({ noChecksum: true })),
      datagram('endpoint', 'two', () => ({ noChecksum: true })),
    ],
  },
  {
    name: 'UDP: a wrong checksum',
    steps: () => [wrongChecksum(datagram('client', 'one'), 'client > endpoint UDP 3 bytes')],
  },
  {
    name: 'UDP: from another port of the endpoint, to the address that it sees',
    only: ({ sourceKept }) => !sourceKept,
    steps: () => [
      datagram('client', 'one'),
      becomes(
        {
          kernel: ['endpoint: client > endpoint port unreachable (endpoint:9999 > client, whole)'],
          flowpin: 'dropped',
          why: "PARITY: the address masqueraded to is not the node's, so nothing there can refuse it",
        },
        packet('endpoint', (cast) => ({
          ...ends('endpoint', 'udp', cast),
          from: at(cast.endpoint, 9999),
          protocol: 'udp',
        })),
      ),
    ],
  },
  {
    name: 'IP options and extension headers',
    steps: () => [datagram('client', 'one', ({ family }) => IP_OPTIONS[family])],
  },
];

const IP_OPTIONS = {
  IPv4: { options: Uint8Array.of(1, 1, 1, 0) },
  /** A destination options header, with padding in it. */
  IPv6: { extensions: 60, options: Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0) },
} as const;

const ROUTER_SPEAKS = "decision 9: a router's error keeps its source";
const NOT_ROUTED_IN = 'decision 9: errors to a client whose source was kept are not routed into the device';

/** A router's error at that side, about a packet that is quoted whole. */
function routerError(side: Side, kind: ErrorKind): Step {
  if (side === 'endpoint') {
    return becomes(
      ({ sourceKept }) => ({
        kernel: [`client: vip > client ${kind} (client > vip, whole)`],
        flowpin: [
          `client: endpoint router > client ${kind} (client > ${sourceKept ? 'endpoint' : 'vip'}, whole)`,
        ],
        ...(sourceKept ? { why: NOT_ROUTED_IN } : { why: ROUTER_SPEAKS, onlySource: true }),
      }),
      error(side, kind),
    );
  }
  // Without masquerade nf_nat has no other address to show for the router either.
  return becomes(
    ({ sourceKept }) =>
      sourceKept
        ? 'through'
        : {
            kernel: [`endpoint: client > endpoint ${kind} (endpoint > client, whole)`],
            flowpin: [`endpoint: client router > endpoint ${kind} (endpoint > client, whole)`],
            why: ROUTER_SPEAKS,
            onlySource: true,
          },
    error(side, kind),
  );
}

const ICMP_CASES: Case[] = [
  ...(Object.keys(ERRORS) as ErrorKind[]).map((kind) => ({
    name: `ICMP: ${kind}, from routers on both sides`,
    steps: () => [
      datagram('client', 'one'),
      routerError('endpoint', kind),
      datagram('endpoint', 'two'),
      routerError('client', kind),
      datagram('client', 'three'),
    ],
  })),
  {
    name: 'ICMP: about TCP, from routers on both sides',
    steps: () => {
      const { client, endpoint, open } = opened();
      return [
        ...open,
        routerError('endpoint', 'too big'),
        endpoint('PSH ACK', { data: 'x'.repeat(1000) }),
        routerError('client', 'too big'),
        client('ACK'),
      ];
    },
  },
  {
    name: 'ICMP: port unreachable, from the ends themselves',
    steps: () => [
      datagram('client', 'one'),
      error('endpoint', 'port unreachable', { byEnd: true }),
      datagram('endpoint', 'two'),
      error('client', 'port unreachable', { byEnd: true }),
      datagram('client', 'three'),
    ],
  },
  ...[8, 20].map((quoteBytes) => ({
    name: `ICMP: ${quoteBytes} bytes of TCP quoted`,
    steps: () => quotedTcp(quoteBytes),
  })),
  {
    name: 'ICMP: no more of TCP quoted than its ports',
    steps: () =>
      quotedTcp(4).map((step, number, { length }) =>
        // The last and the last but two are the errors.
        number !== length - 1 && number !== length - 3
          ? step
          : becomes(
              {
                kernel: 'dropped',
                flowpin: 'through',
                why: 'RFC 792 asks for eight bytes, and nf_conntrack for as many; the ports are all that flowpin needs',
              },
              step,
            ),
      ),
  },
  {
    name: 'ICMP: 1200 bytes of UDP quoted',
    steps: () => [
      datagram('client', 'x'.repeat(1200)),
      error('endpoint', 'port unreachable', { byEnd: true }),
      datagram('endpoint', 'x'.repeat(1200)),
      error('client', 'port unreachable', { byEnd: true }),
    ],
  },
  {
    name: 'ICMP: redirects go no further, nor do source quenches',
    only: ({ family, sourceKept }) => family === 'IPv4' && !sourceKept,
    steps: () => [
      datagram('client', 'one'),
      ...fruitless('endpoint'),
      datagram('endpoint', 'two'),
      ...fruitless('client'),
    ],
  },
  {
    name: 'ICMP: about a packet that nobody sent',
    steps: () => {
      const step = error('client', 'port unreachable');
      const unsent = (cast: Cast) =>
        frame({ from: at(cast.vip, 53), to: at(cast.client, cast.clientPort), protocol: 'udp' });
      return [
        becomes('dropped', {
          ...step,
          frames: (cast) => step.frames({ ...cast, received: { client: unsent(cast) } }),
        }),
      ];
    },
  },
  {
    name: 'ICMP: a hop limit of 1',
    steps: () => [
      becomes(
        {
          kernel: ['client: vip > client time exceeded (client > vip, whole)'],
          flowpin: ['client: node > client time exceeded (client > vip, whole)'],
          why: ROUTER_SPEAKS,
          onlySource: true,
        },
        datagram('client', 'one', () => ({ ttl: 1 })),
      ),
    ],
  },
  {
    name: 'ICMP: a hop limit of 2',
    steps: () => [
      becomes(
        ({ sourceKept }) => ({
          kernel: 'through',
          flowpin: [
            `client: node > client time exceeded (client > ${sourceKept ? 'endpoint' : 'vip'}, whole)`,
          ],
          why: 'decision 11: the node routes a packet twice, into the device and out of it, and counts both',
        }),
        datagram('client', 'one', () => ({ ttl: 2 })),
      ),
    ],
  },
  {
    name: 'ICMP: larger than the link to the endpoint',
    steps: () => [
      becomes(
        ({ family }) => {
          const quote = `(client > vip, ${{ IPv4: 548, IPv6: 1232 }[family]} bytes)`;
          return {
            kernel: [`client: vip > client too big ${quote}`],
            flowpin: [`client: node > client too big ${quote}`],
            why: ROUTER_SPEAKS,
            onlySource: true,
          };
        },
        datagram('client', 'x'.repeat(1600)),
      ),
    ],
  },
];

/** Types 5 and 4, as each side may send them. */
const fruitless = (side: Side): Step[] => [
  becomes('dropped', error(side, [5, 1, 0])),
  becomes(
    {
      kernel: 'through',
      flowpin: 'dropped',
      why: 'RFC 6633: nobody sends or heeds a source quench any more',
    },
    error(side, [4, 0, 0], { byEnd: true }),
  ),
];

/** Errors of both ends about TCP segments. */
function quotedTcp(quoteBytes: number): Step[] {
  const { client, endpoint, open } = opened();
  const refusal = { byEnd: true, quoteBytes } as const;
  return [
    ...open,
    client('PSH ACK', { data: 'GET' }),
    error('endpoint', 'port unreachable', refusal),
    endpoint('ACK'),
    error('client', 'port unreachable', refusal),
  ];
}

const LONG = 'x'.repeat(4000);
/** Bytes of each fragment; the transport header counts. */
const FRAGMENT = 1400;
const NOT_REASSEMBLED = 'decision 10: fragments are not reassembled, and what went out cannot be taken back';

const FRAGMENT_CASES: Case[] = [
  {
    name: 'fragments in order',
    steps: () => [fragments('client', LONG, FRAGMENT), fragments('endpoint', LONG, FRAGMENT)],
  },
  {
    name: 'fragments out of order',
    steps: () => [
      fragments('client', LONG, FRAGMENT, [2, 1, 0]),
      fragments('endpoint', LONG, FRAGMENT, [1, 0, 2]),
    ],
  },
  {
    name: 'fragments, one of them twice',
    steps: () => [fragments('client', LONG, FRAGMENT, [0, 1, 1, 2])],
  },
  {
    name: 'fragments, one of them missing',
    steps: () => [
      becomes(
        { kernel: 'dropped', flowpin: ['endpoint: not a whole datagram'], why: NOT_REASSEMBLED },
        fragments('client', LONG, FRAGMENT, [0, 2]),
      ),
    ],
  },
  {
    name: 'fragments that overlap',
    steps: () => [
      {
        ...datagram('client', LONG),
        frames: (cast) => {
          const whole = frame({
            ...ends('client', 'udp', cast),
            protocol: 'udp',
            payload: Buffer.from(LONG),
          });
          return [
            cut(whole, { start: 0, end: 1400, more: true }, cast.clientPort),
            cut(whole, { start: 1392, end: 2800, more: true }, cast.clientPort),
            cut(whole, { start: 2800, end: 4008, more: false }, cast.clientPort),
          ];
        },
        becomes: () => ({
          kernel: 'dropped',
          flowpin: ['endpoint: not a whole datagram'],
          why: NOT_REASSEMBLED,
        }),
      },
    ],
  },
];

/** A packet of the client to anywhere. */
const sent = (spec: (cast: Cast) => Partial<PacketSpec> & { to: string }): Step =>
  packet('client', (cast) => ({ from: at(cast.client, cast.clientPort), flags: ['SYN'], ...spec(cast) }));

/** What nobody serves, refused. @param quote how much of it is quoted, by family */
const refused = (step: Step, quote = { IPv4: 'whole', IPv6: 'whole' }): Step =>
  becomes(
    ({ family }) => ({
      kernel: [`client: node > client port unreachable (client > empty, ${quote[family]})`],
      flowpin: [`client: empty > client port unreachable (client > empty, ${quote[family]})`],
      why: 'PARITY: the address that was asked for refuses',
      onlySource: true,
    }),
    step,
  );

/** A port that no Service has, at an address that one has. */
const unserved = (protocol: 'tcp' | 'udp', name: string): Step =>
  becomes(
    {
      kernel: [`client: client > vip:81 ${name}`],
      flowpin: ['client: vip > client port unreachable (client > vip:81, whole)'],
      why: 'PARITY: rejected, because what passes is routed into the device again',
    },
    sent(({ vip }) => ({ to: at(vip, 81), protocol })),
  );

const NO_FLOW_CASES: Case[] = [
  {
    name: 'no endpoints: SYN, ACK and datagram are refused',
    steps: () => [
      refused(sent(({ emptyVip }) => ({ to: at(emptyVip, 80) }))),
      refused(sent(({ emptyVip }) => ({ to: at(emptyVip, 80), flags: ['ACK'] }))),
      refused(
        sent(({ emptyVip }) => ({
          to: at(emptyVip, 53),
          protocol: 'udp',
          payload: Buffer.from(LONG.slice(0, 1300)),
        })),
        { IPv4: '548 bytes', IPv6: '1232 bytes' },
      ),
    ],
  },
  {
    name: 'no endpoints: a stray RST, FIN and SYN-ACK are not answered',
    steps: () =>
      [['RST'], ['FIN', 'ACK'], ['SYN', 'ACK']].map((flags) =>
        becomes(
          'dropped',
          sent(({ emptyVip }) => ({ to: at(emptyVip, 80), flags: flags as PacketSpec['flags'] & object })),
        ),
      ),
  },
  { name: 'an unserved port', steps: () => [unserved('tcp', 'SYN'), unserved('udp', 'UDP')] },
  {
    name: 'LAND: from a VIP to itself',
    only: ({ sourceKept }) => !sourceKept,
    steps: () => [
      becomes(
        { kernel: 'through', flowpin: 'dropped', why: 'decision 11: its answer would be the question again' },
        sent(({ vip }) => ({ from: at(vip, 80), to: at(vip, 80) })),
      ),
    ],
  },
  {
    name: 'a Service as client',
    only: ({ sourceKept }) => !sourceKept,
    steps: () => [
      becomes(
        { kernel: 'through', flowpin: 'dropped', why: 'decision 11: its answers would come into the device' },
        sent(({ emptyVip, vip, clientPort }) => ({ from: at(emptyVip, clientPort), to: at(vip, 80) })),
      ),
    ],
  },
];

export const CASES: readonly Case[] = [
  ...TCP_CASES,
  ...UDP_CASES,
  ...ICMP_CASES,
  ...FRAGMENT_CASES,
  ...NO_FLOW_CASES,
];

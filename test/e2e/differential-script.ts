// The words that the differential test's cases are written in: who sends what, and what becomes of it at both peers.

import { cutAll } from '../support/fragments.js';
import { frame, icmpError, type PacketSpec, type TcpFlag, VNET_BYTES, view } from '../support/packets.js';
import { at } from './nodeport-lab.js';

/** Where packets come into a router, and out of it. */
export const SIDES = ['client', 'endpoint'] as const;
export type Side = (typeof SIDES)[number];

/** What is compared. */
export const PEERS = ['kernel', 'flowpin'] as const;
export type PeerName = (typeof PEERS)[number];

/** Who is who while a case runs at one peer; addresses without ports unless it says otherwise. */
export interface Cast {
  readonly family: 'IPv4' | 'IPv6';
  /** Whether the endpoint sees the client's own address. */
  readonly sourceKept: boolean;
  /** Whether the client is the endpoint: both are at the endpoint's side then. */
  readonly hairpin: boolean;
  readonly client: string;
  readonly clientPort: number;
  readonly vip: string;
  /** The VIP of a Service without endpoints. */
  readonly emptyVip: string;
  readonly endpoint: string;
  /** Addresses of the router between the sides. */
  readonly node: readonly string[];
  /** A router beyond each side. */
  readonly routers: Readonly<Record<Side, string>>;
  /** The client, address and port, as the endpoint sees it: its SNAT address, or itself. */
  seen: string;
  /** The last packet that came out at each side. */
  readonly received: Partial<Record<Side, Uint8Array>>;
}

/** Ports of the Service, and of its endpoint. */
export const PORTS = { tcp: { service: 80, endpoint: 8080 }, udp: { service: 53, endpoint: 5353 } } as const;

/**
 * What becomes of a packet: it comes out at the other side; something comes out where it came from; nothing comes out. Or
 * the lines of what comes out, as differential-normal.ts writes them.
 */
export type Fate = 'through' | 'back' | 'dropped' | readonly string[];

/** One fate for both peers, and then the same bytes; or what each of them does, where they differ by design. */
export type Outcome = Fate | Departure;

export interface Departure {
  readonly kernel: Fate;
  readonly flowpin: Fate;
  /** Where it is decided that flowpin differs, or what kept it from being alike. */
  readonly why: string;
  /** Only the source address differs: everything else is compared. */
  readonly onlySource?: true;
}

export interface Step {
  readonly at: Side;
  readonly frames: (cast: Cast) => Uint8Array[];
  readonly becomes: (cast: Cast) => Outcome;
}

const through = (): Outcome => 'through';

/** The same step with another outcome; one for all, or as it depends on who is who. */
export const becomes = (outcome: Outcome | ((cast: Cast) => Outcome), step: Step): Step => ({
  ...step,
  becomes: typeof outcome === 'function' ? outcome : () => outcome,
});

/** A step of one packet. */
export const packet = (side: Side, spec: (cast: Cast) => PacketSpec): Step => ({
  at: side,
  frames: (cast) => [frame(spec(cast))],
  becomes: through,
});

/** Sender and receiver, as the sender knows them. */
export function ends(side: Side, protocol: 'tcp' | 'udp', cast: Cast): { from: string; to: string } {
  const { service, endpoint } = PORTS[protocol];
  return side === 'client'
    ? { from: at(cast.client, cast.clientPort), to: at(cast.vip, service) }
    : { from: at(cast.endpoint, endpoint), to: cast.seen };
}

export interface Segment {
  readonly data?: string;
  /** Added to the sequence number, and to the acknowledgement, that would be right. */
  readonly seq?: number;
  readonly ack?: number;
  readonly options?: number[];
}

/** Sends a segment, by its flags. */
type Sends = (flags: string, segment?: Segment) => Step;

/**
 * Both ends of a TCP connection: each call is a segment with the sequence number and the acknowledgement that follow from
 * the segments before it.
 */
export function connection(clientIsn = 1000, endpointIsn = 5_000_000): Record<Side, Sends> {
  const next = { client: clientIsn, endpoint: endpointIsn };
  const heard = { client: 0, endpoint: 0 };
  const sender =
    (side: Side): Sends =>
    (text, { data = '', seq = 0, ack = 0, options } = {}) => {
      const flags = text.split(' ').filter((flag) => flag !== '') as TcpFlag[];
      const payload = Buffer.from(data);
      const spec = {
        flags,
        seq: (next[side] + seq) >>> 0,
        ack: flags.includes('ACK') ? (heard[side] + ack) >>> 0 : 0,
        payload,
        ...(options && { tcpOptions: Uint8Array.from(options) }),
      };
      if (seq === 0) {
        next[side] += payload.length + Number(flags.includes('SYN')) + Number(flags.includes('FIN'));
        heard[side === 'client' ? 'endpoint' : 'client'] = next[side];
      }
      return packet(side, (cast) => ({ ...ends(side, 'tcp', cast), ...spec }));
    };
  return { client: sender('client'), endpoint: sender('endpoint') };
}

/** The three segments that open a connection. */
export const handshake = ({ client, endpoint }: Record<Side, Sends>): Step[] => [
  client('SYN'),
  endpoint('SYN ACK'),
  client('ACK'),
];

/** A datagram. @param more what is special about it */
export const datagram = (
  side: Side,
  data: string,
  more: (cast: Cast) => Partial<PacketSpec> = () => ({}),
): Step =>
  packet(side, (cast) => ({
    ...ends(side, 'udp', cast),
    protocol: 'udp',
    payload: Buffer.from(data),
    ...more(cast),
  }));

/**
 * A datagram in fragments.
 * @param size bytes behind the IP header of each but the last; a multiple of 8
 * @param order which fragment is sent when; in order unless given
 */
export const fragments = (side: Side, data: string, size: number, order?: readonly number[]): Step => ({
  ...datagram(side, data),
  frames: (cast) => {
    const spec = { ...ends(side, 'udp', cast), protocol: 'udp' as const, payload: Buffer.from(data) };
    // An identification of its own: what is left of another case's datagram must not meet it.
    const pieces = cutAll(frame(spec), size, cast.clientPort);
    return order === undefined ? pieces : order.map((index) => pieces[index]!);
  },
});

/** Type, code and the second word of the header. */
type IcmpHeader = readonly [type: number, code: number, rest: number];

/** Kinds of ICMP errors, by family. */
export const ERRORS = {
  'port unreachable': { IPv4: [3, 3, 0], IPv6: [1, 4, 0] },
  'too big': { IPv4: [3, 4, 1300], IPv6: [2, 0, 1300] },
  'time exceeded': { IPv4: [11, 0, 0], IPv6: [3, 0, 0] },
} as const;
export type ErrorKind = keyof typeof ERRORS;

export interface ErrorSpec {
  /** Sent by the end itself, not by a router before it. */
  readonly byEnd?: true;
  /** So many bytes behind the IP header are quoted; all unless given. */
  readonly quoteBytes?: number;
}

/** An ICMP error about the last packet that came out at that side, sent to the one who seems to have sent it. */
export const error = (
  side: Side,
  kind: ErrorKind | IcmpHeader,
  { byEnd, quoteBytes }: ErrorSpec = {},
): Step => ({
  at: side,
  becomes: through,
  frames: (cast) => {
    const about = cast.received[side];
    if (about === undefined) throw new Error(`nothing has come out at the ${side}`);
    const [type, code, rest] = typeof kind === 'string' ? ERRORS[kind][cast.family] : kind;
    const from = byEnd ? cast[side] : cast.routers[side];
    const { from: sender } = view(about);
    const to = sender.replace(/^\[?([^\]]*?)\]?:\d+$/, '$1');
    const header = cast.family === 'IPv4' ? 20 : 40;
    const quoted = about.slice(VNET_BYTES, quoteBytes && VNET_BYTES + header + quoteBytes);
    return [icmpError({ from, to, type, code, rest, quoted })];
  },
});

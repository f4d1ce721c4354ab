/**
 * What clients do, and what happens to endpoints meanwhile; as data, so that a user's file says it in the same words
 * (docs/LAB.md). From a seed it becomes a list of connections that is the same for every strategy.
 */
import { Random } from '../../shared/random.js';
import { ipv4Number, ipv4Text } from '../../wire/address.js';
import { word } from '../../wire/byte-order.js';

/** A size in bytes: always the same, evenly drawn, or heavy-tailed. */
export type Size =
  | number
  | { readonly from: number; readonly to: number }
  | { readonly pareto: number; readonly from: number; readonly to: number };

/** Clients that behave alike. */
export interface ClientGroup {
  readonly protocol: 'TCP' | 'UDP';
  /** TCP connections, or UDP sockets. */
  readonly connections: number;
  /** Client addresses that they come from. */
  readonly addresses: number;
  /** They begin evenly between these, in milliseconds. */
  readonly beginMs: readonly [number, number];
  /** Requests of one connection, one after the other. */
  readonly requests: number;
  /** From an answer to the next request. */
  readonly thinkMs: number;
  readonly requestBytes: Size;
  readonly responseBytes: Size;
  /** UDP: datagrams sent at once for one request, as a resolver asks for A and AAAA. */
  readonly together: number;
}

export const EVENTS = [
  'endpoint-added',
  'endpoint-removed',
  'endpoint-crashed',
  'endpoint-flapping',
  'rolling-replacement',
  'table-update',
  'workers-killed',
] as const;
export type EventName = (typeof EVENTS)[number];

export interface LabEvent {
  readonly event: EventName;
  readonly atMs: number;
  /** Which endpoint, in the order of the table: of endpoint-removed, -crashed and -flapping. */
  readonly endpoint: number;
  /** How often: flaps, replacements' updates, unrelated updates. */
  readonly times: number;
  /** From one time to the next. */
  readonly everyMs: number;
  /** endpoint-crashed: until the table is without it, as failed probes have shown. */
  readonly noticedAfterMs: number;
  /** How long an endpoint that is taken out goes on serving its connections. */
  readonly graceMs: number;
}

export interface Workload {
  readonly name: string;
  /** One sentence. */
  readonly what: string;
  readonly durationMs: number;
  readonly clients: readonly ClientGroup[];
  readonly events: readonly LabEvent[];
}

export const EVENT_DEFAULTS = {
  endpoint: 0,
  times: 1,
  everyMs: 1000,
  noticedAfterMs: 10_000,
  graceMs: 30_000,
} as const;

export const GROUP_DEFAULTS = {
  addresses: 1,
  requests: 1,
  thinkMs: 100,
  requestBytes: 200,
  responseBytes: 1000,
  together: 1,
} as const;

/** One connection or socket, all drawn. */
export interface Connection {
  readonly protocol: 'TCP' | 'UDP';
  readonly beginMs: number;
  /** Client address as a number, as text, and its port. */
  readonly client: number;
  readonly address: string;
  readonly port: number;
  readonly thinkMs: number;
  readonly together: number;
  readonly requests: readonly { readonly requestBytes: number; readonly responseBytes: number }[];
}

/** Where the lab's clients live: shared address space (RFC 6598), so that they are nobody's endpoints. */
const CLIENTS = ipv4Number('100.64.0.1');
const PORT_FIRST = 20_000;
const PORT_COUNT = 40_000;

/** Draws the connections of a workload. The same seed gives the same ones. */
export function connectionsOf({ clients }: Workload, seed: number): Connection[] {
  const random = new Random(seed);
  const ports = new Map<number, number>();
  let nextClient = CLIENTS;
  return clients.flatMap((group) => {
    const [from, to] = group.beginMs;
    const gapMs = (to - from) / group.connections;
    const addresses = Array.from({ length: group.addresses }, () => nextClient++);
    return Array.from({ length: group.connections }, (_, i): Connection => {
      // One in each stretch of time, and on a whole millisecond: no burst is left to chance.
      const beginMs = Math.floor(from + (i + random.below(1000) / 1000) * gapMs);
      // Every client once, then once more in another order: no step of round robin ever fits their number.
      if (i % addresses.length === 0) shuffle(addresses, random);
      const client = addresses[i % addresses.length];
      const used = ports.get(client) ?? 0;
      ports.set(client, used + 1);
      return {
        protocol: group.protocol,
        beginMs,
        client,
        address: ipv4Text(word(client)),
        port: PORT_FIRST + (used % PORT_COUNT),
        thinkMs: group.thinkMs,
        together: group.protocol === 'UDP' ? group.together : 1,
        requests: Array.from({ length: group.requests }, () => ({
          requestBytes: sizeOf(group.requestBytes, random),
          responseBytes: sizeOf(group.responseBytes, random),
        })),
      };
    });
  });
}

function shuffle(values: number[], random: Random): void {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [values[i], values[j]] = [values[j], values[i]];
  }
}

function sizeOf(size: Size, random: Random): number {
  if (typeof size === 'number') return size;
  const share = random.next31() / 0x8000_0000;
  if (!('pareto' in size)) return Math.floor(size.from + share * (size.to - size.from + 1));
  return Math.floor(Math.min(size.to, size.from / (1 - share) ** (1 / size.pareto)));
}

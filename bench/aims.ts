/** What is to be reached, and how a set of figures compares. */
import { type Figure, numberText } from './figures.js';

export interface Aim {
  readonly work: string;
  readonly id: string;
  /** Another figure, or another peer's, that it is a multiple of. */
  readonly against?: { readonly id?: string; readonly peer?: string };
  readonly bound: 'at least' | 'at most';
  readonly value: number;
}

const atLeast = (work: string, id: string, value: number): Aim => ({ work, id, bound: 'at least', value });
const timesPeer = (work: string, id: string, peer: string, value: number): Aim => ({
  ...{ work, id, against: { peer }, bound: 'at least', value },
});

export const AIMS: readonly Aim[] = [
  atLeast('hits in memory, IPv4, 1 k flows', 'pipeline.hit.v4.1k', 40),
  atLeast('hits in memory, IPv4, 64 k flows', 'pipeline.hit.v4.64k', 20),
  atLeast('hits in memory, IPv4, 1 M flows', 'pipeline.hit.v4.1m', 7),
  atLeast('new flows in memory, 10 k Services', 'pipeline.new.v4.64k', 3),
  { work: 'allocated for a packet', id: 'pipeline.alloc', bound: 'at most', value: 0 },
  {
    ...{ work: 'lookup among 100,000 Services', id: 'lookup.100000', against: { id: 'lookup.10' } },
    ...{ bound: 'at most', value: 1.3 },
  },
  timesPeer('bulk TCP, 1 stream', 'tun.tcp1', 'c-loop', 1),
  timesPeer('bulk TCP, 1 stream', 'tun.tcp1', 'iptables', 0.85),
  timesPeer('bulk TCP, 1 stream', 'tun.tcp1', 'haproxy', 1.4),
  timesPeer('UDP 64 B, 1 flow', 'tun.udp64.1', 'c-loop', 1.8),
  timesPeer('UDP 64 B, 1 flow', 'tun.udp64.1', 'iptables', 0.95),
  timesPeer('UDP 64 B, 1,000 flows', 'tun.udp64.1000', 'c-loop', 1),
  timesPeer('HTTP requests, kept alive', 'tun.http', 'c-loop', 1),
  timesPeer('HTTP requests, kept alive', 'tun.http', 'iptables', 0.65),
  timesPeer('HTTP requests, kept alive', 'tun.http', 'haproxy', 1.1),
  timesPeer('new connections', 'tun.cps', 'iptables', 1),
  timesPeer('new connections', 'tun.cps', 'haproxy', 1.1),
  { work: 'memory of a flow', id: 'memory.flow', bound: 'at most', value: 200 },
];

const UNITS: { readonly [id: string]: string } = {
  'pipeline.alloc': ' bytes',
  'memory.flow': ' bytes',
};

export function aimText({ id, against, bound, value }: Aim): string {
  if (against === undefined) return `${bound} ${value}${UNITS[id] ?? ' Mpps'}`;
  return `${bound} ${value} x ${against.peer ?? `\`${against.id}\``}`;
}

/** What the figures say, to be held against the aim; "not measured" where they do not. */
export function measuredText({ id, against }: Aim, figures: readonly Figure[]): string {
  const medianOf = (id: string, peer = 'flowpin') =>
    figures.find((figure) => figure.id === id && figure.peer === peer)?.median;
  const own = medianOf(id);
  const other = against === undefined ? 1 : medianOf(against.id ?? id, against.peer);
  if (own === undefined || other === undefined) return 'not measured';
  return against === undefined
    ? `${numberText(own)}${UNITS[id] ?? ' Mpps'}`
    : `${(own / other).toFixed(2)} x`;
}

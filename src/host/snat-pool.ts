/** The SNAT pool as given on the command line: its first host address is the device's own, the others are drawn from. */
import { type Cidr, ipv4MaskWord, ipv4Word } from '../wire/address.js';
import { word } from '../wire/byte-order.js';

export interface SnatPool {
  readonly cidr: string;
  /** The device's own address: the source of the host's own connections to a ClusterIP. */
  readonly own: string;
  /** Addresses that flows are masqueraded to, as words. */
  readonly addresses: Int32Array;
  readonly network: number;
  readonly mask: number;
}

/** More addresses bring nothing: each one is good for 64,512 flows to every endpoint. */
const ADDRESSES_MAX = 4096;

/** @returns the pool, or why the CIDR cannot be one */
export function snatPoolOf(cidr: Cidr): SnatPool | string {
  if (cidr.family !== 'IPv4') return `${cidr.text} is not IPv4`;
  if (cidr.prefixLength > 30) return `${cidr.text} is too small: a SNAT pool takes a /30 or larger`;
  const first = word(ipv4Word(cidr.network)) >>> 0;
  const size = 2 ** (32 - cidr.prefixLength);
  // Without the network and broadcast addresses, which some stacks refuse as a source, and without our own.
  const count = Math.min(size - 3, ADDRESSES_MAX);
  const addresses = Int32Array.from({ length: count }, (_, i) => word((first + 2 + i) | 0));
  return {
    cidr: cidr.text,
    own: ipv4TextOf(first + 1),
    addresses,
    network: ipv4Word(cidr.network),
    mask: ipv4MaskWord(cidr.prefixLength),
  };
}

const ipv4TextOf = (address: number): string =>
  [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');

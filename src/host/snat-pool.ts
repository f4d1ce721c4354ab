/** The SNAT pool of one family: its first host address is the device's own, the others are drawn from. */
import { addressText, addressWords, type Cidr, type Family, maskWords, parseCidr } from '../wire/address.js';
import { word } from '../wire/byte-order.js';

export interface SnatPool {
  readonly family: Family;
  readonly cidr: string;
  /** The device's own address: the source of the host's own connections to a ClusterIP. */
  readonly own: string;
  /** Addresses that flows are masqueraded to: words in packet order, one each for IPv4, four each for IPv6. */
  readonly addresses: Int32Array;
  /** Words of the network and of its mask: one for IPv4, four for IPv6. */
  readonly network: Int32Array;
  readonly mask: Int32Array;
}

/** More addresses bring nothing: each one is good for 64,512 flows to every endpoint. */
const ADDRESSES_MAX = 4096;

/** Bits of an address, and the longest prefix that still has room for the device and one to draw. */
const BITS = { IPv4: 32, IPv6: 128 } as const;
const PREFIX_MAX = { IPv4: 30, IPv6: 126 } as const;

/** The pool of a CIDR that is known to make one. @throws Error when it does not */
export function snatPoolAt(text: string): SnatPool {
  const cidr = parseCidr(text);
  const pool = cidr === null ? text : snatPoolOf(cidr);
  if (typeof pool === 'string') throw new Error(`not a pool: ${pool}`);
  return pool;
}

/** @returns the pool, or why the CIDR cannot be one */
export function snatPoolOf({ family, text, network, prefixLength }: Cidr): SnatPool | string {
  const longest = PREFIX_MAX[family];
  if (prefixLength > longest) return `${text} is too small: a SNAT pool takes a /${longest} or larger`;
  const first = Int32Array.from(addressWords(network));
  const size = 2 ** (BITS[family] - prefixLength);
  // Without our own and without the network address (in IPv6 the routers' anycast address, RFC 4291 section 2.6.1)
  // and IPv4's broadcast address, which some stacks refuse as a source.
  const count = Math.min(size - (family === 'IPv4' ? 3 : 2), ADDRESSES_MAX);
  const addresses = new Int32Array(count * first.length);
  for (let i = 0; i < count; i++) addresses.set(plus(first, 2 + i), i * first.length);
  return {
    family,
    cidr: text,
    own: addressText(plus(first, 1), 0, first.length),
    addresses,
    network: first,
    mask: Int32Array.from(maskWords(family, prefixLength)),
  };
}

/** @param offset below what the last word has room for: the host bits of `network` are clear */
function plus(network: Int32Array, offset: number): Int32Array {
  const words = network.slice();
  const last = words.length - 1;
  words[last] = word((word(words[last] ?? 0) + offset) | 0);
  return words;
}

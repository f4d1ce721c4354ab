/**
 * Addresses and CIDRs between text and words. The only importer of `ip6addr`; nothing here runs per packet.
 */
import { createCIDR, parse } from 'ip6addr';
import { word } from './byte-order.js';

export type Family = 'IPv4' | 'IPv6';

export interface Ip {
  readonly family: Family;
  /** Canonical text: RFC 5952 for IPv6. */
  readonly text: string;
}

export interface Cidr {
  readonly family: Family;
  /** First address and prefix length, host bits cleared: "198.18.0.0/24". */
  readonly text: string;
  /** The network address, canonical. */
  readonly network: string;
  readonly prefixLength: number;
}

/**
 * @param text one address, as Kubernetes objects hold it
 * @returns null for anything that is not exactly one address: leading zeros, blanks, a port, a prefix, a zone,
 *   or an IPv4-mapped IPv6 address (its family would be ambiguous; Kubernetes is giving such forms up too)
 */
export function parseIp(text: string): Ip | null {
  const isIpv6 = text.includes(':');
  try {
    const address = parse(text);
    if (isIpv6) return address.kind() === 'ipv6' ? { family: 'IPv6', text: address.toString() } : null;
    const canonical = address.toString({ format: 'v4' });
    return canonical === text ? { family: 'IPv4', text } : null;
  } catch {
    return null; // ip6addr tells by exception what it does not read
  }
}

/** @returns null for anything that is not exactly `address/length`; host bits are cleared */
export function parseCidr(text: string): Cidr | null {
  const [address, length, ...rest] = text.split('/');
  const ip = parseIp(address ?? '');
  if (ip === null || length === undefined || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(length))
    return null;
  const prefixLength = Number(length);
  if (prefixLength > (ip.family === 'IPv4' ? 32 : 128)) return null;
  const network = createCIDR(ip.text, prefixLength).address().toString();
  return { family: ip.family, text: `${network}/${prefixLength}`, network, prefixLength };
}

/** @param text a canonical IPv4 address @returns its word */
export const ipv4Word = (text: string): number => word(parse(text).toLong() | 0);

/** @param address an IPv4 address as a word @returns its text */
export function ipv4Text(address: number): string {
  return `${address & 0xff}.${(address >>> 8) & 0xff}.${(address >>> 16) & 0xff}.${address >>> 24}`;
}

/** @returns the mask of an IPv4 prefix as a word: `(address & mask) === network` tells membership */
export const ipv4MaskWord = (prefixLength: number): number =>
  prefixLength === 0 ? 0 : word((-1 << (32 - prefixLength)) | 0) | 0;

/**
 * Addresses and CIDRs between text and words. The only importer of `ip6addr`; nothing here runs per packet.
 */
import { createCIDR, parse } from 'ip6addr';
import { word } from './byte-order.js';
import { FAMILY } from './family.js';

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
 * @returns null for anything that is not exactly one address: blanks, a port, a prefix, a zone, or an IPv4-mapped
 *   IPv6 address (its family would be ambiguous; Kubernetes is giving such forms up too). IPv4 numbers with leading
 *   zeros are decimal, as in kube-proxy (k8s.io/utils/net, ParseIPSloppy), and come back without them.
 */
export function parseIp(text: string): Ip | null {
  const isIpv6 = text.includes(':');
  try {
    if (isIpv6) {
      const address = parse(text);
      return address.kind() === 'ipv6' ? { family: 'IPv6', text: address.toString() } : null;
    }
    const unpadded = text.replace(/\b0+(?=\d)/g, '');
    const canonical = parse(unpadded).toString({ format: 'v4' });
    return canonical === unpadded ? { family: 'IPv4', text: canonical } : null;
  } catch {
    return null; // ip6addr tells by exception what it does not read
  }
}

/** @returns null for anything that is not exactly `address/length`; host bits are cleared */
export function parseCidr(text: string): Cidr | null {
  const [address, length, ...rest] = text.split('/');
  const ip = parseIp(address ?? '');
  if (ip === null || length === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length)) return null;
  const prefixLength = Number(length);
  if (prefixLength > (ip.family === 'IPv4' ? 32 : 128)) return null;
  const network = createCIDR(ip.text, prefixLength).address().toString();
  return { family: ip.family, text: `${network}/${prefixLength}`, network, prefixLength };
}

/** The number of a family, as records and tables carry it. */
export const familyNumber = (family: Family): number => (family === 'IPv4' ? FAMILY.V4 : FAMILY.V6);

/** @param text a canonical address @returns its words in packet order: one for IPv4, four for IPv6 */
export function addressWords(text: string): number[] {
  if (!text.includes(':')) return [ipv4Word(text)];
  return [...new Int32Array(new Uint8Array(parse(text).toBuffer()).buffer)];
}

/** @param words `count` address words at `at` @returns canonical text */
export function addressText(words: Int32Array, at: number, count: number): string {
  if (count === 1) return ipv4Text(words[at]);
  const bytes = new Uint8Array(words.slice(at, at + count).buffer);
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] << 8) | bytes[i * 2 + 1]).toString(16));
  return parse(groups.join(':')).toString({ format: 'v6' });
}

/** The words of a prefix's mask: one for IPv4, four for IPv6. */
export function maskWords(family: Family, prefixLength: number): number[] {
  const lengths = family === 'IPv4' ? [prefixLength] : [0, 32, 64, 96].map((before) => prefixLength - before);
  return lengths.map((length) => ipv4MaskWord(Math.min(32, Math.max(0, length))));
}

/** @param text a canonical IPv4 address @returns its word */
export function ipv4Word(text: string): number {
  // Read here and not by ip6addr: a large cluster has hundreds of thousands of them.
  let address = 0;
  let part = 0;
  let shift = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit >= 0) {
      part = part * 10 + digit;
    } else {
      address |= part << shift;
      shift += 8;
      part = 0;
    }
  }
  return address | (part << shift);
}

/** @param text a canonical IPv4 address @returns it as a number, 0 to 2^32 - 1: neighbours follow each other */
export const ipv4Number = (text: string): number => word(ipv4Word(text)) >>> 0;

/** @param address an IPv4 address as a word @returns its text */
export function ipv4Text(address: number): string {
  return `${address & 0xff}.${(address >>> 8) & 0xff}.${(address >>> 16) & 0xff}.${address >>> 24}`;
}

/** @returns the mask of an IPv4 prefix as a word: `(address & mask) === network` tells membership */
export const ipv4MaskWord = (prefixLength: number): number =>
  prefixLength === 0 ? 0 : word((-1 << (32 - prefixLength)) | 0) | 0;

/** @param cidr canonical @param address canonical; one of the other family is never in it */
export function cidrContains(cidr: string, address: string): boolean {
  const parsed = parseCidr(cidr);
  if (parsed === null || (parsed.family === 'IPv6') !== address.includes(':')) return false;
  const network = addressWords(parsed.network);
  const mask = maskWords(parsed.family, parsed.prefixLength);
  return addressWords(address).every((word, i) => (word & (mask[i] as number)) === network[i]);
}

/** The check of an address in a Kubernetes object, with the reason in plain words when it fails. */
import { type Family, parseIp } from '../../wire/address.js';
import { show } from './report.js';

export interface Address {
  readonly family: Family;
  /** Canonical text. */
  readonly address: string;
}

/**
 * @param value as the object holds it; anything
 * @param family the only one that is right here, null when both are
 */
export function readAddress(value: unknown, family: Family | null): Address | { readonly refusal: string } {
  const ip = typeof value === 'string' ? parseIp(value) : null;
  if (ip === null || (family !== null && ip.family !== family)) {
    return { refusal: `must be an ${family ?? 'IP'} address, not ${show(value)}` };
  }
  const special = SPECIAL[ip.family].find(({ pattern }) => pattern.test(ip.text));
  return special === undefined
    ? { family: ip.family, address: ip.text }
    : { refusal: `must not be ${special.name} address, such as ${show(value)}` };
}

/**
 * What the API server refuses as an endpoint (pkg/apis/core/validation, ValidateNonSpecialIP). A proxy that routed
 * packets for them into its device would cut the host off from itself.
 */
const SPECIAL: Record<Family, readonly { pattern: RegExp; name: string }[]> = {
  IPv4: [
    { pattern: /^0\.0\.0\.0$/, name: 'the unspecified' },
    { pattern: /^127\./, name: 'a loopback' },
    { pattern: /^169\.254\./, name: 'a link-local' },
    { pattern: /^224\.0\.0\./, name: 'a link-local multicast' },
  ],
  IPv6: [
    { pattern: /^::$/, name: 'the unspecified' },
    { pattern: /^::1$/, name: 'a loopback' },
    { pattern: /^fe[89ab].:/, name: 'a link-local' },
    { pattern: /^ff[0-9a-f]2:/, name: 'a link-local multicast' },
  ],
};

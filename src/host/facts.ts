/** What is there on the host before anything is changed: what a plan of changes has to know to fit in and to put back. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type Family, parseCidr, parseIp } from '../wire/address.js';
import { readSysctl } from './change.js';

/** One address family of the kernel. */
export interface FamilyFacts {
  /** Whether packets are forwarded already (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding). */
  readonly forwarding: boolean;
  /** Settings that switching forwarding off again would not leave as they are now, by sysctl name. */
  readonly lostByForwarding: readonly (readonly [name: string, value: string])[];
  /** Devices (IPv6 only) that take their routes from router advertisements while nothing is forwarded: accept_ra is 1. */
  readonly acceptRa: readonly string[];
  /** Preference of the rule that looks up the table `local`; 0 unless somebody moved it. */
  readonly localPref: number;
  /** Two numbers of routing tables that nobody uses. */
  readonly tables: readonly [capture: number, replies: number];
}

export interface HostFacts {
  readonly IPv4: FamilyFacts;
  /** null: the kernel has no IPv6, or it is switched off for new devices. */
  readonly IPv6: FamilyFacts | null;
}

/** First of the numbers tried for routing tables; 198.18 as in the SNAT pool's default. */
const TABLE_FIRST = 19818;
const TABLE_LAST = 19898;

/** @param tun its device is not there yet, or a leftover: not looked at */
export function readHostFacts(tun: string): HostFacts {
  const hasIPv6 = readSysctl('net.ipv6.conf.default.disable_ipv6') === '0';
  return { IPv4: factsOf('IPv4', tun), IPv6: hasIPv6 ? factsOf('IPv6', tun) : null };
}

function factsOf(family: Family, tun: string): FamilyFacts {
  const settings = family === 'IPv4' ? 'net.ipv4' : 'net.ipv6';
  const devices = devicesWithSettings(family).filter((device) => device !== tun);
  const perDevice = (key: string, value: string): string[] =>
    devices.filter((device) => readSysctl(`${settings}.conf.${sysctlDevice(device)}.${key}`) === value);
  const forwarding =
    readSysctl(family === 'IPv4' ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding') === '1';
  const lostByForwarding: [string, string][] = [];
  if (!forwarding) {
    // Writing the setting of all devices writes that of each (Documentation/networking/ip-sysctl.rst).
    for (const device of ['default', ...perDevice('forwarding', '1')]) {
      const name = `${settings}.conf.${sysctlDevice(device)}.forwarding`;
      if (readSysctl(name) === '1') lostByForwarding.push([name, '1']);
    }
    // inet_forward_change in net/ipv4/devinet.c: a host accepts redirects, a router does not.
    const redirects = 'net.ipv4.conf.all.accept_redirects';
    if (family === 'IPv4' && readSysctl(redirects) === '0') lostByForwarding.push([redirects, '0']);
  }
  return {
    forwarding,
    lostByForwarding,
    acceptRa:
      family === 'IPv6' && !forwarding ? perDevice('accept_ra', '1').filter((name) => name !== 'lo') : [],
    localPref: localPrefOf(family),
    tables: freeTables(family),
  };
}

const sysctlDevice = (device: string): string => device.replaceAll('.', '/');

function devicesWithSettings(family: Family): string[] {
  try {
    const names = readdirSync(`/proc/sys/net/${family === 'IPv4' ? 'ipv4' : 'ipv6'}/conf`);
    return names.filter((name) => name !== 'all' && name !== 'default').sort();
  } catch {
    return [];
  }
}

const ipOutput = (family: Family, args: readonly string[]): string =>
  spawnSync('ip', [family === 'IPv6' ? '-6' : '-4', ...args], { encoding: 'utf8' }).stdout ?? '';

function localPrefOf(family: Family): number {
  // "0:	from all lookup local"
  const found = /^(\d+):\s+from all lookup (?:local|255)\s*$/m.exec(ipOutput(family, ['rule', 'show']));
  return found === null ? 0 : Number(found[1]);
}

function freeTables(family: Family): [number, number] {
  const isFree = (table: number): boolean =>
    ipOutput(family, ['route', 'show', 'table', String(table)]).trim() === '';
  for (let table = TABLE_FIRST; table < TABLE_LAST; table += 2) {
    if (isFree(table) && isFree(table + 1)) return [table, table + 1];
  }
  return [TABLE_FIRST, TABLE_FIRST + 1];
}

/**
 * Addresses of this host that a packet may be sent to from outside: what iptables calls LOCAL, without loopback and
 * link-local ones. Canonical, in the order of the devices.
 * @param tun whose addresses are left out
 */
export function localAddresses(tun: string): string[] {
  const found = new Set<string>();
  for (const [device, addresses] of Object.entries(networkInterfaces())) {
    if (device === tun) continue;
    for (const { address } of addresses ?? []) {
      const text = parseIp(address)?.text;
      if (text !== undefined && !NOT_FROM_OUTSIDE.test(text)) found.add(text);
    }
  }
  return [...found];
}

/**
 * CIDRs of the links that this host is on: hosts in one of them, such as pods on a bridge, reach each other without it.
 * @param tun whose addresses are left out
 */
export function localLinks(tun: string): string[] {
  const found = new Set<string>();
  for (const [device, addresses] of Object.entries(networkInterfaces())) {
    if (device === tun) continue;
    for (const { cidr } of addresses ?? []) {
      const link = parseCidr(cidr ?? '');
      if (link === null || link.prefixLength >= (link.family === 'IPv4' ? 32 : 128)) continue;
      if (!NOT_FROM_OUTSIDE.test(link.network)) found.add(link.text);
    }
  }
  return [...found];
}

/** Loopback and link-local. */
const NOT_FROM_OUTSIDE = /^127\.|^::1$|^169\.254\.|^fe[89ab]/;

/**
 * The address that others know this host by: the first one of the device that the default route goes out of.
 * @returns null when there is none of that family
 */
export function primaryAddress(family: Family, tun: string): string | null {
  const interfaces = networkInterfaces();
  const local = new Set(localAddresses(tun));
  const device = defaultRouteDevice(family);
  const preferred = (device === null ? [] : (interfaces[device] ?? [])).filter(
    (found) => found.family === family,
  );
  const candidates = [...preferred.map(({ address }) => parseIp(address)?.text ?? ''), ...local];
  const isOfFamily = (address: string): boolean => address.includes(':') === (family === 'IPv6');
  return candidates.find((address) => local.has(address) && isOfFamily(address)) ?? null;
}

function defaultRouteDevice(family: Family): string | null {
  try {
    if (family === 'IPv4') {
      // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
      const routes = readFileSync('/proc/net/route', 'utf8')
        .split('\n')
        .map((line) => line.split('\t'));
      return routes.find((route) => route[1] === '00000000' && route[7] === '00000000')?.[0] ?? null;
    }
    // destination length source length next-hop metric refs use flags device
    const routes = readFileSync('/proc/net/ipv6_route', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/));
    return (
      routes.find((route) => /^0{32}$/.test(route[0] ?? '') && route[1] === '00' && route[9] !== 'lo')?.[9] ??
      null
    );
  } catch {
    return null;
  }
}

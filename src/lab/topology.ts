// Hosts around a router, each a network namespace, joined by veth pairs:
//
//                                    .---- node ----.
//    client  eth0 o------------o to-client   to-endpoint-0 o-----o eth0  endpoint-0
//          10.0.1.2/24      10.0.1.1    |    10.244.0.1        10.244.0.3/24
//                                       |
//                                       |    to-endpoint-1 o-----o eth0  endpoint-1
//                                       |    10.244.1.1        10.244.1.2/24
//                                       '--- ...
//
// A star, routed: every host's default route goes to the router, which knows all of them by its own links. The veth
// devices keep their offloads, so that packets reach the TUN device as they do on a real machine's own traffic: with
// partial checksums and, for bulk TCP, as super-packets.

import assert from 'node:assert/strict';
import { Host, type HostSpec } from './host.js';
import { run } from './process.js';

export interface TopologySpec {
  /** Name of the host in the middle. */
  readonly router: string;
  readonly hosts: readonly HostSpec[];
  /** Whether the router forwards packets from the start; without it, that is left to what runs on the router. */
  readonly forward?: boolean;
}

export interface Topology {
  readonly router: Host;
  /** The host of that name; throws when there is none. */
  host(name: string): Host;
  /** Ends every program started on the hosts. The namespaces go with the sandbox. */
  close(): Promise<void>;
}

/**
 * Builds the hosts. Inside a sandbox only (see sandbox.ts): the names must be free and are left to the sandbox's end.
 * Rejects with what `ip` said.
 */
export async function buildTopology(spec: TopologySpec): Promise<Topology> {
  const names = [spec.router, ...spec.hosts.map((host) => host.name)];
  await ipBatch(names.map((name) => `netns add ${name}`));
  const hosts = new Map(names.map((name) => [name, new Host(name)]));
  const hostNamed = (name: string): Host => {
    const host = hosts.get(name);
    if (host === undefined) throw new Error(`no host named ${name} in this topology`);
    return host;
  };
  const router = hostNamed(spec.router);

  await Promise.all(
    [...hosts.values()].map((host) => setSysctls(host, host === router && spec.forward === true)),
  );
  await ipBatch(
    spec.hosts.map(
      ({ name }) => `link add eth0 netns ${name} type veth peer name ${port(name)} netns ${spec.router}`,
    ),
  );
  await Promise.all([
    ipBatch(spec.hosts.flatMap(routerSide), spec.router),
    // The router's ends may come up later than these: an address needs no carrier, nor does a route via it.
    ...spec.hosts.map((host) => ipBatch(hostSide(host), host.name)),
  ]);
  return {
    router,
    host: hostNamed,
    close: async () => {
      await Promise.all([...hosts.values()].map((host) => host.close()));
    },
  };
}

/** Name of the router's device towards a host. */
function port(name: string): string {
  const device = `to-${name}`;
  assert(device.length <= 15, `device name ${device} is longer than IFNAMSIZ allows`);
  return device;
}

function hostSide({ addresses, gateways }: HostSpec): string[] {
  return [
    'link set lo up',
    'link set eth0 up',
    ...addresses.map((address) => `addr add ${address} dev eth0`),
    ...gateways.map((gateway) => `route add ${gateway.includes(':') ? '::/0' : '0.0.0.0/0'} via ${gateway}`),
  ];
}

function routerSide({ name, addresses, gateways }: HostSpec): string[] {
  assert(addresses.length === gateways.length, `host ${name}: one gateway per address`);
  const prefixOf = (address: string): string => address.slice(address.indexOf('/'));
  return [
    'link set lo up',
    `link set ${port(name)} up`,
    ...addresses.map((address, at) => `addr add ${gateways[at]}${prefixOf(address)} dev ${port(name)}`),
  ];
}

/** Runs lines of `ip` commands, in a host when one is named; stops at the first that fails. */
async function ipBatch(lines: readonly string[], host?: string): Promise<void> {
  const args = [...(host === undefined ? [] : ['-n', host]), '-batch', '-'];
  const { code, stderr } = await run('ip', args, { input: `${lines.join('\n')}\n` });
  if (code !== 0) throw new Error(`ip ${args.join(' ')} failed: ${stderr.trim()}`);
}

/** Settings that each namespace has for itself and that must hold before its devices come up. */
async function setSysctls(host: Host, forward: boolean): Promise<void> {
  const { code, stderr } = await host.run('sh', [
    '-c',
    // Without duplicate address detection an IPv6 address works at once and nothing changes by itself later
    // (Linux, networking/ip-sysctl, accept_dad). A kernel without IPv6 has no such file.
    `for key in all default; do
       file=/proc/sys/net/ipv6/conf/$key/accept_dad
       [ ! -e $file ] || echo 0 > $file || exit 1
     done
     ${forward ? 'echo 1 > /proc/sys/net/ipv4/ip_forward' : ''}`,
  ]);
  if (code !== 0) throw new Error(`settings of host ${host.name} failed: ${stderr.trim()}`);
}

// Two routers of the same shape, between links whose far ends are the test. One translates with the kernel's iptables, by
// the rules that kube-proxy would write; on the other runs `flowpin up`, and the kernel there has no rules at all.
//
//                         .------------- router --------------.
//   client side  (raw) clients 10.244.1.1        servers 10.244.2.1 (raw)  endpoint side
//   pod       10.244.1.9, fd00:244:1::9                      endpoint  10.244.2.7, fd00:244:2::7
//   outside   192.0.2.9, 2001:db8:1::9                       router    10.9.0.9, fd00:9::9
//   router    198.51.100.9, 2001:db8:2::9
//
// The default route leads to the client side, as on a node. Every Service has one endpoint, so that no choice is random.

import { spawnSync } from 'node:child_process';
import { flowpinArgs, startUp } from '../../src/lab/flowpin-up.js';
import type { Host } from '../../src/lab/host.js';
import { buildTopology } from '../../src/lab/topology.js';
import { frame, VNET_BYTES } from '../support/packets.js';
import { RawLink } from '../support/raw-link.js';
import { type PeerName, PORTS, SIDES, type Side } from './differential-script.js';
import { at, writeManifest } from './nodeport-lab.js';

export const FAMILIES = [
  {
    family: 'IPv4',
    pod: '10.244.1.9',
    outside: '192.0.2.9',
    vip: '10.96.0.10',
    emptyVip: '10.96.0.11',
    fenceVip: '10.96.0.12',
    endpoint: '10.244.2.7',
    /** Towards either side, and of flowpin's device. */
    node: ['10.244.1.1', '10.244.2.1', '198.18.0.1'],
    routers: { client: '198.51.100.9', endpoint: '10.9.0.9' },
    /** What each peer masquerades to. */
    masquerade: { kernel: /^10\.244\.2\.1:/, flowpin: /^198\.18\.0\.\d+:/ },
  },
  {
    family: 'IPv6',
    pod: 'fd00:244:1::9',
    outside: '2001:db8:1::9',
    vip: 'fd00:96::10',
    emptyVip: 'fd00:96::11',
    fenceVip: 'fd00:96::12',
    endpoint: 'fd00:244:2::7',
    node: ['fd00:244:1::1', 'fd00:244:2::1', 'fd00:198:18::1'],
    routers: { client: '2001:db8:2::9', endpoint: 'fd00:9::9' },
    masquerade: { kernel: /^\[fd00:244:2::1\]:/, flowpin: /^\[fd00:198:18::\w+\]:/ },
  },
] as const;
export type FamilyNames = (typeof FAMILIES)[number];

const LINKS = { client: 'clients', endpoint: 'servers' } as const;

/** A packet that came out, and on which side. */
export interface Output {
  readonly side: Side;
  readonly frame: Uint8Array;
}

const FENCE_PORT = 9;
const FENCE_TIMEOUT_MS = 5_000;

/** A router with raw links. */
export class Peer {
  readonly name: PeerName;
  readonly router: Host;
  private readonly links: Record<Side, RawLink>;
  private fences = 0;

  constructor(name: PeerName, router: Host, links: Record<Side, RawLink>) {
    this.name = name;
    this.router = router;
    this.links = links;
  }

  /** Sends packets into the router, in order. @returns everything that comes out for them */
  exchange(side: Side, frames: readonly Uint8Array[]): Output[] {
    for (const given of frames) this.links[side].send(given);
    // One worker reads its device in order and writes in order, so what it had to say is out when something that was sent
    // behind comes out. But a fragment that waited for its first is written behind its batch, and an ICMP error that the node
    // makes of what came out goes through the device as well: for those it takes a second one.
    return [...this.fence(), ...this.fence()];
  }

  close(): void {
    for (const side of SIDES) this.links[side].close();
  }

  /** Sends one more datagram behind everything and waits for it. @returns what came before it */
  private fence(): Output[] {
    const { outside, fenceVip } = FAMILIES[0];
    const payload = Buffer.from(`fence ${++this.fences}`);
    const ends = { from: at(outside, FENCE_PORT), to: at(fenceVip, FENCE_PORT) };
    this.links.client.send(frame({ ...ends, protocol: 'udp', payload }));
    const outputs: Output[] = [];
    const deadline = Date.now() + FENCE_TIMEOUT_MS;
    while (Date.now() < deadline) {
      this.links.endpoint.wait(deadline - Date.now());
      for (const side of SIDES) {
        for (const out of this.links[side].received())
          if (!isChatter(out)) outputs.push({ side, frame: out });
      }
      const fence = outputs.findIndex((output) => payload.equals(output.frame.subarray(-payload.length)));
      if (fence < 0) continue;
      outputs.splice(fence, 1);
      return outputs;
    }
    throw new Error(`${this.name}: a datagram did not come through within ${FENCE_TIMEOUT_MS} ms`);
  }
}

/** What a router says by itself about its links: multicast. */
function isChatter(out: Uint8Array): boolean {
  const packet = out.subarray(VNET_BYTES);
  return packet[0]! >> 4 === 4 ? packet[16]! >> 4 === 14 : packet[24] === 0xff;
}

/** Starts both peers. */
export async function startPeers(): Promise<Record<PeerName, Peer>> {
  const manifest = writeManifest(objects());
  const pods = ['--cluster-cidr', '10.244.0.0/16,fd00:244::/32', '--hostname-override', 'node'];
  const kernel = await buildPeer('kernel');
  const flowpin = await buildPeer('flowpin');
  for (const [family, prefix] of [
    ['IPv4', ''],
    ['IPv6', '6'],
  ] as const) {
    const args = [...flowpinArgs('export', 'iptables', '-f', manifest, '--ip-family', family), ...pods];
    const { stdout } = await kernel.router.run(process.execPath, args);
    await must(kernel.router, `ip${prefix}tables-restore`, ['--noflush'], stdout + JUMPS);
  }
  // One worker: several keep the order of a flow's packets only, and `exchange` waits for the packet that was sent last.
  await startUp(flowpin.router, {
    files: [manifest],
    args: [...pods, '--healthz-bind-address', '', '--workers', '1'],
  });
  return { kernel, flowpin };
}

/** The jumps into kube-proxy's chains, which it adds one by one (pkg/proxy/iptables/proxier.go, iptablesJumpChains). */
const JUMPS = `*filter
-A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
-A INPUT -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
-A FORWARD -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES
COMMIT
*nat
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
COMMIT
`;

async function buildPeer(name: PeerName): Promise<Peer> {
  const { router } = await buildTopology({ router: name, hosts: [], forward: true });
  const linkOf = (side: Side): RawLink => {
    const link = new RawLink(LINKS[side]);
    const { status, stderr } = spawnSync('ip', ['link', 'set', LINKS[side], 'netns', name], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
    return link;
  };
  const links = { client: linkOf('client'), endpoint: linkOf('endpoint') };
  await must(router, 'sh', ['-ec', SET_UP]);
  return new Peer(name, router, links);
}

// Errors must not be held back for having come too soon after others; and that the default route leads to where a packet
// came from is of the lab, not of a node.
const SET_UP = `
  echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
  echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
  echo 0 > /proc/sys/net/ipv6/icmp/ratelimit
  for conf in all default clients servers; do echo 0 > /proc/sys/net/ipv4/conf/$conf/send_redirects; done
  for link in clients servers; do
    ip link set $link addrgenmode none
    ip link set $link up
  done
  ip addr add 10.244.1.1/24 dev clients; ip addr add fd00:244:1::1/64 dev clients
  ip addr add 10.244.2.1/24 dev servers; ip addr add fd00:244:2::1/64 dev servers
  ip route add 10.9.0.0/24 dev servers;  ip route add fd00:9::/64 dev servers
  ip route add default dev clients;      ip -6 route add default dev clients`;

async function must(host: Host, command: string, args: readonly string[], input?: string): Promise<void> {
  const { code, stderr } = await host.run(command, args, input === undefined ? {} : { input });
  if (code !== 0) throw new Error(`${command} on ${host.name}: ${stderr.trim()}`);
}

function objects(): object[] {
  const served = [
    { name: 'tcp', protocol: 'TCP', port: PORTS.tcp.service, targetPort: PORTS.tcp.endpoint },
    { name: 'udp', protocol: 'UDP', port: PORTS.udp.service, targetPort: PORTS.udp.endpoint },
  ];
  const fence = [{ name: 'fence', protocol: 'UDP', port: FENCE_PORT, targetPort: FENCE_PORT }];
  return [
    ...service('web', 'vip', served, true),
    ...service('empty', 'emptyVip', served, false),
    ...service('fence', 'fenceVip', fence, true),
  ];
}

interface Port {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly targetPort: number;
}

function service(
  name: string,
  vip: 'vip' | 'emptyVip' | 'fenceVip',
  ports: Port[],
  ready: boolean,
): object[] {
  const clusterIPs = FAMILIES.map((names) => names[vip]);
  const metadata = { name, namespace: 'differential' };
  const slices = FAMILIES.map((names) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${names.family.toLowerCase()}`,
      namespace: 'differential',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: names.family,
    ports: ports.map((port) => ({ name: port.name, protocol: port.protocol, port: port.targetPort })),
    endpoints: [{ addresses: [names.endpoint], conditions: { ready } }],
  }));
  const spec = { clusterIP: clusterIPs[0], clusterIPs, ports };
  return [{ apiVersion: 'v1', kind: 'Service', metadata, spec }, ...slices];
}

/** Why the kernel cannot be the peer here, in one line; false when it can. */
export function kernelUnable(): string | false {
  for (const tool of ['iptables-restore', 'ip6tables-restore']) {
    const { error, status, stderr } = spawnSync(tool, ['--noflush', '--test'], {
      input: TRIAL,
      encoding: 'utf8',
    });
    if (error) return `\`${tool}\` is not installed: apt install iptables`;
    if (status !== 0) return `${tool} does not work here: ${stderr.trim().split('\n')[0]}`;
  }
  return false;
}

const TRIAL = `*filter
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -j REJECT
COMMIT
*nat
-A POSTROUTING -j MASQUERADE
COMMIT
`;

/**
 * What `up` changes on the host, in order, and how each change is taken back. A function of the configuration and of the
 * planned Services alone, so that while it runs a change of Services is a difference of two plans. For each family that
 * has a Service port:
 *
 *   routes      to ClusterIPs, external IPs and load-balancer VIPs, and to the SNAT pool, into the TUN device
 *   forwarding  on, because what comes out of the device is forwarded to the endpoints
 *
 * Addresses that the host itself has, on which NodePorts are, are in the table `local`, which every lookup asks first.
 * For them rules go ahead of it; and for the replies of flows whose source was kept, rules go behind it:
 *
 *     40  iif TUN                   goto 100        what the device wrote goes its way as if flowpin were not there
 *     41  ipproto 6 dport 30080     lookup CAPTURE  has only this host's addresses: packets for others fall through
 *     41  to ADDR ipproto ..        lookup CAPTURE  an external IP that is an address of this host
 *     42  ipproto 6 dport 1-65534   goto 100        whatever else has ports, to leave
 *     43  ipproto 6                 lookup CAPTURE  fragments, whose ports nobody knows
 *    100                            lookup local    moved here from 0, as Cilium does
 *    101  iif TUN                   goto 104
 *    102  iif lo                    goto 104        the host's own packets, and with them strict rp_filter's lookups
 *    103  from POD CIDR to POD CIDR lookup REPLIES  default route into the device
 *    103  from LOCAL ENDPOINT ..    lookup REPLIES  of Services with externalTrafficPolicy Local
 *    104                            nop
 *
 * docs/decisions/ has what was tried.
 */
import type { Plan, PlannedPort } from '../control/compile/plan.js';
import type { ProxyOptions } from '../control/model/proxy-options.js';
import { EXIT, Failure } from '../shared/failure.js';
import { type Cidr, cidrContains, type Family, parseCidr } from '../wire/address.js';
import { PROTOCOL } from '../wire/ipv4.js';
import { type Change, ip, sysctl } from './change.js';
import type { FamilyFacts, HostFacts } from './facts.js';
import type { SnatPool } from './snat-pool.js';

export interface HostConfig {
  /** Name of the device. */
  readonly tun: string;
  /** One a family. */
  readonly snatPools: readonly SnatPool[];
}

/** Where the table `local` is moved to when it is the first, and where the rules ahead of it are. */
const LOCAL_PREF = 100;
export const CAPTURE_PREF = 40;
/** The last of these. */
const FRAGMENT_PREF = CAPTURE_PREF + 3;

/** What the host is planned for: of `compile/plan.ts`, what this file looks at. */
export type HostPlan = Pick<Plan, 'ports'>;
export type HostOptions = Pick<
  ProxyOptions,
  'nodeIP' | 'nodeIPs' | 'nodePortAddresses' | 'localhostNodePorts' | 'clusterCIDRs'
>;

/**
 * @param facts how the host was before the first change; families that it has not are left out
 * @throws Failure when somebody's policy routing leaves no room for what the Services need
 */
export function planHost(
  config: HostConfig,
  plan: HostPlan,
  options: HostOptions,
  facts: HostFacts,
): Change[] {
  const { tun } = config;
  return [
    {
      apply: ip(`tuntap add dev ${tun} mode tun multi_queue vnet_hdr`),
      undo: ip(`tuntap del dev ${tun} mode tun multi_queue`),
    },
    // No link-local address: the kernel would send router solicitations into the device.
    { apply: ip(`link set dev ${tun} addrgenmode none`) },
    { apply: ip(`link set dev ${tun} up`) },
    ...config.snatPools.flatMap((pool) => {
      const { family } = pool;
      const ports = plan.ports.filter(({ servicePort }) => servicePort.family === family);
      const known = facts[family];
      if (known === null || ports.length === 0) return [];
      return familyChanges({
        family,
        tun,
        pool,
        ports,
        options,
        facts: known,
        nodeIP: sourceAddress(pool, options),
        destinations: destinationsOf(ports, options),
      });
    }),
  ];
}

/** One family's part of the plan. */
interface FamilyPlan {
  readonly family: Family;
  readonly tun: string;
  readonly pool: SnatPool;
  readonly ports: readonly PlannedPort[];
  readonly options: HostOptions;
  readonly facts: FamilyFacts;
  /** The address that the host's own connections come from. */
  readonly nodeIP: string;
  readonly destinations: Destinations;
}

const familyChanges = (plan: FamilyPlan): Change[] => [
  ...deviceChanges(plan),
  ...forwardingChanges(plan),
  ...routeChanges(plan),
  ...captureChanges(plan),
  ...replyChanges(plan),
];

/** What a family needs once, whatever its Services. It stays: flows of Services that are gone live on by it. */
function deviceChanges({ family, tun, pool }: FamilyPlan): Change[] {
  const own = hostPrefix(family, pool.own);
  return [
    {
      apply: ip(`address add ${own} dev ${tun}${family === 'IPv6' ? ' nodad' : ''}`, family),
      undo: ip(`address del ${own} dev ${tun}`, family),
      goesWithDevice: true,
      stays: true,
    },
    ...(family === 'IPv4'
      ? [deviceSetting(tun, 'rp_filter', '2'), deviceSetting(tun, 'accept_local', '1')]
      : []),
    { ...route(family, `${pool.cidr} dev ${tun}`), stays: true },
  ];
}

/**
 * rp_filter: sources that live behind other devices come out of this one, when a pod's address is kept. accept_local:
 * replies of NodePorts come from addresses of this host. route_localnet: those of 127.0.0.1 too; on this device only,
 * which nothing but flowpin writes to (compare CVE-2020-8558).
 */
const deviceSetting = (
  tun: string,
  key: 'rp_filter' | 'accept_local' | 'route_localnet',
  value: string,
): Change => ({
  apply: sysctl(`net.ipv4.conf.${sysctlDevice(tun)}.${key}`, value),
  stays: true,
});

function forwardingChanges({ family, facts }: FamilyPlan): Change[] {
  if (facts.forwarding) return [];
  const setting = (name: string, value: string, before: string): Change => ({
    apply: sysctl(name, value),
    undo: sysctl(name, before),
    stays: true,
  });
  return [
    // Written as they are, for the sake of their undo: it runs after forwarding is off again.
    ...facts.lostByForwarding.map(([name, value]) => setting(name, value, value)),
    // With 1 the kernel forgets routes learnt from router advertisements when forwarding comes on; 2 keeps them.
    ...facts.acceptRa.map((device) => setting(`net.ipv6.conf.${sysctlDevice(device)}.accept_ra`, '2', '1')),
    setting(family === 'IPv4' ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding', '1', '0'),
  ];
}

const routeChanges = ({ family, tun, pool, destinations, nodeIP }: FamilyPlan): Change[] => [
  ...destinations.clusterIPs.map((address) => serviceRoute(family, address, `dev ${tun} src ${pool.own}`)),
  // From the address that loadBalancerSourceRanges know this host by.
  ...destinations.externalIPs.map((address) => serviceRoute(family, address, `dev ${tun} src ${nodeIP}`)),
];

/** Packets for this host's own addresses. */
function captureChanges({
  family,
  tun,
  pool,
  ports,
  options,
  facts,
  nodeIP,
  destinations,
}: FamilyPlan): Change[] {
  const wanted = nodePortsOf(ports);
  const nodePortAddresses = wanted.length === 0 ? [] : nodePortAddressesOf(family, options, pool);
  const nodePorts = nodePortAddresses.length === 0 ? [] : wanted;
  const { localIPs } = destinations;
  const captured = new Set([
    ...nodePortAddresses,
    ...localIPs.map(({ address }) => hostPrefix(family, address)),
  ]);
  if (captured.size === 0) return [];
  const [capture] = facts.tables;
  const rulePref = CAPTURE_PREF + 1;
  const localPref = localPrefOf(facts);
  return [
    ...(facts.localPref === localPref ? [] : moveOfLocal(family)),
    { ...rule(family, `pref ${CAPTURE_PREF} iif ${tun} goto ${localPref}`), stays: true as const },
    ...(captured.has(LOOPBACK) ? [deviceSetting(tun, 'route_localnet', '1')] : []),
    ...[...captured].map((prefix) => ({
      ...route(family, `${prefix} dev ${tun} src ${nodeIP} table ${capture}`),
      stays: true as const,
    })),
    ...fragmentRules(family, capture, localPref, [...nodePorts, ...localIPs]),
    ...nodePorts.map(({ protocol, from, to }) =>
      lingeringRule(
        family,
        `pref ${rulePref} ipproto ${protocol} dport ${from === to ? from : `${from}-${to}`} lookup ${capture}`,
      ),
    ),
    ...localIPs.map(({ address, protocol, port }) =>
      lingeringRule(
        family,
        `pref ${rulePref} to ${address} ipproto ${protocol} dport ${port} lookup ${capture}`,
      ),
    ),
  ];
}

/**
 * The kernel reads ports from no fragment, and a rule that names ports does not match then; nor may one name port 0. So what has
 * any port is led past, and fragments are what is left (and port 65535, which a range cannot end at). Those of datagrams that
 * are not for a NodePort go through the device, and out of it as they came.
 */
const fragmentRules = (
  family: Family,
  capture: number,
  localPref: number,
  captured: readonly { readonly protocol: number }[],
): Change[] =>
  [...new Set(captured.map(({ protocol }) => protocol))]
    .filter((protocol) => protocol !== PROTOCOL.SCTP) // its CRC cannot be updated in part
    .flatMap((protocol) => [
      rule(family, `pref ${FRAGMENT_PREF - 1} ipproto ${protocol} dport 1-65534 goto ${localPref}`),
      rule(family, `pref ${FRAGMENT_PREF} ipproto ${protocol} lookup ${capture}`),
    ])
    .map((change) => ({ ...change, stays: true as const }));

/** @throws Failure when there is no room in front of the table `local` */
function localPrefOf({ localPref }: FamilyFacts): number {
  if (localPref === 0) return LOCAL_PREF;
  if (localPref > FRAGMENT_PREF) return localPref;
  throw new Failure(
    EXIT.HOST,
    `the rule that looks up the table local has preference ${localPref} (ip rule show): NodePorts need it at 0, where the kernel has it, or behind ${FRAGMENT_PREF}`,
  );
}

/** Never without: the other one is there before the first goes, and the first is back before the other goes. */
const moveOfLocal = (family: Family): Change[] => [
  { ...rule(family, `pref ${LOCAL_PREF} lookup local`), stays: true },
  {
    apply: ip('rule del pref 0 lookup local', family),
    undo: ip('rule add pref 0 lookup local', family),
    stays: true,
  },
];

/** Replies of flows whose source was kept: they are addressed to the client itself and would not come back by themselves. */
function replyChanges({ family, tun, ports, options, facts }: FamilyPlan): Change[] {
  const podCidrs = options.clusterCIDRs
    .flatMap((text) => parseCidr(text) ?? [])
    .filter((cidr) => cidr.family === family);
  if (podCidrs.length === 0) return [];
  const [, replies] = facts.tables;
  const first = localPrefOf(facts) + 1;
  const last = first + 3;
  const once: Change[] = [
    rule(family, `pref ${last} nop`),
    rule(family, `pref ${first} iif ${tun} goto ${last}`),
    rule(family, `pref ${first + 1} iif lo goto ${last}`),
    route(family, `default dev ${tun} table ${replies}`),
    ...podCidrs.flatMap((from) =>
      podCidrs.map((to) =>
        rule(family, `pref ${first + 2} from ${from.text} to ${to.text} lookup ${replies}`),
      ),
    ),
  ];
  return [
    ...once.map((change) => ({ ...change, stays: true as const })),
    ...localEndpoints(ports, podCidrs).map(({ address, protocol, port }) =>
      lingeringRule(
        family,
        `pref ${first + 2} from ${address} ipproto ${protocol} sport ${port} lookup ${replies}`,
      ),
    ),
  ];
}

interface PortOfAddress {
  readonly address: string;
  /** By number: ip(8) knows the names from /etc/protocols only, which a small host does not have. */
  readonly protocol: number;
  readonly port: number;
}

interface Destinations {
  readonly clusterIPs: readonly string[];
  /** External IPs and load-balancer VIPs that the host itself does not have. */
  readonly externalIPs: readonly string[];
  /** Those that it has. */
  readonly localIPs: readonly PortOfAddress[];
}

function destinationsOf(ports: readonly PlannedPort[], { nodeIPs }: HostOptions): Destinations {
  const local = new Set(nodeIPs);
  const clusterIPs = new Set<string>();
  const externalIPs = new Set<string>();
  const localIPs = new Map<string, PortOfAddress>();
  for (const { servicePort } of ports) {
    const protocol = PROTOCOL[servicePort.protocol];
    const { port } = servicePort;
    const add = (address: string, routed: Set<string>): void => {
      if (local.has(address)) localIPs.set(`${address} ${protocol} ${port}`, { address, protocol, port });
      else routed.add(address);
    };
    add(servicePort.clusterIP, clusterIPs);
    for (const address of servicePort.externalIPs) add(address, externalIPs);
    for (const address of servicePort.loadBalancerVIPs) add(address, externalIPs);
  }
  for (const address of clusterIPs) externalIPs.delete(address);
  return { clusterIPs: [...clusterIPs], externalIPs: [...externalIPs], localIPs: [...localIPs.values()] };
}

const LOOPBACK = '127.0.0.0/8';

/** Prefixes of this host's addresses that answer on NodePorts. */
function nodePortAddressesOf(family: Family, options: HostOptions, pool: SnatPool): string[] {
  const allowed = options.nodePortAddresses;
  const addresses = options.nodeIPs.filter(
    (address) =>
      address.includes(':') === (family === 'IPv6') &&
      address !== pool.own &&
      (allowed === null || allowed.some((cidr) => cidrContains(cidr, address))),
  );
  const prefixes = addresses.map((address) => hostPrefix(family, address));
  return family === 'IPv4' && options.localhostNodePorts ? [...prefixes, LOOPBACK] : prefixes;
}

interface PortRange {
  /** By number, as in PortOfAddress. */
  readonly protocol: number;
  readonly from: number;
  readonly to: number;
}

/** NodePorts in use; neighbours together, because every packet of the host goes by every rule. */
function nodePortsOf(ports: readonly PlannedPort[]): PortRange[] {
  const ranges: PortRange[] = [];
  for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
    const ofProtocol = ports.filter(
      ({ servicePort }) => servicePort.protocol === protocol && servicePort.nodePort > 0,
    );
    const numbers = [...new Set(ofProtocol.map(({ servicePort }) => servicePort.nodePort))].sort(
      (a, b) => a - b,
    );
    for (const [index, from] of numbers.entries()) {
      if (index > 0 && numbers[index - 1] === from - 1) continue;
      let to = from;
      for (let next = index + 1; numbers[next] === to + 1; next++) to++;
      ranges.push({ protocol: PROTOCOL[protocol], from, to });
    }
  }
  return ranges;
}

/** Pods of this node that clients from outside reach with their source kept. */
function localEndpoints(ports: readonly PlannedPort[], podCidrs: readonly Cidr[]): PortOfAddress[] {
  const found = new Map<string, PortOfAddress>();
  for (const { servicePort, endpoints } of ports) {
    const { nodePort, externalIPs, loadBalancerVIPs, externalTrafficPolicy } = servicePort;
    const isExternal = nodePort > 0 || externalIPs.length + loadBalancerVIPs.length > 0;
    if (externalTrafficPolicy !== 'Local' || !isExternal) continue;
    const protocol = PROTOCOL[servicePort.protocol];
    for (const { ip: address, port } of endpoints.local ?? []) {
      if (!podCidrs.some((cidr) => cidrContains(cidr.text, address))) continue;
      found.set(`${address} ${protocol} ${port}`, { address, protocol, port });
    }
  }
  return [...found.values()];
}

/** The node's address, if this host really has it: the kernel takes no other as the preferred source of a route. */
function sourceAddress({ family, own }: SnatPool, { nodeIP, nodeIPs }: HostOptions): string {
  const usable = nodeIPs.filter(
    (address) => address.includes(':') === (family === 'IPv6') && address !== own,
  );
  return usable.find((address) => address === nodeIP) ?? usable[0] ?? own;
}

const hostPrefix = (family: Family, address: string): string => `${address}/${family === 'IPv4' ? 32 : 128}`;
const sysctlDevice = (device: string): string => device.replaceAll('.', '/');

/** @param words behind "route add" */
const route = (family: Family, words: string): Change => ({
  apply: ip(`route add ${words}`, family),
  undo: ip(`route del ${words}`, family),
  goesWithDevice: true,
});

const serviceRoute = (family: Family, address: string, words: string): Change => ({
  ...route(family, `${hostPrefix(family, address)} ${words}`),
  ofService: true,
});

/** @param words behind "rule add" */
const rule = (family: Family, words: string): Change => ({
  apply: ip(`rule add ${words}`, family),
  undo: ip(`rule del ${words}`, family),
});

/** Packets that nothing answers any more go through the device and out of it unchanged, so the rule does no harm. */
const lingeringRule = (family: Family, words: string): Change => ({
  ...rule(family, words),
  ofService: true,
  lingers: true,
});

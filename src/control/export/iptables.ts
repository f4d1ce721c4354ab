/**
 * A plan as the rules that kube-proxy's iptables mode would write for it: pkg/proxy/iptables/proxier.go, syncProxyRules. The
 * same plan is compiled for the workers, so the text shows in kube-proxy's words what they decide, byte for byte as kube-proxy
 * writes it. Choices of the workers that kube-proxy has no rule for (algorithms, retry) are not in it.
 */
import type { Family } from '../../wire/address.js';
import type { Plan } from '../compile/plan.js';
import { type Endpoint, endpointText } from '../model/endpoint.js';
import type { ProxyOptions } from '../model/proxy-options.js';
import { isExternallyAccessible } from '../model/service-port.js';
import { endpointChainName, serviceChainName } from './chain-names.js';
import { allowedSources, nodePortIPs, type PortFacts, podCidrOf, portFacts } from './port-facts.js';
import { probabilityText } from './probability.js';
import { RestoreTable } from './restore-text.js';

/** What of the text depends on the kernel, on the version of kube-proxy and on what was written before. */
export interface IptablesExport {
  /** iptables-restore reads one family, ip6tables-restore the other. */
  readonly family: Family;
  /** The kernel knows `MASQUERADE --random-fully` (4.x and later do). */
  readonly randomFully: boolean;
  /**
   * Count dropped INVALID packets and connections to NodePorts on 127.0.0.0/8 with nfacct, as newer versions of kube-proxy
   * do where the kernel can. iptables-restore then refuses the text unless counters of these names are there.
   */
  readonly nfacct: boolean;
  /** nf_conntrack_tcp_be_liberal is set: INVALID packets are let through. */
  readonly conntrackTCPLiberal: boolean;
  /** Which bit of the packet mark asks for masquerading: iptables.masqueradeBit, 14 unless configured. */
  readonly masqueradeBit: number;
  /** Leave out comments on endpoints; null: when there are more than 1000 endpoints. */
  readonly largeCluster: boolean | null;
  /** null: write everything. Otherwise only what changed since a text before. */
  readonly partial: PartialSync | null;
}

export interface PartialSync {
  /** "namespace/name" of the Services that changed; chains of the others stay as they are. */
  readonly changed: ReadonlySet<string>;
  /** Chains of Services and endpoints that are gone. */
  readonly gone: readonly string[];
}

/** What kube-proxy writes on a kernel without nfacct, and what older versions of it write on every kernel. */
export const DEFAULT_IPTABLES_EXPORT: IptablesExport = {
  family: 'IPv4',
  randomFully: false,
  nfacct: false,
  conntrackTCPLiberal: false,
  masqueradeBit: 14,
  largeCluster: null,
  partial: null,
};

/** proxier.go, largeClusterEndpointsThreshold. */
export const LARGE_CLUSTER_ENDPOINT_COUNT = 1000;

/** @returns text for `iptables-restore --noflush`, or `ip6tables-restore` for IPv6 */
export function iptablesText(plan: Plan, options: ProxyOptions, given: IptablesExport): string {
  const { filter, nat } = tablesOf(plan, options, given);
  return filter.text() + nat.text();
}

/** @returns the chains that belong to one Service port or endpoint, to find out which are gone after a change */
export function serviceChainsOf(plan: Plan, options: ProxyOptions, given: IptablesExport): string[] {
  const { nat } = tablesOf(plan, options, { ...given, partial: null });
  return nat.chains().filter((chain) => /^KUBE-(SVC|SVL|EXT|FW|SEP)-/.test(chain));
}

interface Sync {
  readonly options: ProxyOptions;
  readonly given: IptablesExport;
  readonly filter: RestoreTable;
  readonly nat: RestoreTable;
  /** "0x4000" */
  readonly mark: string;
  readonly hasLocalhostNodePorts: boolean;
  /** The pods' CIDR of this family; null: there is no local detector. */
  readonly podCidr: string | null;
  readonly isLargeCluster: boolean;
}

function tablesOf(plan: Plan, options: ProxyOptions, given: IptablesExport): Sync {
  const { family } = given;
  const ports = portFacts(plan, family);
  const endpointCount = ports.reduce((sum, { all }) => sum + all.length, 0);
  const sync: Sync = {
    options,
    given,
    filter: new RestoreTable('filter'),
    nat: new RestoreTable('nat'),
    mark: `0x${(2 ** given.masqueradeBit).toString(16)}`,
    hasLocalhostNodePorts: family === 'IPv4' && options.localhostNodePorts,
    podCidr: podCidrOf(options, family),
    isLargeCluster: given.largeCluster ?? endpointCount > LARGE_CLUSTER_ENDPOINT_COUNT,
  };
  writeTopLevel(sync);
  for (const port of ports) writeServicePort(sync, rulesOf(port));
  for (const chain of given.partial?.gone ?? []) sync.nat.delete(chain);
  writeNodePortJump(sync);
  writeForward(sync);
  return sync;
}

function writeTopLevel({ filter, nat, mark, given, hasLocalhostNodePorts }: Sync): void {
  for (const chain of ['SERVICES', 'EXTERNAL-SERVICES', 'FORWARD', 'NODEPORTS', 'PROXY-FIREWALL']) {
    filter.declare(`KUBE-${chain}`);
  }
  for (const chain of ['SERVICES', 'NODEPORTS', 'POSTROUTING', 'MARK-MASQ']) nat.declare(`KUBE-${chain}`);
  nat.append('KUBE-POSTROUTING', null, '-m', 'mark', '!', '--mark', `${mark}/${mark}`, '-j', 'RETURN');
  // Cleared, so that a packet that comes by again is not masqueraded twice.
  nat.append('KUBE-POSTROUTING', null, '-j', 'MARK', '--xor-mark', mark);
  nat.append(
    'KUBE-POSTROUTING',
    'kubernetes service traffic requiring SNAT',
    ['-j', 'MASQUERADE'],
    given.randomFully ? ['--random-fully'] : [],
  );
  nat.append('KUBE-MARK-MASQ', null, '-j', 'MARK', '--or-mark', mark);
  if (hasLocalhostNodePorts) {
    // NodePorts on 127.0.0.1 need route_localnet, which lets neighbours in (CVE-2020-8558); kubelet has the same rule.
    filter.declare('KUBE-FIREWALL');
    filter.append(
      'KUBE-FIREWALL',
      'block incoming localnet connections',
      ['-d', '127.0.0.0/8', '!', '-s', '127.0.0.0/8'],
      ['-m', 'conntrack', '!', '--ctstate', 'RELATED,ESTABLISHED,DNAT', '-j', 'DROP'],
    );
  }
}

/** A Service port with the names that its rules are written with. */
interface PortRules extends PortFacts {
  /** "-m tcp -p tcp" */
  readonly match: readonly string[];
  /** Each kind of chain by its name. */
  readonly chain: { readonly svc: string; readonly svl: string; readonly ext: string; readonly fw: string };
  readonly isFirewalled: boolean;
}

function rulesOf(facts: PortFacts): PortRules {
  const { port, protocol, hasEndpoints } = facts;
  return {
    ...facts,
    match: ['-m', protocol, '-p', protocol],
    chain: {
      svc: serviceChainName('SVC', port.name),
      svl: serviceChainName('SVL', port.name),
      ext: serviceChainName('EXT', port.name),
      fw: serviceChainName('FW', port.name),
    },
    isFirewalled:
      hasEndpoints && port.loadBalancerVIPs.length > 0 && port.loadBalancerSourceRanges.length > 0,
  };
}

function writeServicePort(sync: Sync, rules: PortRules): void {
  writeClusterIP(sync, rules);
  writeExternalIPs(sync, rules);
  writeLoadBalancerVIPs(sync, rules);
  writeNodePort(sync, rules);
  writeHealthCheckNodePort(sync, rules);
  const { namespace, name } = rules.port.name;
  const { partial } = sync.given;
  // The rules above stand in chains that all Services share; those are always written anew.
  if (partial !== null && !partial.changed.has(`${namespace}/${name}`)) return;
  writePolicyChains(sync, rules);
  writeInternalMasquerade(sync, rules);
  writeExternalChain(sync, rules);
  writeFirewallChain(sync, rules);
  const { chain, cluster, local } = rules;
  writeChoice(sync, rules, chain.svc, cluster);
  writeChoice(sync, rules, chain.svl, local);
  for (const endpoint of rules.all) writeEndpoint(sync, rules, endpoint);
}

const to = (address: string, port: number): string[] => ['-d', address, '--dport', String(port)];

function writeClusterIP({ filter, nat }: Sync, rules: PortRules): void {
  const { name, match, port, hasInternal } = rules;
  const where = [...match, ...to(port.clusterIP, port.port)];
  if (hasInternal) nat.append('KUBE-SERVICES', `${name} cluster IP`, where, '-j', internalChain(rules));
  else filter.append('KUBE-SERVICES', refusalComment(rules), where, '-j', refusalTarget(rules));
}

/** The refusal stands beside the jump: what the EXT chain sends to an endpoint has another destination by then. */
function writeExternalIPs({ filter, nat }: Sync, rules: PortRules): void {
  const { name, match, port, chain, hasEndpoints, hasExternal } = rules;
  for (const externalIP of port.externalIPs) {
    const where = [...match, ...to(externalIP, port.port)];
    if (hasEndpoints) nat.append('KUBE-SERVICES', `${name} external IP`, where, '-j', chain.ext);
    if (!hasExternal) {
      filter.append('KUBE-EXTERNAL-SERVICES', refusalComment(rules), where, '-j', refusalTarget(rules));
    }
  }
}

function writeLoadBalancerVIPs({ filter, nat }: Sync, rules: PortRules): void {
  const { name, match, port, chain, hasEndpoints, hasExternal, isFirewalled } = rules;
  for (const vip of port.loadBalancerVIPs) {
    const where = [...match, ...to(vip, port.port)];
    if (hasEndpoints) {
      nat.append(
        'KUBE-SERVICES',
        `${name} loadbalancer IP`,
        where,
        '-j',
        isFirewalled ? chain.fw : chain.ext,
      );
    }
    if (isFirewalled) {
      const comment = `${name} traffic not accepted by ${chain.fw}`;
      filter.append('KUBE-PROXY-FIREWALL', comment, where, '-j', 'DROP');
    }
    if (!hasExternal) {
      filter.append('KUBE-EXTERNAL-SERVICES', refusalComment(rules), where, '-j', refusalTarget(rules));
    }
  }
}

function writeNodePort({ filter, nat, given, hasLocalhostNodePorts }: Sync, rules: PortRules): void {
  const { name, match, port, chain, hasEndpoints, hasExternal } = rules;
  if (port.nodePort === 0) return;
  const nodePort = ['--dport', String(port.nodePort)];
  if (hasEndpoints) {
    if (hasLocalhostNodePorts && given.nfacct) {
      const count = ['-m', 'nfacct', '--nfacct-name', 'localhost_nps_accepted_pkts'];
      nat.append('KUBE-NODEPORTS', name, match, to('127.0.0.0/8', port.nodePort), count, '-j', chain.ext);
    }
    nat.append('KUBE-NODEPORTS', name, match, nodePort, '-j', chain.ext);
  }
  if (!hasExternal) {
    const local = ['-m', 'addrtype', '--dst-type', 'LOCAL'];
    const target = refusalTarget(rules);
    filter.append('KUBE-EXTERNAL-SERVICES', refusalComment(rules), local, match, nodePort, '-j', target);
  }
}

/** kube-proxy itself answers there; the load balancer must reach it whatever the host's firewall says. */
function writeHealthCheckNodePort({ filter }: Sync, { name, port }: PortRules): void {
  if (port.healthCheckNodePort === 0) return;
  const where = ['-m', 'tcp', '-p', 'tcp', '--dport', String(port.healthCheckNodePort)];
  filter.append('KUBE-NODEPORTS', `${name} health check node port`, where, '-j', 'ACCEPT');
}

/** One for each policy that has an endpoint; their first rule masquerades, so they come before it. */
function writePolicyChains({ nat }: Sync, { chain, cluster, local }: PortRules): void {
  if (cluster.length > 0) nat.declare(chain.svc);
  if (local.length > 0) nat.declare(chain.svl);
}

function writeInternalMasquerade({ nat, options, podCidr }: Sync, rules: PortRules): void {
  const { name, match, port, hasInternal } = rules;
  if (!hasInternal) return;
  const where = [...match, ...to(port.clusterIP, port.port)];
  // Who is no pod may have been routed to any node for the ClusterIP: replies must come back through this one.
  const notAPod = options.masqueradeAll ? [] : podCidr === null ? null : ['!', '-s', podCidr];
  if (notAPod === null) return;
  nat.append(internalChain(rules), `${name} cluster IP`, where, notAPod, '-j', 'KUBE-MARK-MASQ');
}

function writeExternalChain({ nat, podCidr }: Sync, rules: PortRules): void {
  const { name, port, chain, hasEndpoints, hasExternal } = rules;
  if (!hasEndpoints || !isExternallyAccessible(port)) return;
  nat.declare(chain.ext);
  if (port.externalTrafficPolicy === 'Cluster') {
    nat.append(chain.ext, `masquerade traffic for ${name} external destinations`, '-j', 'KUBE-MARK-MASQ');
  } else {
    const external = `for ${name} external destinations`;
    const fromNode = ['-m', 'addrtype', '--src-type', 'LOCAL'];
    // Pods and the node itself are spared the policy, as if they had gone out to the load balancer and come back.
    if (podCidr !== null) nat.append(chain.ext, `pod traffic ${external}`, '-s', podCidr, '-j', chain.svc);
    nat.append(chain.ext, `masquerade LOCAL traffic ${external}`, fromNode, '-j', 'KUBE-MARK-MASQ');
    nat.append(chain.ext, `route LOCAL traffic ${external}`, fromNode, '-j', chain.svc);
  }
  if (hasExternal) {
    nat.append(chain.ext, null, '-j', port.externalTrafficPolicy === 'Local' ? chain.svl : chain.svc);
  }
}

function writeFirewallChain({ nat, options }: Sync, rules: PortRules): void {
  const { name, chain, isFirewalled } = rules;
  if (!isFirewalled) return;
  nat.declare(chain.fw);
  for (const source of allowedSources(rules, options)) {
    nat.append(chain.fw, `${name} loadbalancer IP`, '-s', source, '-j', chain.ext);
  }
  nat.append(chain.fw, `other traffic to ${name} will be dropped by KUBE-PROXY-FIREWALL`);
}

/** First whoever was there before (session affinity), then the cascade 1/n, 1/(n-1), ... 1. */
function writeChoice(sync: Sync, rules: PortRules, chain: string, endpoints: readonly Endpoint[]): void {
  const { name, port } = rules;
  const choices = endpoints.map((endpoint) => ({
    comment: sync.isLargeCluster ? null : `${name} -> ${endpointText(endpoint)}`,
    target: endpointChainName(port.name, endpoint),
  }));
  if (port.affinitySec > 0) {
    for (const { comment, target } of choices) {
      const recent = ['-m', 'recent', '--name', target, '--rcheck'];
      sync.nat.append(chain, comment, recent, '--seconds', String(port.affinitySec), '--reap', '-j', target);
    }
  }
  for (const [index, { comment, target }] of choices.entries()) {
    const rest = choices.length - index;
    const probability = ['-m', 'statistic', '--mode', 'random', '--probability', probabilityText(rest)];
    sync.nat.append(chain, comment, rest > 1 ? probability : [], '-j', target);
  }
}

function writeEndpoint({ nat, isLargeCluster }: Sync, rules: PortRules, endpoint: Endpoint): void {
  const { name, match, port } = rules;
  const chain = endpointChainName(port.name, endpoint);
  const comment = isLargeCluster ? null : name;
  nat.declare(chain);
  // Hairpin: its own reply would go straight to itself, without the way back through the node.
  nat.append(chain, comment, '-s', endpoint.ip, '-j', 'KUBE-MARK-MASQ');
  const remember = port.affinitySec > 0 ? ['-m', 'recent', '--name', chain, '--set'] : [];
  nat.append(chain, comment, remember, match, '-j', 'DNAT', '--to-destination', endpointText(endpoint));
}

const NODE_PORT_JUMP = 'kubernetes service nodeports; NOTE: this must be the last rule in this chain';

function writeNodePortJump({ nat, options, given, hasLocalhostNodePorts }: Sync): void {
  const { family } = given;
  const loopback = hasLocalhostNodePorts ? options.loopbackIPs : [];
  const ips = nodePortIPs(options, family, [...options.nodeIPs, ...loopback]);
  if (ips === null) {
    const localhost = family === 'IPv6' ? '::1/128' : hasLocalhostNodePorts ? null : '127.0.0.0/8';
    const destinations = ['-m', 'addrtype', '--dst-type', 'LOCAL'];
    const except = localhost === null ? [] : ['!', '-d', localhost];
    nat.append('KUBE-SERVICES', NODE_PORT_JUMP, destinations, except, '-j', 'KUBE-NODEPORTS');
    return;
  }
  for (const ip of ips) {
    nat.append('KUBE-SERVICES', NODE_PORT_JUMP, '-d', ip, '-j', 'KUBE-NODEPORTS');
  }
}

function writeForward({ filter, given, mark }: Sync): void {
  if (!given.conntrackTCPLiberal) {
    // Such a packet would pass without its address put back, and reset the connection (kubernetes/kubernetes#74839).
    const count = given.nfacct ? ['-m', 'nfacct', '--nfacct-name', 'ct_state_invalid_dropped_pkts'] : [];
    filter.append('KUBE-FORWARD', null, '-m', 'conntrack', '--ctstate', 'INVALID', count, '-j', 'DROP');
  }
  const marked = ['-m', 'mark', '--mark', `${mark}/${mark}`];
  filter.append('KUBE-FORWARD', 'kubernetes forwarding rules', marked, '-j', 'ACCEPT');
  const known = ['-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED'];
  filter.append('KUBE-FORWARD', 'kubernetes forwarding conntrack rule', known, '-j', 'ACCEPT');
}

const internalChain = ({ port, chain }: PortRules): string =>
  port.internalTrafficPolicy === 'Local' ? chain.svl : chain.svc;

/** No endpoints anywhere: the client is told. None that the policy allows here: another node may have some. */
const refusalTarget = ({ hasEndpoints }: PortRules): string => (hasEndpoints ? 'DROP' : 'REJECT');
const refusalComment = ({ name, hasEndpoints }: PortRules): string =>
  `${name} has no ${hasEndpoints ? 'local ' : ''}endpoints`;

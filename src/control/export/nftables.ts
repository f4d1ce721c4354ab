/**
 * A plan as the table that kube-proxy's nftables mode would fill: pkg/proxy/nftables/proxier.go, setupNFTables and
 * syncProxyRules. The statements and names are kube-proxy's; they stand in the order that `nft -f` needs and that is easy to
 * read: chains, sets and maps, what all Services share, then one Service port after the other. The text replaces the table.
 */
import type { Family } from '../../wire/address.js';
import type { Plan } from '../compile/plan.js';
import { type Endpoint, endpointText } from '../model/endpoint.js';
import type { ProxyOptions } from '../model/proxy-options.js';
import { isExternallyAccessible } from '../model/service-port.js';
import { nftEndpointChainName, nftServiceChainName } from './chain-names.js';
import { allowedSources, nodePortIPs, type PortFacts, podCidrOf, portFacts } from './port-facts.js';

export interface NftablesExport {
  /** One table for each. */
  readonly families: readonly Family[];
  /** Which bit of the packet mark asks for masquerading: nftables.masqueradeBit, 14 unless configured. */
  readonly masqueradeBit: number;
}

export const DEFAULT_NFTABLES_EXPORT: NftablesExport = { families: ['IPv4', 'IPv6'], masqueradeBit: 14 };

/** @returns text for `nft -f` */
export const nftablesText = (plan: Plan, options: ProxyOptions, given: NftablesExport): string =>
  given.families.map((family) => new Nftables(plan, options, given, family).text()).join('');

/** kube-proxy's filter rules look at packets as they were before DNAT, but for those on unserved ClusterIPs. */
const BASE_CHAINS: readonly (readonly [name: string, type: string, hook: string, priority: number])[] = [
  ['filter-prerouting', 'filter', 'prerouting', -110],
  ['filter-input', 'filter', 'input', -110],
  ['filter-forward', 'filter', 'forward', -110],
  ['filter-output', 'filter', 'output', -110],
  ['filter-output-post-dnat', 'filter', 'output', -90],
  ['nat-prerouting', 'nat', 'prerouting', -100],
  ['nat-output', 'nat', 'output', -100],
  ['nat-postrouting', 'nat', 'postrouting', 100],
];

const JUMPS: readonly (readonly [from: string, rule: string])[] = [
  ['filter-input', 'ct state new jump nodeport-endpoints-check'],
  ['filter-input', 'ct state new jump service-endpoints-check'],
  ['filter-forward', 'ct state new jump service-endpoints-check'],
  ['filter-output', 'ct state new jump service-endpoints-check'],
  ['filter-prerouting', 'ct state new jump firewall-check'],
  ['filter-output', 'ct state new jump firewall-check'],
  ['nat-output', 'jump services'],
  ['nat-prerouting', 'jump services'],
  ['nat-postrouting', 'jump masquerading'],
  ['filter-forward', 'ct state new jump cluster-ips-check'],
  ['filter-output-post-dnat', 'ct state new jump cluster-ips-check'],
];

const CHAINS: readonly string[] = [
  'nodeport-endpoints-check',
  'service-endpoints-check',
  'firewall-check',
  'services',
  'masquerading',
  'cluster-ips-check',
  'mark-for-masquerade',
  'reject-chain',
];

class Nftables {
  readonly #family: Family;
  readonly #options: ProxyOptions;
  readonly #ports: readonly PortFacts[];
  /** "ip", "ip6": the table's family, and the name of the header in rules. */
  readonly #ip: string;
  readonly #podCidr: string | null;
  readonly #mark: string;
  readonly #chains: string[] = [...CHAINS];
  /** Statements about sets and maps, then rules, then elements: each needs those before. */
  readonly #sets: string[] = [];
  readonly #rules: string[] = [];
  readonly #elements = new Set<string>();

  constructor(plan: Plan, options: ProxyOptions, given: NftablesExport, family: Family) {
    this.#family = family;
    this.#options = options;
    this.#ports = portFacts(plan, family);
    this.#ip = family === 'IPv6' ? 'ip6' : 'ip';
    this.#podCidr = podCidrOf(options, family);
    this.#mark = `0x${(2 ** given.masqueradeBit).toString(16)}`;
  }

  text(): string {
    this.#addShared();
    for (const facts of this.#ports) this.#addServicePort(facts);
    const table = `${this.#ip} kube-proxy`;
    const lines = [
      // Added before it is deleted, since deleting what is not there is an error.
      `add table ${table}`,
      `delete table ${table}`,
      `add table ${table} { comment "rules for kube-proxy" ; }`,
      ...BASE_CHAINS.map(
        ([name, type, hook, priority]) =>
          `add chain ${table} ${name} { type ${type} hook ${hook} priority ${priority} ; }`,
      ),
      ...this.#chains.map((chain) => `add chain ${table} ${chain}`),
      ...this.#sets.map((set) => `add ${set.replace(' ', ` ${table} `)}`),
      ...this.#rules.map((rule) => `add rule ${table} ${rule}`),
      ...[...this.#elements].map((element) => `add element ${table} ${element}`),
    ];
    return `${lines.join('\n')}\n`;
  }

  #addShared(): void {
    const address = this.#family === 'IPv6' ? 'ipv6_addr' : 'ipv4_addr';
    const byAddress = `${address} . inet_proto . inet_service : verdict`;
    const byPort = 'inet_proto . inet_service : verdict';
    this.#set('set cluster-ips', address, 'Active ClusterIPs');
    this.#set(
      'map no-endpoint-services',
      byAddress,
      'vmap to drop or reject packets to services with no endpoints',
    );
    this.#set(
      'map no-endpoint-nodeports',
      byPort,
      'vmap to drop or reject packets to service nodeports with no endpoints',
    );
    this.#set('map firewall-ips', byAddress, 'destinations that are subject to LoadBalancerSourceRanges');
    this.#set('map service-ips', byAddress, 'ClusterIP, ExternalIP and LoadBalancer IP traffic');
    this.#set('map service-nodeports', byPort, 'NodePort traffic');

    for (const [from, rule] of JUMPS) this.#rule(from, rule);
    this.#rule('mark-for-masquerade', `mark set mark or ${this.#mark}`);
    this.#rule('masquerading', `mark and ${this.#mark} == 0 return`);
    this.#rule('masquerading', `mark set mark xor ${this.#mark}`);
    this.#rule('masquerading', 'masquerade fully-random');
    this.#rule('reject-chain', 'reject');
    this.#addClusterIPsCheck();

    const destination = `${this.#ip} daddr . meta l4proto . th dport vmap`;
    this.#rule('service-endpoints-check', `${destination} @no-endpoint-services`);
    this.#rule('firewall-check', `${destination} @firewall-ips`);
    this.#rule('services', `${destination} @service-ips`);
    this.#addNodePortRules(address);
  }

  #addClusterIPsCheck(): void {
    const invalid = 'comment "Reject traffic to invalid ports of ClusterIPs"';
    this.#rule('cluster-ips-check', `${this.#ip} daddr @cluster-ips reject ${invalid}`);
    const cidrs = this.#options.serviceCIDRs.filter(
      (cidr) => cidr.includes(':') === (this.#family === 'IPv6'),
    );
    if (cidrs.length === 0) return;
    const unallocated = 'comment "Drop traffic to unallocated ClusterIPs"';
    this.#rule('cluster-ips-check', `${this.#ip} daddr { ${cidrs.join(', ')} } drop ${unallocated}`);
  }

  #addNodePortRules(address: string): void {
    const ips = nodePortIPs(this.#options, this.#family, this.#options.nodeIPs);
    const noLocalhost = this.#family === 'IPv6' ? 'ip6 daddr != ::1' : 'ip daddr != 127.0.0.0/8';
    if (ips !== null) {
      this.#set('set nodeport-ips', address, 'IPs that accept NodePort traffic');
      for (const ip of ips) this.#element('nodeport-ips', ip);
    }
    const chosen = `${this.#ip} daddr @nodeport-ips`;
    const port = 'meta l4proto . th dport vmap';
    this.#rule(
      'nodeport-endpoints-check',
      `${ips === null ? noLocalhost : chosen} ${port} @no-endpoint-nodeports`,
    );
    const local = `fib daddr type local ${noLocalhost}`;
    this.#rule('services', `${ips === null ? local : chosen} ${port} @service-nodeports`);
  }

  #addServicePort(facts: PortFacts): void {
    const { port, protocol, cluster, local, all, hasEndpoints, hasInternal } = facts;
    const service = nftServiceChainName('service', port.name);
    const localOnly = nftServiceChainName('local', port.name);
    const internal = port.internalTrafficPolicy === 'Local' ? localOnly : service;
    const own = `${port.clusterIP} . ${protocol} . ${port.port}`;
    this.#chains.push(...all.map((endpoint) => nftEndpointChainName('endpoint', port.name, endpoint)));
    if (cluster.length > 0) this.#chains.push(service);
    if (local.length > 0) this.#chains.push(localOnly);

    this.#element('cluster-ips', port.clusterIP);
    if (hasInternal) this.#element('service-ips', `${own} : goto ${internal}`);
    else this.#refuse('no-endpoint-services', own, facts);
    const notAPod = this.#options.masqueradeAll
      ? ''
      : this.#podCidr && ` ${this.#ip} saddr != ${this.#podCidr}`;
    if (hasInternal && notAPod !== null) {
      const where = `${this.#ip} daddr ${port.clusterIP} ${protocol} dport ${port.port}`;
      this.#rule(internal, `${where}${notAPod} jump mark-for-masquerade`);
    }
    this.#addExternalDestinations(facts);
    if (hasEndpoints && isExternallyAccessible(port)) this.#addExternalChain(facts, service, localOnly);
    this.#addAffinitySets(facts);
    this.#addChoice(facts, service, cluster);
    this.#addChoice(facts, localOnly, local);
    for (const endpoint of all) this.#addEndpoint(facts, endpoint);
  }

  #addExternalDestinations(facts: PortFacts): void {
    const { port, protocol, hasEndpoints, hasExternal } = facts;
    const external = nftServiceChainName('external', port.name);
    for (const ip of [...port.externalIPs, ...port.loadBalancerVIPs]) {
      const destination = `${ip} . ${protocol} . ${port.port}`;
      if (hasEndpoints) this.#element('service-ips', `${destination} : goto ${external}`);
      if (!hasExternal) this.#refuse('no-endpoint-services', destination, facts);
    }
    if (port.nodePort !== 0) {
      const destination = `${protocol} . ${port.nodePort}`;
      if (hasEndpoints) this.#element('service-nodeports', `${destination} : goto ${external}`);
      if (!hasExternal) this.#refuse('no-endpoint-nodeports', destination, facts);
    }
    if (port.loadBalancerVIPs.length === 0 || port.loadBalancerSourceRanges.length === 0) return;
    const firewall = nftServiceChainName('firewall', port.name);
    this.#chains.push(firewall);
    this.#rule(firewall, `${this.#ip} saddr != { ${allowedSources(facts, this.#options).join(', ')} } drop`);
    for (const ip of port.loadBalancerVIPs) {
      this.#element('firewall-ips', `${ip} . ${protocol} . ${port.port} : goto ${firewall}`);
    }
  }

  #addExternalChain({ port, hasExternal }: PortFacts, service: string, localOnly: string): void {
    const external = nftServiceChainName('external', port.name);
    this.#chains.push(external);
    const isLocal = port.externalTrafficPolicy === 'Local';
    if (!isLocal) this.#rule(external, 'jump mark-for-masquerade');
    else {
      if (this.#podCidr !== null) {
        const fromPod = `${this.#ip} saddr ${this.#podCidr} goto ${service}`;
        this.#rule(external, `${fromPod} comment "short-circuit pod traffic"`);
      }
      this.#rule(
        external,
        'fib saddr type local jump mark-for-masquerade comment "masquerade local traffic"',
      );
      this.#rule(external, `fib saddr type local goto ${service} comment "short-circuit local traffic"`);
    }
    if (hasExternal) this.#rule(external, `goto ${isLocal ? localOnly : service}`);
  }

  #addAffinitySets({ port, all }: PortFacts): void {
    if (port.affinitySec === 0) return;
    const type = this.#family === 'IPv6' ? 'ipv6_addr' : 'ipv4_addr';
    for (const endpoint of all) {
      const name = nftEndpointChainName('affinity', port.name, endpoint);
      this.#sets.push(
        `set ${name} { type ${type} ; flags dynamic,timeout ; timeout ${port.affinitySec}s ; }`,
      );
    }
  }

  #addChoice({ port }: PortFacts, chain: string, endpoints: readonly Endpoint[]): void {
    if (endpoints.length === 0) return;
    const chains = endpoints.map((endpoint) => nftEndpointChainName('endpoint', port.name, endpoint));
    if (port.affinitySec > 0) {
      for (const [index, endpoint] of endpoints.entries()) {
        const affinity = nftEndpointChainName('affinity', port.name, endpoint);
        this.#rule(chain, `${this.#ip} saddr @${affinity} goto ${chains[index]}`);
      }
    }
    const choices = chains.map((target, index) => `${index} : goto ${target}`);
    this.#rule(chain, `numgen random mod ${chains.length} vmap { ${choices.join(' , ')} }`);
  }

  #addEndpoint({ port, protocol }: PortFacts, endpoint: Endpoint): void {
    const chain = nftEndpointChainName('endpoint', port.name, endpoint);
    this.#rule(chain, `${this.#ip} saddr ${endpoint.ip} jump mark-for-masquerade`);
    if (port.affinitySec > 0) {
      this.#rule(
        chain,
        `update @${nftEndpointChainName('affinity', port.name, endpoint)} { ${this.#ip} saddr }`,
      );
    }
    this.#rule(chain, `meta l4proto ${protocol} dnat to ${endpointText(endpoint)}`);
  }

  #set(what: string, type: string, comment: string): void {
    this.#sets.push(`${what} { type ${type} ; comment "${comment}" ; }`);
  }

  #rule(chain: string, rule: string): void {
    this.#rules.push(`${chain} ${rule}`);
  }

  #element(set: string, element: string): void {
    this.#elements.add(`${set} { ${element} }`);
  }

  /** No endpoints anywhere: the client is told. None that the policy allows here: another node may have some. */
  #refuse(map: string, key: string, { name, hasEndpoints }: PortFacts): void {
    this.#element(map, `${key} comment "${name}" : ${hasEndpoints ? 'drop' : 'goto reject-chain'}`);
  }
}

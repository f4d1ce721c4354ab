/** What the rules of every proxy mode ask about a Service port and about the node, worked out once. */
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { type Family, parseCidr } from '../../wire/address.js';
import type { Plan, PlannedPort } from '../compile/plan.js';
import type { Endpoint } from '../model/endpoint.js';
import type { ProxyOptions } from '../model/proxy-options.js';
import type { ServicePort } from '../model/service-port.js';
import { servicePortNameText } from '../model/service-port-name.js';

export interface PortFacts {
  readonly port: ServicePort;
  /** "default/httpenv:http" */
  readonly name: string;
  /** "tcp" */
  readonly protocol: string;
  readonly cluster: readonly Endpoint[];
  readonly local: readonly Endpoint[];
  readonly all: readonly Endpoint[];
  /** Anywhere. */
  readonly hasEndpoints: boolean;
  /** Whether new flows to the ClusterIP have an endpoint. */
  readonly hasInternal: boolean;
  /** Whether new flows from outside to the other destinations have one. */
  readonly hasExternal: boolean;
}

/** @returns the ports of one family, in the plan's order */
export const portFacts = (plan: Plan, family: Family): PortFacts[] =>
  plan.ports.filter(({ servicePort }) => servicePort.family === family).map(factsOf);

function factsOf({ servicePort: port, endpoints }: PlannedPort): PortFacts {
  const { all, hasEndpoints } = endpoints;
  const local = endpoints.local ?? [];
  return {
    port,
    name: servicePortNameText(port.name),
    protocol: port.protocol.toLowerCase(),
    cluster: endpoints.cluster ?? [],
    local,
    all,
    hasEndpoints,
    hasInternal: hasEndpoints && (port.internalTrafficPolicy === 'Cluster' || local.length > 0),
    hasExternal: hasEndpoints && (port.externalTrafficPolicy === 'Cluster' || local.length > 0),
  };
}

/** kube-proxy has one CIDR of each family; its rule "not from a pod" can name only one. null: there is no local detector. */
export const podCidrOf = ({ clusterCIDRs }: ProxyOptions, family: Family): string | null =>
  clusterCIDRs.find((cidr) => parseCidr(cidr)?.family === family) ?? null;

/**
 * Who may use the load-balancer VIPs of a port. Where a VIP is also an address of the node, a request from the node has the VIP
 * as its source: it is let in when the node is.
 */
export function allowedSources({ port }: PortFacts, { nodeIP }: ProxyOptions): string[] {
  const { loadBalancerSourceRanges: ranges, loadBalancerVIPs } = port;
  return [...ranges, ...(ranges.some((range) => isInside(range, nodeIP)) ? loadBalancerVIPs : [])];
}

/**
 * @param among the node's addresses that may answer
 * @returns those that do; null: every LOCAL address, as when all CIDRs are of the other family (nodeport_addresses.go)
 */
export function nodePortIPs(
  { nodePortAddresses }: ProxyOptions,
  family: Family,
  among: readonly string[],
): string[] | null {
  const cidrs = (nodePortAddresses ?? []).filter((cidr) => parseCidr(cidr)?.family === family);
  if (cidrs.length === 0 || cidrs.some((cidr) => parseCidr(cidr)?.prefixLength === 0)) return null;
  return among.filter((ip) => cidrs.some((cidr) => isInside(cidr, ip)));
}

function isInside(cidrText: string, ip: string): boolean {
  const cidr = parseCidr(cidrText);
  const family = isIPv4(ip) ? 'ipv4' : isIPv6(ip) ? 'ipv6' : null;
  // BlockList finds an IPv4 address in IPv6 networks too, as a mapped one.
  if (cidr === null || cidr.family.toLowerCase() !== family) return false;
  const network = new BlockList();
  network.addSubnet(cidr.network, cidr.prefixLength, family);
  return network.check(ip, family);
}

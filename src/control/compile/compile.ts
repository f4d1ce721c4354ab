/** From a plan to the bytes that the workers read. */
import { TableBuilder, type TableEndpoint, type TablePrefix } from '../../table/builder.js';
import { UNLISTED_ENDPOINT } from '../../table/counters.js';
import { ADDRESS_FLAG, ALGORITHM, FRONTEND_KIND, PORT_FLAG, TABLE_FLAG } from '../../table/layout.js';
import {
  addressWords,
  cidrContains,
  type Family,
  familyNumber,
  maskWords,
  parseCidr,
} from '../../wire/address.js';
import { half } from '../../wire/byte-order.js';
import { PROTOCOL } from '../../wire/ipv4.js';
import { type Endpoint, endpointText } from '../model/endpoint.js';
import type { ProxyOptions } from '../model/proxy-options.js';
import { type Algorithm, keyOf, type ServicePort } from '../model/service-port.js';
import { servicePortNameText } from '../model/service-port-name.js';
import type { EndpointSets } from '../model/topology.js';
import type { Plan, PlannedPort } from './plan.js';
import type { Registry } from './registry.js';
import { weightedTurns } from './weighted-turns.js';

const ALGORITHMS: Readonly<Record<Algorithm, number>> = {
  random: ALGORITHM.CASCADE,
  rr: ALGORITHM.ROUND_ROBIN,
  wrr: ALGORITHM.ROUND_ROBIN,
  lc: ALGORITHM.LEAST_CONNECTION,
  sed: ALGORITHM.SHORTEST_EXPECTED_DELAY,
  nq: ALGORITHM.NEVER_QUEUE,
  sh: ALGORITHM.SOURCE_HASH,
  mh: ALGORITHM.MAGLEV,
};

/** Schedulers of IPVS that kube-proxy's configuration may name, and which of ours does their work. */
const IPVS_SCHEDULERS: Readonly<Record<string, Algorithm>> = {
  wlc: 'lc',
  rr: 'rr',
  wrr: 'wrr',
  lc: 'lc',
  sed: 'sed',
  nq: 'nq',
  sh: 'sh',
  mh: 'mh',
};

/**
 * Compiles a service table. The same plan and options give the same bytes, given what the registry remembers.
 * @param nowSec second on the clock that flows are aged with: from when endpoints that are gone count as gone
 */
export function compile(
  plan: Plan,
  options: ProxyOptions,
  registry: Registry,
  nowSec: number,
): SharedArrayBuffer {
  const compiler = new Compiler(options, registry);
  for (const planned of plan.ports) compiler.addPort(planned);
  return compiler.finish(nowSec);
}

class Compiler {
  private readonly options: ProxyOptions;
  private readonly registry: Registry;
  private readonly builder: TableBuilder;
  private readonly nodeIPs: ReadonlySet<string>;

  constructor(options: ProxyOptions, registry: Registry) {
    this.options = options;
    this.registry = registry;
    this.nodeIPs = new Set(options.nodeIPs);
    registry.beginTable();
    this.builder = new TableBuilder(tableFlags(options));
    const isNft = options.mode === 'nftables';
    this.builder.setPrefixes(
      options.clusterCIDRs.map(prefixOf),
      isNft ? options.serviceCIDRs.map(prefixOf) : [],
      (options.links ?? []).map(prefixOf),
    );
    for (const address of [...options.nodeIPs, ...options.loopbackIPs]) {
      const answers = !options.loopbackIPs.includes(address) && isNodePortAddress(address, options);
      this.addAddress(address, ADDRESS_FLAG.LOCAL | (answers ? ADDRESS_FLAG.NODE_PORTS : 0));
    }
  }

  addPort({ servicePort, endpoints }: PlannedPort): void {
    const { builder, options } = this;
    const family = familyNumber(servicePort.family);
    const protocol = PROTOCOL[servicePort.protocol];
    const algorithm = algorithmOf(servicePort, options);
    const row = this.registry.rowOf(`${keyOf(servicePort)} ${servicePort.family}`);
    const known = this.recordsOf(servicePort, endpoints);
    for (const endpoint of endpoints.serving) {
      this.registry.serves(known.get(endpoint)?.id ?? UNLISTED_ENDPOINT, servicePort.onEndpointRemoval);
    }
    const port = builder.addPort({
      family,
      protocol,
      flags: portFlags(servicePort, endpoints.hasEndpoints, options),
      algorithm: algorithm.number,
      cluster: this.setOf('cluster', endpoints.cluster ?? [], known, algorithm, row),
      local: this.setOf('local', endpoints.local ?? [], known, algorithm, row),
      ranges: sourceRanges(servicePort, options),
      affinitySec: servicePort.affinitySec,
      row,
      maglev: algorithm.number === ALGORITHM.MAGLEV,
    });

    const dport = half(servicePort.port);
    const { clusterIP, externalIPs, loadBalancerVIPs } = servicePort;
    const frontend = (kind: number, address: string) =>
      builder.addFrontend(kind, family, addressWords(address), dport, protocol, port);
    frontend(FRONTEND_KIND.CLUSTER_IP, clusterIP);
    const rejects = options.rejectUnserved || options.mode === 'nftables';
    this.addAddress(clusterIP, rejects ? ADDRESS_FLAG.REJECT_UNSERVED : 0);
    for (const address of externalIPs) frontend(FRONTEND_KIND.EXTERNAL_IP, address);
    for (const address of loadBalancerVIPs) frontend(FRONTEND_KIND.LOAD_BALANCER, address);
    for (const address of [...externalIPs, ...loadBalancerVIPs]) {
      // The node itself may serve other ports of its own address.
      const isOurs = options.rejectUnserved && !this.nodeIPs.has(address);
      this.addAddress(address, isOurs ? ADDRESS_FLAG.REJECT_UNSERVED : 0);
    }
    if (servicePort.nodePort !== 0) {
      builder.addFrontend(FRONTEND_KIND.NODE_PORT, family, [], half(servicePort.nodePort), protocol, port);
    }
  }

  finish(nowSec: number): SharedArrayBuffer {
    return this.builder.finish(this.registry.states(nowSec));
  }

  private addAddress(address: string, flags: number): void {
    this.builder.addAddress(
      familyNumber(address.includes(':') ? 'IPv6' : 'IPv4'),
      addressWords(address),
      flags,
    );
  }

  /** The record of every endpoint of a Service port; kept for as long as the plan keeps its sets. */
  private recordsOf(servicePort: ServicePort, endpoints: EndpointSets): ReadonlyMap<Endpoint, TableEndpoint> {
    const kept = this.registry.records.get(endpoints);
    if (kept !== undefined) return kept;
    const name = servicePortNameText(servicePort.name);
    const { protocol, weights } = servicePort;
    const ids = this.registry.idsOf(name, protocol);
    const records = new Map<Endpoint, TableEndpoint>();
    const add = (endpoint: Endpoint): void => {
      if (records.has(endpoint)) return;
      const text = endpointText(endpoint);
      const id = ids.get(text) ?? this.registry.idOf({ servicePort: name, protocol, endpoint: text });
      const weight = weights.get(endpoint.ip) ?? 1;
      records.set(endpoint, { address: addressWords(endpoint.ip), port: half(endpoint.port), id, weight });
    };
    endpoints.serving.forEach(add);
    endpoints.all.forEach(add);
    this.registry.records.set(endpoints, records);
    return records;
  }

  /** The endpoints of a set, in the order in which the algorithm goes through them. */
  private setOf(
    which: string,
    endpoints: readonly Endpoint[],
    known: ReadonlyMap<Endpoint, TableEndpoint>,
    algorithm: ChosenAlgorithm,
    row: number,
  ): TableEndpoint[] {
    const set = endpoints.map((endpoint) => known.get(endpoint) as TableEndpoint);
    if (algorithm.shuffled) {
      const order = this.registry.orderOf(`${row} ${which}`, row, endpoints.map(endpointText));
      return order.map((index) => set[index] as TableEndpoint);
    }
    if (!algorithm.weighted) return set;
    return weightedTurns(set.map(({ weight }) => weight)).map((index) => set[index] as TableEndpoint);
  }
}

interface ChosenAlgorithm {
  /** ALGORITHM. */
  readonly number: number;
  /** Turns are taken in shuffled order. */
  readonly shuffled: boolean;
  /** Turns are taken as often as an endpoint weighs. */
  readonly weighted: boolean;
}

function algorithmOf({ algorithm }: ServicePort, { mode, ipvsScheduler }: ProxyOptions): ChosenAlgorithm {
  const chosen = algorithm ?? (mode === 'ipvs' ? (IPVS_SCHEDULERS[ipvsScheduler] ?? 'rr') : null);
  if (chosen !== null) return { number: ALGORITHMS[chosen], shuffled: false, weighted: chosen === 'wrr' };
  if (mode === 'userspace') return { number: ALGORITHM.ROUND_ROBIN, shuffled: true, weighted: false };
  return {
    number: mode === 'nftables' ? ALGORITHM.UNIFORM : ALGORITHM.CASCADE,
    shuffled: false,
    weighted: false,
  };
}

function tableFlags(options: ProxyOptions): number {
  const isNft = options.mode === 'nftables';
  let flags = 0;
  if (options.masqueradeAll) flags |= TABLE_FLAG.MASQUERADE_ALL;
  if (options.answerPing) flags |= TABLE_FLAG.ANSWER_PING;
  if (options.links !== null) flags |= TABLE_FLAG.KEEP_SOURCE_FOR_PODS;
  if (isNft) flags |= TABLE_FLAG.RANGES_FIRST | TABLE_FLAG.CLOSED_NODE_PORTS_ON_NODE_PORT_ADDRESSES;
  if (!isNft && options.localhostNodePorts && isNodePortAddress('127.0.0.1', options)) {
    flags |= TABLE_FLAG.LOOPBACK_NODE_PORTS;
  }
  for (const cidr of options.clusterCIDRs) flags |= TABLE_FLAG.DETECT_LOCAL << prefixOf(cidr).family;
  return flags;
}

function portFlags(servicePort: ServicePort, hasEndpoints: boolean, { mode }: ProxyOptions): number {
  const { internalTrafficPolicy, externalTrafficPolicy, retry, protocol } = servicePort;
  let flags = hasEndpoints ? PORT_FLAG.HAS_ENDPOINTS : 0;
  if (internalTrafficPolicy === 'Local') flags |= PORT_FLAG.INTERNAL_LOCAL;
  if (externalTrafficPolicy === 'Local') flags |= PORT_FLAG.EXTERNAL_LOCAL;
  if (protocol === 'TCP' && (retry ?? mode === 'userspace')) flags |= PORT_FLAG.RETRY;
  return flags;
}

const isNodePortAddress = (address: string, { nodePortAddresses }: ProxyOptions): boolean =>
  nodePortAddresses === null || nodePortAddresses.some((cidr) => cidrContains(cidr, address));

/**
 * Who may use the load balancer's addresses. If the node may, then so may its own packets that leave from one of these
 * addresses, where a cloud has put it on the node's interface (proxier.go: "allowFromNode").
 */
function sourceRanges(servicePort: ServicePort, { nodeIP }: ProxyOptions): TablePrefix[] {
  const { loadBalancerSourceRanges, loadBalancerVIPs, family } = servicePort;
  if (loadBalancerSourceRanges.length === 0 || loadBalancerVIPs.length === 0) return [];
  const ranges = loadBalancerSourceRanges.map(prefixOf);
  if (!loadBalancerSourceRanges.some((cidr) => cidrContains(cidr, nodeIP))) return ranges;
  return [...ranges, ...loadBalancerVIPs.map((vip) => prefixOf(`${vip}/${family === 'IPv4' ? 32 : 128}`))];
}

function prefixOf(text: string): TablePrefix {
  const cidr = parseCidr(text);
  if (cidr === null) throw new Error(`${text} was checked before and is no CIDR`);
  const family: Family = cidr.family;
  return {
    family: familyNumber(family),
    network: addressWords(cidr.network),
    mask: maskWords(family, cidr.prefixLength),
  };
}

/**
 * The slow, obvious twin of the dataplane: kube-proxy's decisions read off a Plan, and a conntrack of Maps. It chooses nothing
 * at random: what the real one chose is told to it, and it says whether that was allowed. Without retries.
 */
import { BlockList, isIPv6 } from 'node:net';
import type { Plan, PlannedPort } from '../../src/control/compile/plan.js';
import type { Endpoint } from '../../src/control/model/endpoint.js';
import type { ProxyOptions } from '../../src/control/model/proxy-options.js';

export interface Tuple {
  protocol: string;
  src: string;
  sport: number;
  dst: string;
  dport: number;
}

export interface Segment extends Tuple {
  /** Of a TCP segment; else ''. */
  flags: '' | 'SYN' | 'SYN-ACK' | 'ACK' | 'RST' | 'FIN';
}

type TcpState = 'none' | 'SYN_SENT' | 'SYN_RECV' | 'ESTABLISHED' | 'CLOSE';

export interface ReferenceFlow {
  original: Tuple;
  reply: Tuple;
  /** Which endpoint of which Service port. */
  endpoint: string;
  state: TcpState;
  seenReply: boolean;
  stream: boolean;
  readonly beganSec: number;
  expiresSec: number;
}

/** What may become of a packet. A set of endpoints: one of them, from the client itself or from the pool. */
export type Expected =
  | { outcome: 'passed' | 'rejected' | string }
  | { outcome: 'forwarded'; to: Tuple }
  | {
      outcome: 'forwarded';
      oneOf: readonly Endpoint[];
      masquerade: (endpoint: Endpoint) => boolean;
      port: PlannedPort;
    };

const TIMEOUT_SEC = {
  none: 0,
  SYN_SENT: 120,
  SYN_RECV: 60,
  ESTABLISHED: 432_000,
  CLOSE: 10,
  /** ESTABLISHED by the word of one side only. */
  unacknowledged: 300,
  udp: 30,
  stream: 120,
} as const;
/** A UDP flow that is answered later than this after it began is a stream. */
const STREAM_AFTER_SEC = 2;
const TICK_MS = 64;

function timeoutOf(protocol: string, flow: ReferenceFlow): keyof typeof TIMEOUT_SEC {
  if (protocol === 'udp') return flow.stream ? 'stream' : 'udp';
  return flow.state === 'ESTABLISHED' && !flow.seenReply ? 'unacknowledged' : flow.state;
}

export const keyOf = ({ protocol, src, sport, dst, dport }: Tuple): string =>
  `${protocol} ${src} ${sport} ${dst} ${dport}`;
export const reversed = ({ protocol, src, sport, dst, dport }: Tuple): Tuple => ({
  protocol,
  src: dst,
  sport: dport,
  dst: src,
  dport: sport,
});

export class ReferenceProxy {
  plan: Plan;
  nowMs = 0;
  /** By both tuples; ended flows stay until another takes their place. */
  readonly flows = new Map<string, ReferenceFlow>();
  private readonly options: ProxyOptions;
  private readonly pools: readonly string[];
  private readonly affinities = new Map<string, { endpoint: string; tick: number }>();

  constructor(plan: Plan, options: ProxyOptions, pools: readonly string[]) {
    this.plan = plan;
    this.options = options;
    this.pools = pools;
  }

  /** The flow of a packet, if it still lives. */
  flowOf(tuple: Tuple): ReferenceFlow | undefined {
    const flow = this.flows.get(keyOf(tuple));
    return flow !== undefined && flow.expiresSec > Math.floor(this.nowMs / 1000) ? flow : undefined;
  }

  /** What must become of a packet, which ends the flow whose place it takes; all else is for `happened`. */
  expect(segment: Segment): Expected {
    const flow = this.flowOf(segment);
    if (flow !== undefined && !this.begins(flow, segment)) {
      const isReply = keyOf(flow.reply) === keyOf(segment);
      return { outcome: 'forwarded', to: reversed(isReply ? flow.original : flow.reply) };
    }
    if (flow !== undefined) this.forget(segment);
    return this.decide(segment);
  }

  /** A packet was forwarded as `to`, of a new flow to `chosen` when that is given. */
  happened(segment: Segment, to: Tuple, chosen?: { endpoint: Endpoint; port: PlannedPort }): void {
    let flow = chosen === undefined ? this.flowOf(segment) : undefined;
    if (chosen !== undefined) {
      this.forget(segment);
      const { protocol, src, sport, dst, dport } = segment;
      flow = {
        original: { protocol, src, sport, dst, dport },
        reply: reversed(to),
        endpoint: nameOf(chosen.port, chosen.endpoint),
        state: 'none',
        seenReply: false,
        stream: false,
        beganSec: Math.floor(this.nowMs / 1000),
        expiresSec: 0,
      };
      this.forget(flow.reply);
      this.flows.set(keyOf(flow.original), flow);
      this.flows.set(keyOf(flow.reply), flow);
      const { affinitySec } = chosen.port.servicePort;
      if (affinitySec > 0) {
        const tick = Math.floor(this.nowMs / TICK_MS);
        this.affinities.set(affinityKey(chosen.port, src), { endpoint: flow.endpoint, tick });
      }
    }
    if (flow === undefined) throw new Error(`no flow of ${keyOf(segment)}`);
    const isReply = keyOf(flow.reply) === keyOf(segment);
    flow.seenReply ||= isReply;
    if (segment.protocol === 'tcp') flow.state = nextState(flow.state, isReply, segment.flags);
    const nowSec = Math.floor(this.nowMs / 1000);
    if (segment.protocol === 'udp' && flow.seenReply)
      flow.stream ||= nowSec - flow.beganSec > STREAM_AFTER_SEC;
    flow.expiresSec = nowSec + TIMEOUT_SEC[timeoutOf(segment.protocol, flow)];
  }

  /** Whether an address is one that flows are masqueraded to. */
  isPool = (ip: string): boolean => this.pools.some((cidr) => contains(cidr, ip));

  private forget(tuple: Tuple): void {
    const flow = this.flows.get(keyOf(tuple));
    if (flow === undefined) return;
    this.flows.delete(keyOf(flow.original));
    this.flows.delete(keyOf(flow.reply));
  }

  /** A new connection over the tuple of a closed one; a datagram to an endpoint that serves no longer. */
  private begins(flow: ReferenceFlow, segment: Segment): boolean {
    if (keyOf(flow.reply) === keyOf(segment)) return false;
    if (segment.protocol === 'tcp') return flow.state === 'CLOSE' && segment.flags === 'SYN';
    if (segment.protocol !== 'udp') return false;
    return !this.plan.ports.some((port) =>
      port.endpoints.serving.some((endpoint) => nameOf(port, endpoint) === flow.endpoint),
    );
  }

  private decide(segment: Segment): Expected {
    const { src, sport, dst, dport } = segment;
    const answer = this.lookUp(segment);
    if (answer.outcome === 'passed' || answer.outcome === 'no-flow') return answer;
    if (isMartian(src)) return { outcome: 'martian-source' };
    if (src === dst && sport === dport) return { outcome: 'land' };
    if (this.isOurs(src)) return { outcome: 'own-source' };
    if (segment.flags === 'RST' || segment.flags === 'FIN' || segment.flags === 'SYN-ACK')
      return { outcome: 'tcp-invalid' };
    return answer;
  }

  /** kube-proxy's KUBE-SERVICES, KUBE-NODEPORTS, KUBE-SVC, KUBE-EXT, KUBE-SVL and KUBE-FW chains. */
  private lookUp({ protocol, src, dst, dport }: Segment): Expected {
    const family = isIPv6(dst) ? 'IPv6' : 'IPv4';
    const { mode } = this.options;
    const candidates = this.plan.ports.filter(
      ({ servicePort }) => servicePort.family === family && servicePort.protocol.toLowerCase() === protocol,
    );
    for (const port of candidates) {
      const { servicePort, endpoints } = port;
      if (servicePort.port !== dport) continue;
      if (servicePort.clusterIP === dst) {
        if (!endpoints.hasEndpoints) return { outcome: 'rejected' };
        const local = servicePort.internalTrafficPolicy === 'Local';
        const outside = this.hasDetector(family) && !this.isPod(src);
        return this.oneOf(port, local, outside || this.options.masqueradeAll, src);
      }
      const isVip = servicePort.loadBalancerVIPs.includes(dst);
      if (isVip || servicePort.externalIPs.includes(dst)) {
        const ranges = servicePort.loadBalancerSourceRanges;
        const refused = isVip && ranges.length > 0 && !ranges.some((cidr) => contains(cidr, src));
        if (refused && (endpoints.hasEndpoints || mode === 'nftables')) return { outcome: 'source-range' };
        return this.external(port, src);
      }
    }
    const nodePort = candidates.find(({ servicePort }) => servicePort.nodePort === dport && dport !== 0);
    if (nodePort !== undefined && this.isLocal(dst)) {
      const open = this.isOpen(dst);
      if (!open && mode === 'nftables') return { outcome: 'passed' };
      if (!nodePort.endpoints.hasEndpoints) return { outcome: 'rejected' };
      if (open) return this.external(nodePort, src);
      const { externalTrafficPolicy } = nodePort.servicePort;
      const none = externalTrafficPolicy === 'Local' && (nodePort.endpoints.local ?? []).length === 0;
      return { outcome: none ? 'no-local-endpoints' : 'passed' };
    }
    if (this.isOurs(dst)) return { outcome: 'rejected' };
    return { outcome: this.isPool(dst) ? 'no-flow' : 'passed' };
  }

  private external(port: PlannedPort, src: string): Expected {
    if (!port.endpoints.hasEndpoints) return { outcome: 'rejected' };
    if (port.servicePort.externalTrafficPolicy === 'Cluster') return this.oneOf(port, false, true, src);
    if (this.isPod(src)) return this.oneOf(port, false, false, src);
    if (this.isLocal(src)) return this.oneOf(port, false, true, src);
    return this.oneOf(port, true, false, src);
  }

  private oneOf(port: PlannedPort, local: boolean, masquerade: boolean, src: string): Expected {
    const set = (local ? port.endpoints.local : port.endpoints.cluster) ?? [];
    if (set.length === 0) return { outcome: 'no-local-endpoints' };
    const known = this.affinities.get(affinityKey(port, src));
    const { affinitySec } = port.servicePort;
    const age = known === undefined ? 0 : (Math.floor(this.nowMs / TICK_MS) - known.tick) * TICK_MS;
    const sticky =
      affinitySec > 0 && known !== undefined && age <= affinitySec * 1000
        ? set.filter((endpoint) => nameOf(port, endpoint) === known.endpoint)
        : [];
    return {
      outcome: 'forwarded',
      oneOf: sticky.length > 0 ? sticky : set,
      masquerade: ({ ip }) => masquerade || ip === src || !this.comesBack(ip, src),
      port,
    };
  }

  /** Whether replies of an endpoint to the client itself are seen here. */
  private comesBack(endpoint: string, src: string): boolean {
    const { links } = this.options;
    if (links === null) return true;
    return this.isPod(endpoint) && !links.some((cidr) => contains(cidr, endpoint) && contains(cidr, src));
  }

  private isOurs = (ip: string): boolean =>
    this.plan.ports.some(({ servicePort: { clusterIP, externalIPs, loadBalancerVIPs } }) =>
      [clusterIP, ...externalIPs, ...loadBalancerVIPs].includes(ip),
    );
  private isPod = (ip: string): boolean => this.options.clusterCIDRs.some((cidr) => contains(cidr, ip));
  private isLocal = (ip: string): boolean =>
    [...this.options.nodeIPs, ...this.options.loopbackIPs].includes(ip) || contains('127.0.0.0/8', ip);
  private hasDetector = (family: string): boolean =>
    this.options.clusterCIDRs.some((cidr) => isIPv6(cidr.split('/')[0]!) === (family === 'IPv6'));

  private isOpen(ip: string): boolean {
    const { nodePortAddresses, localhostNodePorts, mode } = this.options;
    const answers = (address: string): boolean =>
      nodePortAddresses === null || nodePortAddresses.some((cidr) => contains(cidr, address));
    if (contains('127.0.0.0/8', ip)) return mode !== 'nftables' && localhostNodePorts && answers('127.0.0.1');
    return ip !== '::1' && answers(ip);
  }
}

function nextState(state: TcpState, isReply: boolean, flags: Segment['flags']): TcpState {
  if (flags === 'RST') return 'CLOSE';
  if (state === 'none') return flags === 'SYN' ? 'SYN_SENT' : 'ESTABLISHED';
  if (state === 'SYN_SENT' && isReply && flags === 'SYN-ACK') return 'SYN_RECV';
  if (state === 'SYN_RECV' && !isReply && flags === 'ACK') return 'ESTABLISHED';
  return state;
}

const nameOf = ({ servicePort: { name, family } }: PlannedPort, { ip, port }: Endpoint): string =>
  `${name.namespace}/${name.name}:${name.port} ${family} ${ip} ${port}`;

const affinityKey = ({ servicePort: { name, family } }: PlannedPort, client: string): string =>
  `${name.namespace}/${name.name}:${name.port} ${family} ${client}`;

const isMartian = (ip: string): boolean =>
  ['0.0.0.0', '255.255.255.255', '::', '::1'].includes(ip) ||
  contains('224.0.0.0/4', ip) ||
  contains('ff00::/8', ip);

function contains(cidr: string, ip: string): boolean {
  const [network, length] = cidr.split('/');
  const family = isIPv6(ip) ? 'ipv6' : 'ipv4';
  if (isIPv6(network!) !== isIPv6(ip)) return false;
  const list = new BlockList();
  list.addSubnet(network!, Number(length), family);
  return list.check(ip, family);
}

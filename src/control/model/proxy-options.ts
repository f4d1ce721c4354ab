/**
 * What decides beside the Kubernetes objects: how the proxy was started, and what is known of its node. Plain data, from
 * the command line, from a KubeProxyConfiguration, or from a test.
 */

export type ProxyMode = 'iptables' | 'nftables' | 'userspace' | 'ipvs';

export interface ProxyOptions {
  readonly mode: ProxyMode;
  /** Scheduler of mode ipvs for Services that name none: "rr" unless configured. */
  readonly ipvsScheduler: string;
  /** This node's name: endpoints with this nodeName are local. */
  readonly nodeName: string;
  /** Labels of this node; topology.kubernetes.io/zone is looked at. */
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** As in a KubeProxyConfiguration; PreferSameTrafficDistribution (node hints) is looked at, and on unless it is false. */
  readonly featureGates?: Readonly<Record<string, boolean>>;
  /** The node's primary address (kube-proxy's nodeIP): loadBalancerSourceRanges are compared with it. */
  readonly nodeIP: string;
  /** Every address of this node but loopback: what iptables calls LOCAL. Both families, canonical. */
  readonly nodeIPs: readonly string[];
  /** Loopback addresses; the whole of 127.0.0.0/8 counts as well. */
  readonly loopbackIPs: readonly string[];
  /** CIDRs whose addresses answer on NodePorts; null: the flag was not given, every LOCAL address does. */
  readonly nodePortAddresses: readonly string[] | null;
  /** NodePorts on 127.0.0.0/8 (iptables mode, IPv4). */
  readonly localhostNodePorts: boolean;
  /** CIDRs of pods (kube-proxy's local detector); none: there is no detector. */
  readonly clusterCIDRs: readonly string[];
  /** CIDRs of ClusterIPs: nftables mode drops what goes to an unused one. */
  readonly serviceCIDRs: readonly string[];
  readonly masqueradeAll: boolean;
  /** Echo requests to addresses that only Services have are answered; not unless it is true. */
  readonly answerPing?: boolean;
  /**
   * CIDRs of this host's links, whose hosts answer each other directly. Given, a source is kept only where its replies are
   * known to come back through the proxy: for an endpoint in clusterCIDRs that is not on one link with the source; without
   * clusterCIDRs every connection is masqueraded. null: as kube-proxy decides, whose kernel sees replies anyhow.
   */
  readonly links: readonly string[] | null;
  /**
   * Whether an unserved port of one of our addresses is rejected where the mode would pass it on: set where passing would
   * send the packet round in a circle (a TUN into which the address is routed). False asks for kube-proxy's own behaviour:
   * nftables mode rejects such ports of ClusterIPs, the other modes pass.
   */
  readonly rejectUnserved: boolean;
}

/** A node of which nothing is known, with kube-proxy's defaults: what tools begin with that look at Services alone. */
export const PLAIN_OPTIONS: ProxyOptions = {
  mode: 'iptables',
  ipvsScheduler: 'rr',
  nodeName: '',
  nodeLabels: {},
  nodeIP: '',
  nodeIPs: [],
  loopbackIPs: [],
  nodePortAddresses: null,
  localhostNodePorts: true,
  clusterCIDRs: [],
  serviceCIDRs: [],
  masqueradeAll: false,
  links: null,
  rejectUnserved: false,
};

/** The `config` of a case -> what the proxy is told when it starts. */
import type { ProxyMode, ProxyOptions } from '../control/model/proxy-options.js';
import type { Family } from '../wire/address.js';

/** As the data has it. Fields that a kind of case has no use for are left out there. */
export interface CaseConfig {
  readonly proxyMode?: ProxyMode;
  readonly ipFamily?: Family;
  readonly masqueradeAll?: boolean;
  readonly localDetector?: { readonly mode: string; readonly cidr?: string };
  readonly nodeName?: string;
  readonly nodeIP?: string;
  readonly nodeIPs?: readonly string[];
  readonly loopbackIPs?: readonly string[];
  readonly nodePortAddresses?: readonly string[] | null;
  readonly nodeLabels?: Readonly<Record<string, string>>;
  readonly localhostNodePorts?: boolean;
  readonly serviceCIDRs?: readonly string[];
  readonly featureGates?: Readonly<Record<string, boolean>>;
}

export function optionsOf(config: CaseConfig): ProxyOptions {
  const { localDetector, featureGates } = config;
  return {
    mode: config.proxyMode ?? 'iptables',
    ipvsScheduler: 'rr',
    nodeName: config.nodeName ?? '',
    nodeLabels: config.nodeLabels ?? {},
    nodeIP: config.nodeIP ?? '',
    nodeIPs: config.nodeIPs ?? [],
    loopbackIPs: config.loopbackIPs ?? [],
    nodePortAddresses: config.nodePortAddresses ?? null,
    localhostNodePorts: config.localhostNodePorts ?? false,
    clusterCIDRs: localDetector?.mode === 'ClusterCIDR' ? (localDetector.cidr ?? '').split(',') : [],
    serviceCIDRs: config.serviceCIDRs ?? [],
    masqueradeAll: config.masqueradeAll ?? false,
    // As kube-proxy does it, not as a TUN in front of it would need it.
    links: null,
    rejectUnserved: false,
    ...(featureGates && { featureGates }),
  };
}

/**
 * How the proxy is set up: from the command line, from a KubeProxyConfiguration file, or by kube-proxy's defaults, in
 * this order; and together with what is known of the node the ProxyOptions that decide about packets.
 */
import type { TimeoutProfile } from '../../conntrack/timeouts.js';
import { parseCidr } from '../../wire/address.js';
import type { ProxyMode, ProxyOptions } from '../model/proxy-options.js';
import { type BindAddress, HEALTHZ_PORT, type KubeProxyConfiguration } from './schema.js';

/** What the command line gives; absent: not given. */
export interface Flags {
  readonly proxyMode?: ProxyMode;
  readonly ipvsScheduler?: string;
  readonly clusterCidr?: readonly string[];
  readonly serviceCidr?: readonly string[];
  readonly masqueradeAll?: boolean;
  readonly answerPing?: boolean;
  readonly hostnameOverride?: string;
  readonly nodeLabels?: Readonly<Record<string, string>>;
  readonly nodeportAddresses?: readonly string[];
  readonly healthzBindAddress?: BindAddress | null;
  readonly conntrackTimeouts?: TimeoutProfile;
  readonly conntrackTcpTimeoutEstablished?: number;
  readonly conntrackTcpTimeoutCloseWait?: number;
  readonly conntrackUdpTimeout?: number;
  readonly conntrackUdpTimeoutStream?: number;
  readonly conntrackTcpBeLiberal?: boolean;
  readonly conntrackMaxPerCore?: number;
  readonly conntrackMin?: number;
  readonly maxFlows?: number;
}

/** Everything that is set, defaults filled in. Frozen. */
export interface Settings {
  readonly mode: ProxyMode;
  readonly ipvsScheduler: string;
  readonly clusterCIDRs: readonly string[];
  readonly serviceCIDRs: readonly string[];
  readonly masqueradeAll: boolean;
  /** kube-proxy has no such setting; its mode ipvs answers. */
  readonly answerPing: boolean;
  /** "": the machine's name. */
  readonly hostnameOverride: string;
  /** "": the address of the default route's device. */
  readonly bindAddress: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
  readonly featureGates: Readonly<Record<string, boolean>>;
  /** CIDRs and the words primary, localhost and all; null: as the mode has it. */
  readonly nodePortAddresses: readonly string[] | null;
  readonly localhostNodePorts: boolean;
  /** null: no health server. */
  readonly healthzBindAddress: BindAddress | null;
  readonly bindAddressHardFail: boolean;
  /** A change is published this long after the one before it at the earliest. */
  readonly minSyncPeriodMs: number;
  /** Everything is looked at again after this long. */
  readonly syncPeriodMs: number;
  readonly conntrack: ConntrackSettings;
}

/** How flows are kept; null: not configured, nor by kube-proxy's default. */
export interface ConntrackSettings {
  /** What holds where nothing else is configured. */
  readonly profile: TimeoutProfile;
  readonly tcpEstablishedTimeoutMs: number | null;
  readonly tcpCloseWaitTimeoutMs: number | null;
  readonly udpTimeoutMs: number | null;
  readonly udpStreamTimeoutMs: number | null;
  /** Of the rules that `export` writes; here no window is looked at. */
  readonly tcpBeLiberal: boolean;
  readonly maxPerCore: number | null;
  readonly min: number | null;
  /** Flows of one family. */
  readonly maxFlows: number | null;
}

/** What is known of this node. */
export interface NodeFacts {
  readonly hostname: string;
  /** LOCAL addresses without loopback and link-local ones, canonical. */
  readonly addresses: readonly string[];
  /** The address of the default route's device of each family; "" when there is none. */
  readonly primary: { readonly IPv4: string; readonly IPv6: string };
  /** CIDRs of its links; null: without meaning, nothing is sent. */
  readonly links: readonly string[] | null;
}

/** As in pkg/proxy/apis/config/v1alpha1/defaults.go. */
const SYNC_PERIOD_MS = 30_000;
/** kube-proxy's 1 s spares iptables-restore, which is not run here. */
const MIN_SYNC_PERIOD_MS = 0;
const KUBE_PROXY_TIMEOUT_MS = { established: 86_400_000, closeWait: 3_600_000 } as const;

export function settingsOf(
  flags: Flags,
  file: KubeProxyConfiguration | null,
): { settings: Settings; warnings: string[] } {
  const mode = flags.proxyMode ?? given(file?.mode) ?? 'iptables';
  const { iptables, nftables, ipvs } = file ?? {};
  const ofMode = mode === 'nftables' ? nftables : mode === 'ipvs' ? ipvs : iptables;
  const local = clusterCIDRsOf(flags, file);
  const settings: Settings = {
    mode,
    ipvsScheduler: flags.ipvsScheduler ?? given(ipvs?.scheduler) ?? 'rr',
    clusterCIDRs: local.clusterCIDRs,
    serviceCIDRs: flags.serviceCidr ?? [],
    // ipvs takes iptables.masqueradeAll, as in cmd/kube-proxy/app/server_linux.go.
    masqueradeAll: flags.masqueradeAll ?? (mode === 'nftables' ? nftables : iptables)?.masqueradeAll ?? false,
    answerPing: flags.answerPing ?? false,
    hostnameOverride: flags.hostnameOverride ?? file?.hostnameOverride ?? '',
    bindAddress: unspecifiedAsNone(file?.bindAddress ?? ''),
    nodeLabels: flags.nodeLabels ?? {},
    featureGates: file?.featureGates ?? {},
    nodePortAddresses: nonEmpty(flags.nodeportAddresses ?? file?.nodePortAddresses ?? []),
    localhostNodePorts: iptables?.localhostNodePorts ?? true,
    healthzBindAddress: healthzOf(flags, file),
    bindAddressHardFail: file?.bindAddressHardFail ?? false,
    minSyncPeriodMs: ofMode?.minSyncPeriod ?? MIN_SYNC_PERIOD_MS,
    syncPeriodMs: ofMode?.syncPeriod || SYNC_PERIOD_MS,
    conntrack: conntrackOf(flags, file),
  };
  const unused = file === null ? [] : unusedFields(file, mode);
  return {
    settings: Object.freeze(settings),
    warnings: [
      ...local.warnings,
      ...(unused.length === 0
        ? []
        : [`set in the configuration and without meaning here: ${unused.join(', ')}`]),
    ],
  };
}

/**
 * What decides about packets on this node now.
 * @param own addresses of the device: they are LOCAL too
 */
export function proxyOptionsOf(settings: Settings, node: NodeFacts, own: readonly string[]): ProxyOptions {
  const { mode, clusterCIDRs, bindAddress } = settings;
  const nodeIP = bindAddress || node.primary.IPv4 || node.primary.IPv6;
  const nodePortAddresses = nodePortCidrs(settings, node, nodeIP);
  // Upstream knows it of iptables alone; the userspace proxy of old listened on every address, loopback among them.
  const hasLocalhost = (mode === 'iptables' || mode === 'userspace') && settings.localhostNodePorts;
  return {
    mode,
    ipvsScheduler: settings.ipvsScheduler,
    nodeName: (settings.hostnameOverride || node.hostname).trim().toLowerCase(),
    nodeLabels: settings.nodeLabels,
    featureGates: settings.featureGates,
    nodeIP,
    nodeIPs: [...node.addresses, ...own],
    loopbackIPs: ['127.0.0.1', '::1'],
    nodePortAddresses,
    localhostNodePorts: hasLocalhost && (nodePortAddresses === null || nodePortAddresses.some(hasLoopback)),
    clusterCIDRs,
    serviceCIDRs: settings.serviceCIDRs,
    masqueradeAll: settings.masqueradeAll,
    answerPing: settings.answerPing,
    links: node.links,
    rejectUnserved: true,
  };
}

/** @returns null: every LOCAL address answers on NodePorts */
function nodePortCidrs(
  { mode, nodePortAddresses }: Settings,
  node: NodeFacts,
  nodeIP: string,
): string[] | null {
  const words = nodePortAddresses ?? (mode === 'nftables' ? ['primary'] : ['all']);
  if (words.includes('all')) return null;
  const primary = [...new Set([nodeIP, node.primary.IPv4, node.primary.IPv6])].filter(
    (address) => address !== '',
  );
  const found = words.flatMap((word) => {
    if (word === 'primary')
      return onePerFamily(primary).map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
    if (word === 'localhost') return ['127.0.0.0/8', '::1/128'];
    return parseCidr(word)?.text ?? [];
  });
  // A family that the list says nothing about is not restricted (pkg/proxy/util/nodeport_addresses.go).
  if (!found.some((cidr) => !cidr.includes(':'))) found.push('0.0.0.0/0');
  if (!found.some((cidr) => cidr.includes(':'))) found.push('::/0');
  return [...new Set(found)];
}

const onePerFamily = (addresses: readonly string[]): string[] =>
  [false, true].flatMap((isIPv6) => addresses.find((address) => address.includes(':') === isIPv6) ?? []);

function hasLoopback(text: string): boolean {
  const cidr = parseCidr(text);
  return cidr?.family === 'IPv4' && (cidr.network.startsWith('127.') || cidr.prefixLength === 0);
}

/** Sources that are pods. The packets' device, which two of the modes go by, is not seen behind a TUN device. */
function clusterCIDRsOf(
  flags: Flags,
  file: KubeProxyConfiguration | null,
): { clusterCIDRs: readonly string[]; warnings: string[] } {
  if (flags.clusterCidr !== undefined) return { clusterCIDRs: flags.clusterCidr, warnings: [] };
  const how = given(file?.detectLocalMode) ?? 'ClusterCIDR';
  if (how === 'ClusterCIDR') return { clusterCIDRs: file?.clusterCIDR ?? [], warnings: [] };
  const why =
    how === 'NodeCIDR'
      ? 'needs the podCIDR of the Node object, which is not read'
      : 'goes by the device that a packet came from, which is not seen behind the TUN device';
  return {
    clusterCIDRs: [],
    warnings: [
      `detectLocalMode ${how} ${why}: no source is known as a pod and every connection is masqueraded; --cluster-cidr names the pods' addresses`,
    ],
  };
}

/**
 * A flag wins over the file, the file over the profile. Where neither says how long a connection is kept, profile linux has
 * it as on a node that kube-proxy has set up; 0 is kube-proxy's word for nf_conntrack's own default.
 */
function conntrackOf(flags: Flags, file: KubeProxyConfiguration | null): ConntrackSettings {
  const conntrack = file?.conntrack;
  const profile = flags.conntrackTimeouts ?? 'linux';
  const byDefault = profile === 'linux' ? KUBE_PROXY_TIMEOUT_MS : { established: null, closeWait: null };
  const { conntrackTcpTimeoutEstablished: established, conntrackTcpTimeoutCloseWait: closeWait } = flags;
  return {
    profile,
    tcpEstablishedTimeoutMs:
      (established ?? conntrack?.tcpEstablishedTimeout ?? byDefault.established) || null,
    tcpCloseWaitTimeoutMs: (closeWait ?? conntrack?.tcpCloseWaitTimeout ?? byDefault.closeWait) || null,
    udpTimeoutMs: (flags.conntrackUdpTimeout ?? conntrack?.udpTimeout) || null,
    udpStreamTimeoutMs: (flags.conntrackUdpTimeoutStream ?? conntrack?.udpStreamTimeout) || null,
    tcpBeLiberal: flags.conntrackTcpBeLiberal ?? conntrack?.tcpBeLiberal ?? false,
    maxPerCore: flags.conntrackMaxPerCore ?? conntrack?.maxPerCore ?? null,
    min: flags.conntrackMin ?? conntrack?.min ?? null,
    maxFlows: flags.maxFlows ?? null,
  };
}

/** As the defaults have it: all addresses of the family of bindAddress. "" in the file is the default too. */
function healthzOf(flags: Flags, file: KubeProxyConfiguration | null): BindAddress | null {
  if (flags.healthzBindAddress !== undefined) return flags.healthzBindAddress;
  const host = file?.bindAddress?.includes(':') ? '::' : '0.0.0.0';
  return file?.healthzBindAddress ?? { host, port: HEALTHZ_PORT };
}

/** Fields of the type that nothing here looks at. Those of another mode are left to it in silence, as kube-proxy does. */
const WITHOUT_MEANING: readonly string[] = [
  'clientConnection',
  'logging',
  'metricsBindAddress',
  'enableProfiling',
  'showHiddenMetricsForVersion',
  'iptables.masqueradeBit',
  'iptables.snatNodeInternalIP',
  'ipvs.excludeCIDRs',
  'ipvs.strictARP',
  'ipvs.tcpTimeout',
  'ipvs.tcpFinTimeout',
  'ipvs.udpTimeout',
  'nftables.masqueradeBit',
  'winkernel',
  'detectLocal',
  'oomScoreAdj',
  'configSyncPeriod',
  'portRange',
  'windowsRunAsService',
];

const MODE_SECTIONS: readonly string[] = ['iptables', 'ipvs', 'nftables'];

/** Gates that are looked at. */
const FEATURE_GATES: readonly string[] = ['PreferSameTrafficDistribution'];

function unusedFields(file: KubeProxyConfiguration, mode: ProxyMode): string[] {
  const gates = Object.keys(file.featureGates ?? {}).filter((gate) => !FEATURE_GATES.includes(gate));
  const fields = WITHOUT_MEANING.filter((path) => {
    const [section] = path.split('.');
    if (MODE_SECTIONS.includes(section ?? '') && section !== mode) return false;
    const value = path
      .split('.')
      .reduce<unknown>((at, step) => (at as Record<string, unknown> | null | undefined)?.[step], file);
    return isSet(value);
  });
  return [...gates.map((gate) => `featureGates.${gate}`), ...fields];
}

/** What Go's zero values are not: a file that was written by a program has every field, most of them empty. */
function isSet(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).some(isSet);
  return ![undefined, null, '', 0, '0', false].includes(value as string);
}

const given = <Text extends string>(value: Text | null | undefined): Exclude<Text, ''> | undefined =>
  value === '' || value === null || value === undefined ? undefined : (value as Exclude<Text, ''>);

const nonEmpty = (list: readonly string[]): readonly string[] | null => (list.length === 0 ? null : list);

const unspecifiedAsNone = (address: string): string =>
  address === '0.0.0.0' || address === '::' ? '' : address;

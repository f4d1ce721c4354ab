/**
 * KubeProxyConfiguration, kubeproxy.config.k8s.io/v1alpha1: every field of the type (k8s.io/kube-proxy/config/v1alpha1,
 * types.go). A file that kube-proxy reads is read here; `null` is the same as absent. Each message is the rule in plain
 * words, without subject.
 */
import * as z from 'zod';
import { parseCidr, parseIp } from '../../wire/address.js';
import { parseDurationMs } from './duration.js';

export const API_VERSION = 'kubeproxy.config.k8s.io/v1alpha1';
export const KIND = 'KubeProxyConfiguration';

const text = z.string('must be text').nullish();
const yesOrNo = z.boolean('must be true or false').nullish();
const list = <Item extends z.ZodType>(item: Item) => z.array(item, 'must be a list').nullish();
const section = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, 'must be a mapping of fields').nullish();
const anything = z.unknown().optional();

function whole(min: number, max: number) {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z.int(rule).min(min, rule).max(max, rule).nullish();
}

const DURATION_RULE = 'must be a duration such as "30s" or "1h0m0s"';
/** Read as milliseconds. */
export const timeoutMs = z.string(DURATION_RULE).transform((given, context) => {
  const ms = parseDurationMs(given);
  if (ms !== null && ms >= 0) return ms;
  context.addIssue(ms === null ? DURATION_RULE : 'must not be negative');
  return z.NEVER;
});
const duration = timeoutMs.nullish();

const CIDRS_RULE = 'must be a CIDR such as "10.244.0.0/16", or one of each family with a comma between them';
/** Read as a list of canonical CIDRs. */
export const cidrs = z.string(CIDRS_RULE).transform((given, context) => {
  const parts = given
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const parsed = parts.map(parseCidr);
  const found = parsed.flatMap((cidr) => cidr?.text ?? []);
  if (found.length === parts.length) return found;
  context.addIssue(CIDRS_RULE);
  return z.NEVER;
});

const ADDRESS_RULE = 'must be an IP address such as "0.0.0.0"';
const address = z
  .string(ADDRESS_RULE)
  .refine((given) => given === '' || parseIp(given) !== null, ADDRESS_RULE)
  .nullish();

const BIND_RULE = 'must be an address and port such as "0.0.0.0:10256"';
/** Read as its parts; null: "", which switches it off. */
export const bindAddress = z.string(BIND_RULE).transform((given, context) => {
  const bound = parseBindAddress(given);
  if (bound !== undefined) return bound;
  context.addIssue(BIND_RULE);
  return z.NEVER;
});

const NODE_PORT_RULE = 'must be a CIDR, or "primary", "localhost" or "all"';
export const nodePortAddress = z
  .string(NODE_PORT_RULE)
  .refine((given) => NODE_PORT_KEYWORDS.includes(given) || parseCidr(given) !== null, NODE_PORT_RULE);
const NODE_PORT_KEYWORDS: readonly string[] = ['primary', 'localhost', 'all'];

/** Those that IPVS has and this project can do: as the annotation flowpin.dev/algorithm. */
export const IPVS_SCHEDULERS = ['rr', 'wrr', 'lc', 'wlc', 'sh', 'mh', 'sed', 'nq'] as const;
export const MODES = ['iptables', 'nftables', 'userspace', 'ipvs'] as const;
export const DETECT_LOCAL_MODES = [
  'ClusterCIDR',
  'NodeCIDR',
  'BridgeInterface',
  'InterfaceNamePrefix',
] as const;

const oneOf = <const Names extends readonly string[]>(names: Names) =>
  z.enum(['', ...names], `must be ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`).nullish();

export const kubeProxySchema = z.strictObject({
  apiVersion: z.literal(API_VERSION, `must be ${API_VERSION}`),
  kind: z.literal(KIND, `must be ${KIND}`),
  featureGates: z
    .record(z.string(), z.boolean('must be true or false'), 'must be a mapping of fields')
    .nullish(),
  clientConnection: section({
    kubeconfig: text,
    acceptContentTypes: text,
    contentType: text,
    qps: z.number('must be a number').nullish(),
    burst: whole(-(2 ** 31), 2 ** 31 - 1),
  }),
  logging: section({
    format: text,
    flushFrequency: anything,
    verbosity: anything,
    vmodule: anything,
    options: anything,
  }),
  hostnameOverride: text,
  bindAddress: address,
  healthzBindAddress: bindAddress.nullish(),
  metricsBindAddress: bindAddress.nullish(),
  bindAddressHardFail: yesOrNo,
  enableProfiling: yesOrNo,
  showHiddenMetricsForVersion: text,
  mode: oneOf(MODES),
  iptables: section({
    masqueradeBit: whole(0, 31),
    masqueradeAll: yesOrNo,
    localhostNodePorts: yesOrNo,
    snatNodeInternalIP: yesOrNo,
    syncPeriod: duration,
    minSyncPeriod: duration,
  }),
  ipvs: section({
    syncPeriod: duration,
    minSyncPeriod: duration,
    scheduler: oneOf(IPVS_SCHEDULERS),
    excludeCIDRs: list(z.string('must be text')),
    strictARP: yesOrNo,
    tcpTimeout: duration,
    tcpFinTimeout: duration,
    udpTimeout: duration,
  }),
  nftables: section({
    masqueradeBit: whole(0, 31),
    masqueradeAll: yesOrNo,
    syncPeriod: duration,
    minSyncPeriod: duration,
  }),
  winkernel: section({
    networkName: text,
    sourceVip: text,
    enableDSR: yesOrNo,
    rootHnsEndpointName: text,
    forwardHealthCheckVip: yesOrNo,
  }),
  detectLocalMode: oneOf(DETECT_LOCAL_MODES),
  detectLocal: section({ bridgeInterface: text, interfaceNamePrefix: text }),
  clusterCIDR: cidrs.nullish(),
  nodePortAddresses: list(nodePortAddress),
  oomScoreAdj: whole(-1000, 1000),
  conntrack: section({
    maxPerCore: whole(0, 2 ** 31 - 1),
    min: whole(0, 2 ** 31 - 1),
    tcpEstablishedTimeout: duration,
    tcpCloseWaitTimeout: duration,
    tcpBeLiberal: yesOrNo,
    udpTimeout: duration,
    udpStreamTimeout: duration,
  }),
  configSyncPeriod: duration,
  portRange: text,
  windowsRunAsService: yesOrNo,
});

export type KubeProxyConfiguration = z.infer<typeof kubeProxySchema>;

/** Where a server listens. */
export interface BindAddress {
  readonly host: string;
  readonly port: number;
}

/** Where kube-proxy's health server listens unless told otherwise. */
export const HEALTHZ_PORT = 10256;

/** @param given an address alone gets the health server's port @returns null for "", undefined for what is none */
export function parseBindAddress(given: string): BindAddress | null | undefined {
  if (given === '') return null;
  const alone = parseIp(given);
  if (alone !== null) return { host: alone.text, port: HEALTHZ_PORT };
  const parts = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(given);
  const host = parts?.[1] ?? parts?.[2] ?? '';
  const ip = host === '' ? '0.0.0.0' : parseIp(host)?.text;
  const port = Number(parts?.[3] ?? -1);
  return parts === null || ip === undefined || port > 65535 ? undefined : { host: ip, port };
}

/** Every field as a path, for suggestions: "iptables.masqueradeAll". */
export const FIELDS: readonly string[] = fieldsOf(kubeProxySchema, '');

function fieldsOf(schema: z.ZodObject, prefix: string): string[] {
  return Object.entries(schema.shape).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    let inner: unknown = field;
    while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable) inner = inner.unwrap();
    return inner instanceof z.ZodObject ? [path, ...fieldsOf(inner, `${path}.`)] : [path];
  });
}

/**
 * A Service of the right structure -> a checked Service, or the reasons why not.
 *
 * What would make the Service another one than was meant sets it aside as a whole: a malformed clusterIP, ports that
 * contradict each other, a malformed source range (without it others could get in than shall). An external address that
 * is malformed is left out alone: the clusterIP serves well without it.
 */
import type * as z from 'zod';
import { parseCidr } from '../../wire/address.js';
import { type Address, readAddress } from './addresses.js';
import { readAnnotations } from './annotations.js';
import type { ListedAddress, ListedCidr, Service } from './kube-object.js';
import { readMeta } from './read-meta.js';
import { type Report, show } from './report.js';
import type { serviceSchema } from './schema.js';

type Given = z.infer<typeof serviceSchema>;
type Spec = Given['spec'];

/** pkg/apis/core/v1/defaults.go: three hours. */
const AFFINITY_SEC_DEFAULT = 10_800;

/** @returns null, with the reasons reported, when the Service is set aside as a whole */
export function readService({ metadata, spec, status }: Given, report: Report): Service | null {
  const ports = readPorts(spec, report);
  const clusterIPs = readClusterIPs(spec, report);
  const loadBalancerSourceRanges = readSourceRanges(spec, report);
  if (report.setAside.length > 0) return null;
  return {
    kind: 'Service',
    ...readMeta(metadata, report),
    creationTimestamp: metadata.creationTimestamp ?? null,
    type: spec.type || 'ClusterIP',
    headless: spec.clusterIP === 'None',
    clusterIPs,
    externalIPs: readExternalIPs(spec, report),
    loadBalancerIngress: readIngress(status, report),
    loadBalancerSourceRanges,
    internalTrafficPolicy: spec.internalTrafficPolicy || 'Cluster',
    externalTrafficPolicy: spec.externalTrafficPolicy || 'Cluster',
    healthCheckNodePort: spec.healthCheckNodePort ?? 0,
    affinitySec:
      spec.sessionAffinity === 'ClientIP'
        ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_SEC_DEFAULT)
        : 0,
    ports,
    annotations: readAnnotations(metadata.annotations ?? {}, report),
  };
}

function readPorts(spec: Spec, report: Report): Service['ports'] {
  const ports = (spec.ports ?? []).map(({ name, protocol, port, nodePort }) => ({
    name: name ?? '',
    protocol: protocol || ('TCP' as const),
    port,
    nodePort: nodePort ?? 0,
  }));
  // The API server refuses both (pkg/apis/core/validation, ValidateService).
  for (const index of repeated(ports.map(({ name }) => name))) {
    report.add(
      ['spec', 'ports', index, 'name'],
      `must differ from the other ports' names; ${show(ports[index]?.name)} is taken`,
    );
  }
  for (const index of repeated(ports.map(({ protocol, port }) => `${port}/${protocol}`))) {
    report.add(['spec', 'ports', index, 'port'], 'must differ from the other ports with this protocol');
  }
  return ports;
}

/** clusterIPs came with dual-stack, and its first is clusterIP again; older objects have clusterIP alone. */
function readClusterIPs({ clusterIP, clusterIPs }: Spec, report: Report): Address[] {
  const listed = clusterIPs ?? [];
  if (listed.length > 0 && clusterIP && clusterIP !== listed[0]) {
    report.add(['spec', 'clusterIPs', 0], `must be the same as spec.clusterIP, ${show(clusterIP)}`);
  }
  const found: Address[] = [];
  for (const [index, text] of (listed.length > 0 ? listed : [clusterIP ?? '']).entries()) {
    if (text === '' || text === 'None') continue;
    const path = listed.length > 0 ? ['spec', 'clusterIPs', index] : ['spec', 'clusterIP'];
    const ip = readAddress(text, null);
    if ('refusal' in ip) report.add(path, ip.refusal);
    else if (found.some(({ family }) => family === ip.family))
      report.add(path, `must not be a second ${ip.family} address`);
    else found.push(ip);
  }
  return found;
}

/** The API server lets blanks around a range through; kube-proxy trims them (serviceport.go, newBaseServiceInfo). */
function readSourceRanges({ loadBalancerSourceRanges }: Spec, report: Report): ListedCidr[] {
  return (loadBalancerSourceRanges ?? []).flatMap((text, index) => {
    const range = parseCidr(text.trim());
    if (range !== null) return [{ family: range.family, cidr: range.text, index }];
    report.add(
      ['spec', 'loadBalancerSourceRanges', index],
      `must be an address with a prefix length, such as "203.0.113.0/24", not ${show(text)}`,
    );
    return [];
  });
}

function readExternalIPs({ externalIPs }: Spec, report: Report): ListedAddress[] {
  return (externalIPs ?? []).flatMap((text, index) => {
    const ip = readAddress(text, null);
    if (!('refusal' in ip)) return [{ ...ip, index }];
    report.add(['spec', 'externalIPs', index], ip.refusal);
    return [];
  });
}

/** A load balancer that is known by its host name alone has no ip: it delivers to NodePorts. */
function readIngress(status: Given['status'], report: Report): Service['loadBalancerIngress'] {
  return (status?.loadBalancer?.ingress ?? []).flatMap(({ ip: text, ipMode }, index) => {
    if (text === undefined || text === null || text === '') return [];
    const ip = readAddress(text, null);
    if (!('refusal' in ip)) return [{ ...ip, index, ipMode: ipMode || ('VIP' as const) }];
    report.add(['status', 'loadBalancer', 'ingress', index, 'ip'], ip.refusal);
    return [];
  });
}

/** Positions of the elements that stood earlier in the list already. */
const repeated = (values: readonly string[]): number[] => {
  const seen = new Set<string>();
  return [...values.keys()].filter((index) => {
    const value = values[index] ?? '';
    const isRepeated = seen.has(value);
    seen.add(value);
    return isRepeated;
  });
};

/**
 * A plain value, as a file or the API gives it -> a checked Kubernetes object, or the reasons why not.
 *
 * What is set aside: the whole object when its structure is wrong (a missing field, a wrong type, a port out of range),
 * because a half-read object would be applied as if it were whole. A malformed address of an endpoint takes
 * only that endpoint with it: the API server would not have let it in, and its neighbours serve well without it.
 */
import type * as z from 'zod';
import { type Address, readAddress } from './addresses.js';
import type {
  EndpointAddress,
  EndpointPort,
  EndpointSlice,
  Endpoints,
  KubeObject,
  Service,
  SliceEndpoint,
} from './kube-object.js';
import type { Origin, Path, SetAside } from './origin.js';
import { readMeta } from './read-meta.js';
import { readService } from './read-service.js';
import { Report, show } from './report.js';
import {
  endpointSliceSchema,
  endpointsSchema,
  SERVICE_NAME_LABEL,
  serviceSchema,
  typeMetaSchema,
} from './schema.js';

/** What became of one value. */
export interface ReadObject {
  /** null: set aside as a whole, or of another kind. */
  readonly object: KubeObject | null;
  /** An object that a proxy does not read; null otherwise. */
  readonly otherKind: { readonly apiVersion: string; readonly kind: string } | null;
  readonly setAside: readonly SetAside[];
}

/** @param value an object with apiVersion and kind @param origin where it stands, for the remarks */
export function readObject(value: unknown, origin: Origin): ReadObject {
  const report = new Report(value, origin);
  const type = accepted(typeMetaSchema, value, report);
  if (type === null) return { object: null, otherKind: null, setAside: report.setAside };
  const { apiVersion, kind } = type;
  const reader = READERS.find(
    (known) => known.kind === kind && groupOf(known.apiVersion) === groupOf(apiVersion),
  );
  if (reader === undefined) return { object: null, otherKind: { apiVersion, kind }, setAside: [] };
  if (reader.apiVersion !== apiVersion) {
    report.add(['apiVersion'], `must be ${reader.apiVersion}, not ${show(apiVersion)}`);
    return { object: null, otherKind: null, setAside: report.setAside };
  }
  const object = reader.read(value, report);
  return { object, otherKind: null, setAside: report.setAside };
}

/** Each answers null when the object is set aside as a whole. */
const READERS: readonly {
  apiVersion: string;
  kind: string;
  read: (value: unknown, report: Report) => KubeObject | null;
}[] = [
  { apiVersion: 'v1', kind: 'Service', read: readServiceObject },
  { apiVersion: 'v1', kind: 'Endpoints', read: readEndpoints },
  { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', read: readEndpointSlice },
];

/** "discovery.k8s.io/v1" -> "discovery.k8s.io"; "v1" -> "", the core group. */
const groupOf = (apiVersion: string): string => apiVersion.slice(0, Math.max(apiVersion.indexOf('/'), 0));

function readServiceObject(value: unknown, report: Report): Service | null {
  const given = accepted(serviceSchema, value, report);
  return given === null ? null : readService(given, report);
}

function readEndpointSlice(value: unknown, report: Report): EndpointSlice | null {
  const given = accepted(endpointSliceSchema, value, report);
  if (given === null) return null;
  const { metadata, addressType } = given;
  const endpoints: SliceEndpoint[] = [];
  for (const [index, { addresses, conditions, nodeName, zone, hints }] of (given.endpoints ?? []).entries()) {
    // Host names are not addresses: the model has no use for such a slice, nor has kube-proxy.
    if (addressType === 'FQDN') break;
    const path: Path = ['endpoints', index, 'addresses'];
    const [first] = checkedAddresses(addresses ?? [], addressType, path, report);
    if (first === undefined) continue;
    endpoints.push({
      address: first.address,
      ready: conditions?.ready ?? null,
      serving: conditions?.serving ?? null,
      terminating: conditions?.terminating ?? null,
      nodeName: nodeName ?? null,
      zone: zone ?? null,
      zoneHints: namesOf(hints?.forZones),
      nodeHints: namesOf(hints?.forNodes),
    });
  }
  return {
    kind: 'EndpointSlice',
    ...readMeta(metadata, report),
    serviceName: metadata.labels[SERVICE_NAME_LABEL],
    addressType,
    ports: portsOf(given.ports),
    endpoints,
  };
}

/** One empty list for all: most endpoints of a large cluster have no hints. */
const NO_HINTS: readonly string[] = [];

const namesOf = (hints: readonly { readonly name: string }[] | null | undefined): readonly string[] =>
  hints && hints.length > 0 ? hints.map(({ name }) => name) : NO_HINTS;

/** @returns all of one endpoint's addresses; none when one of them is wrong */
function checkedAddresses(
  values: readonly unknown[],
  family: Address['family'],
  path: Path,
  report: Report,
): Address[] {
  if (values.length === 0) report.add(path, 'must hold an address');
  const found: Address[] = [];
  for (const [index, value] of values.entries()) {
    const ip = readAddress(value, family);
    if ('refusal' in ip) {
      report.add([...path, index], ip.refusal);
      return [];
    }
    found.push(ip);
  }
  return found;
}

function readEndpoints(value: unknown, report: Report): Endpoints | null {
  const given = accepted(endpointsSchema, value, report);
  if (given === null) return null;
  return {
    kind: 'Endpoints',
    ...readMeta(given.metadata, report),
    subsets: (given.subsets ?? []).map(({ addresses, notReadyAddresses, ports }, index) => ({
      addresses: subsetAddresses(addresses ?? [], ['subsets', index, 'addresses'], report),
      notReadyAddresses: subsetAddresses(
        notReadyAddresses ?? [],
        ['subsets', index, 'notReadyAddresses'],
        report,
      ),
      ports: portsOf(ports),
    })),
  };
}

function subsetAddresses(
  values: readonly { ip?: unknown; nodeName?: string | null | undefined }[],
  path: Path,
  report: Report,
): EndpointAddress[] {
  const found: EndpointAddress[] = [];
  for (const [index, { ip: text, nodeName }] of values.entries()) {
    const ip = readAddress(text, null);
    if ('refusal' in ip) report.add([...path, index, 'ip'], ip.refusal);
    else found.push({ ...ip, nodeName: nodeName ?? null });
  }
  return found;
}

type GivenPorts = z.infer<typeof endpointSliceSchema>['ports'];

// Defaults as the API server sets them: pkg/apis/discovery/v1/defaults.go, pkg/apis/core/v1/defaults.go.
const portsOf = (ports: GivenPorts): EndpointPort[] =>
  (ports ?? []).map(({ name, protocol, port }) => ({
    name: name ?? '',
    protocol: protocol || 'TCP',
    port: port ?? null,
  }));

/** @returns the value as the schema reads it; null, with the reasons reported, when it does not fit */
function accepted<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  report: Report,
): z.infer<Schema> | null {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  report.addIssues(parsed.error.issues);
  return null;
}

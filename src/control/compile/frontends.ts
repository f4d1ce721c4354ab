/**
 * Kubernetes objects -> the flat list of addresses that the proxy answers for. Pure: the same objects, in
 * whatever order, give the same list. It is plain data, sorted, and made to be printed and compared.
 */
import type { Family } from '../../wire/address.js';
import { endpointText, usableEndpoints } from '../model/endpoint.js';
import { endpointsMapOf } from '../model/endpoints-map.js';
import { ignoredOf } from '../model/ignored.js';
import { endpointsInUse, slicesOfEndpoints } from '../model/legacy-endpoints.js';
import { type ServicePort, servicePortMapOf } from '../model/service-port.js';
import { type ServicePortName, servicePortNameText } from '../model/service-port-name.js';
import type { Loaded } from '../sources/file.js';
import { objectLabel, type Protocol, type Service } from '../sources/kube-object.js';
import { type Ignored, remarkAt, type SetAside } from '../sources/origin.js';

/** One (address, port, protocol) that the proxy answers for, and where its flows go. */
export interface Frontend {
  /** Canonical text. */
  readonly address: string;
  readonly family: Family;
  readonly port: number;
  readonly protocol: Protocol;
  readonly servicePort: ServicePortName;
  /** Those that may get new flows now, in kube-proxy's order; none: new flows are rejected. */
  readonly endpoints: readonly { readonly address: string; readonly port: number }[];
}

export interface Frontends {
  /** Sorted by the service port's name as printed, then by address. */
  readonly frontends: readonly Frontend[];
  /** Everything that is wrong with the input: what `loaded` has set aside, then what shows between objects. */
  readonly setAside: readonly SetAside[];
  readonly ignored: readonly Ignored[];
}

/** @param loaded as `loadFiles` answers it; the order of its objects does not matter */
export function frontendsOf(loaded: Pick<Loaded, 'objects' | 'setAside'>): Frontends {
  const { objects } = loaded;
  const services = objects.filter((object) => object.kind === 'Service').sort(byAge);
  const slices = objects.filter((object) => object.kind === 'EndpointSlice');
  const legacy = endpointsInUse(
    objects.filter((object) => object.kind === 'Endpoints'),
    slices,
  );
  const allSlices = [...slices, ...legacy.flatMap(slicesOfEndpoints)];

  const frontends: Frontend[] = [];
  const setAside = [...loaded.setAside];
  for (const family of ['IPv4', 'IPv6'] as const) {
    const endpointsMap = endpointsMapOf(allSlices, family);
    const owners = new Map<string, ServicePort>();
    for (const [key, servicePort] of servicePortMapOf(services, family)) {
      const { name, clusterIP, port, protocol } = servicePort;
      const destination = `${endpointText({ ip: clusterIP, port })}/${protocol}`;
      const owner = owners.get(destination);
      if (owner !== undefined) {
        setAside.push(taken(servicePort, destination, owner));
        continue;
      }
      owners.set(destination, servicePort);
      const endpoints = usableEndpoints(endpointsMap.get(key) ?? []);
      frontends.push({
        address: clusterIP,
        family,
        port,
        protocol,
        servicePort: name,
        endpoints: endpoints.map(({ ip, port }) => ({ address: ip, port })),
      });
    }
  }
  return { frontends: sorted(frontends), setAside, ignored: ignoredOf(objects) };
}

/**
 * No cluster gives an address twice, but files from two clusters do. Only this port of this address is lost:
 * nothing is wrong with the Service's other ports.
 */
function taken({ service, index }: ServicePort, destination: string, owner: ServicePort): SetAside {
  const { file, line } = owner.service.origin;
  const reason = `${destination} is taken by ${objectLabel(owner.service)} (${file}:${line})`;
  return remarkAt(service.origin, objectLabel(service), ['spec', 'ports', index, 'port'], reason);
}

/** Oldest first, then by name. A Service without creationTimestamp has not been created yet: it comes last. */
function byAge(a: Service, b: Service): number {
  const ageA = createdAtMs(a);
  const ageB = createdAtMs(b);
  if (ageA !== ageB) return ageA < ageB ? -1 : 1;
  return objectLabel(a) < objectLabel(b) ? -1 : 1;
}

const createdAtMs = ({ creationTimestamp }: Service): number =>
  creationTimestamp === null ? Number.POSITIVE_INFINITY : Date.parse(creationTimestamp);

function sorted(frontends: readonly Frontend[]): Frontend[] {
  return frontends
    .map((frontend) => ({
      frontend,
      key: [servicePortNameText(frontend.servicePort), frontend.address] as const,
    }))
    .sort((a, b) => compare(a.key[0], b.key[0]) || compare(a.key[1], b.key[1]))
    .map(({ frontend }) => frontend);
}

/** By UTF-16 unit, the same on every machine; for names and addresses also the same as Go's. */
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

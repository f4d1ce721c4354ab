/** What of the input the proxy has no use for, and why, for `flowpin check`: nothing is dropped in silence. */
import type { EndpointPort, EndpointSlice, Endpoints, KubeObject, Service } from '../sources/kube-object.js';
import { objectLabel } from '../sources/kube-object.js';
import { type Ignored, type Path, remarkAt } from '../sources/origin.js';
import { endpointsInUse } from './legacy-endpoints.js';
import { skipServiceReason } from './service-port.js';

/** In the order of the objects. */
export function ignoredOf(objects: readonly KubeObject[]): Ignored[] {
  const services = new Set(objects.filter((object) => object.kind === 'Service').map(nameText));
  const slices = objects.filter((object) => object.kind === 'EndpointSlice');
  const inUse = new Set(
    endpointsInUse(
      objects.filter((object) => object.kind === 'Endpoints'),
      slices,
    ),
  );
  const ignoredObject = (object: KubeObject): Ignored[] => {
    switch (object.kind) {
      case 'Service':
        return ignoredService(object);
      case 'EndpointSlice':
        return ignoredSlice(object, services.has(`${object.namespace}/${object.serviceName}`));
      case 'Endpoints':
        return ignoredEndpoints(object, services.has(nameText(object)), inUse.has(object));
    }
  };
  return objects.flatMap(ignoredObject);
}

function ignoredService(service: Service): Ignored[] {
  const reason = skipServiceReason(service);
  return reason === null ? [] : [ignored(service, [], reason)];
}

function ignoredSlice(slice: EndpointSlice, hasService: boolean): Ignored[] {
  const { namespace, serviceName, addressType, ports } = slice;
  if (!hasService) return [ignored(slice, [], `there is no Service ${namespace}/${serviceName}`)];
  if (addressType === 'FQDN') return [ignored(slice, ['addressType'], 'host names are not addresses')];
  return ignoredPorts(slice, ports, ['ports']);
}

function ignoredEndpoints(endpoints: Endpoints, hasService: boolean, isInUse: boolean): Ignored[] {
  if (!hasService) return [ignored(endpoints, [], `there is no Service ${nameText(endpoints)}`)];
  if (!isInUse) return [ignored(endpoints, [], 'the Service has EndpointSlices, which are used instead')];
  return endpoints.subsets.flatMap(({ ports }, index) =>
    ignoredPorts(endpoints, ports, ['subsets', index, 'ports']),
  );
}

const ignoredPorts = (object: KubeObject, ports: readonly EndpointPort[], path: Path): Ignored[] =>
  ports.flatMap(({ port }, index) =>
    port === null ? [ignored(object, [...path, index], 'the port has no number')] : [],
  );

const ignored = (object: KubeObject, path: Path, reason: string): Ignored =>
  remarkAt(object.origin, objectLabel(object), path, reason);

const nameText = ({ namespace, name }: KubeObject): string => `${namespace}/${name}`;

/** What of the input the proxy has no use for, and why, for `flowpin check`: nothing is dropped in silence. */
import type {
  EndpointPort,
  EndpointSlice,
  Endpoints,
  KubeObject,
  ListedAddress,
  Service,
} from '../sources/kube-object.js';
import { nameText, objectLabel } from '../sources/kube-object.js';
import { type Ignored, type Path, remarkAt } from '../sources/origin.js';
import { endpointsInUse } from './legacy-endpoints.js';
import { healthCheckNodePortOf, passOverReason, skipServiceReason } from './service-port.js';

/** In the order of the objects. */
export function ignoredOf(objects: readonly KubeObject[]): Ignored[] {
  const services = new Set(objects.filter((object) => object.kind === 'Service').map(nameText));
  const seen = objects.filter((object) => passOverReason(object) === null);
  const inUse = new Set(
    endpointsInUse(
      seen.filter((object) => object.kind === 'Endpoints'),
      seen.filter((object) => object.kind === 'EndpointSlice'),
    ),
  );
  const ignoredObject = (object: KubeObject): Ignored[] => {
    const reason = passOverReason(object);
    if (reason !== null) return [ignored(object, ['metadata', 'labels'], reason)];
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
  return reason === null ? ignoredFields(service) : [ignored(service, [], reason)];
}

/** Parts of a Service that is served: kube-proxy passes them over, and says so in its log at most. */
function ignoredFields(service: Service): Ignored[] {
  const { clusterIPs, externalIPs, loadBalancerIngress, loadBalancerSourceRanges, healthCheckNodePort } =
    service;
  const ofOtherFamily = (listed: readonly Pick<ListedAddress, 'family' | 'index'>[], path: Path): Ignored[] =>
    listed
      .filter(({ family }) => clusterIPs.every((clusterIP) => clusterIP.family !== family))
      .map(({ family, index }) =>
        ignored(service, [...path, index], `the Service has no ${family} clusterIP`),
      );
  const ingress: Path = ['status', 'loadBalancer', 'ingress'];
  const isVip = ({ ipMode }: { readonly ipMode: string }): boolean => ipMode === 'VIP';
  const found = [
    ...ofOtherFamily(externalIPs, ['spec', 'externalIPs']),
    ...ofOtherFamily(loadBalancerSourceRanges, ['spec', 'loadBalancerSourceRanges']),
    ...ofOtherFamily(loadBalancerIngress.filter(isVip), ingress),
    ...loadBalancerIngress
      .filter((given) => !isVip(given))
      .map(({ index }) =>
        ignored(service, [...ingress, index], 'ipMode Proxy: the load balancer answers there itself'),
      ),
  ];
  if (healthCheckNodePort !== healthCheckNodePortOf(service)) {
    const reason =
      'only a Service of type LoadBalancer with externalTrafficPolicy Local is asked for its health';
    found.push(ignored(service, ['spec', 'healthCheckNodePort'], reason));
  }
  return found;
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

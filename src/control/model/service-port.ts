/** Services -> ServicePortMap, for one address family: kube-proxy's pkg/proxy/serviceport.go and servicechangetracker.go. */
import type { Family } from '../../wire/address.js';
import type { Protocol, Service } from '../sources/kube-object.js';
import { type ServicePortName, servicePortKey } from './service-port-name.js';

/** The facts of one port of one Service. */
export interface ServicePort {
  readonly name: ServicePortName;
  /** Canonical text. */
  readonly clusterIP: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly service: Service;
  /** The port's position in spec.ports. */
  readonly index: number;
}

/** By `servicePortKey`. */
export type ServicePortMap = ReadonlyMap<string, ServicePort>;

/** @returns the ports of all Services that the proxy serves and that have a clusterIP of this family */
export function servicePortMapOf(services: readonly Service[], family: Family): ServicePortMap {
  const map = new Map<string, ServicePort>();
  for (const service of services) {
    const clusterIP = service.clusterIPs.find((ip) => ip.family === family)?.address;
    if (clusterIP === undefined || skipServiceReason(service) !== null) continue;
    const { namespace, name } = service;
    for (const [index, { name: port, protocol, port: number }] of service.ports.entries()) {
      const servicePortName = { namespace, name, port, protocol };
      map.set(servicePortKey(servicePortName), {
        name: servicePortName,
        clusterIP,
        port: number,
        protocol,
        service,
        index,
      });
    }
  }
  return map;
}

/** @returns why the proxy does not serve this Service, null when it does: kube-proxy's ShouldSkipService */
export function skipServiceReason({ type, headless, clusterIPs, ports }: Service): string | null {
  if (type === 'ExternalName') return 'type ExternalName is answered by DNS, not by a proxy';
  if (headless) return 'headless (clusterIP None): clients connect to the endpoints themselves';
  if (clusterIPs.length === 0) return 'no clusterIP is assigned';
  if (ports.length === 0) return 'no ports';
  return null;
}

/**
 * Who has which destination. No cluster gives an address or a NodePort twice, but files from two clusters do, and
 * externalIPs and load balancer addresses are checked by nobody: the first to claim one has it, the others do without.
 */
import { endpointText } from '../model/endpoint.js';
import type { ServicePort } from '../model/service-port.js';
import { type ListedAddress, objectLabel } from '../sources/kube-object.js';
import { type Ignored, type Path, remarkAt, type SetAside } from '../sources/origin.js';

export class Claims {
  readonly #owners = new Map<string, ServicePort>();
  readonly #setAside = new Map<string, SetAside>();
  readonly #ignored: Ignored[] = [];

  get setAside(): readonly SetAside[] {
    return [...this.#setAside.values()];
  }

  get ignored(): readonly Ignored[] {
    return this.#ignored;
  }

  /**
   * @param port of the oldest Service first
   * @returns the port with the destinations that are its own; null when its clusterIP is another's
   */
  claim(port: ServicePort): ServicePort | null {
    const { index, clusterIP, nodePort, protocol, family, service } = port;
    const takes = (address: string, path: Path): boolean => {
      const destination = `${endpointText({ ip: address, port: port.port })}/${protocol}`;
      return this.#take(destination, destination, port, path);
    };
    if (!takes(clusterIP, ['spec', 'ports', index, 'port'])) return null;
    const externalIPs = port.externalIPs.filter((address) =>
      takes(address, ['spec', 'externalIPs', indexOf(address, service.externalIPs)]),
    );
    const loadBalancerVIPs = port.loadBalancerVIPs.filter((address) =>
      takes(address, [
        'status',
        'loadBalancer',
        'ingress',
        indexOf(address, service.loadBalancerIngress),
        'ip',
      ]),
    );
    const hasNodePort =
      nodePort !== 0 &&
      this.#take(`${family} ${nodePort}/${protocol}`, `NodePort ${nodePort}/${protocol}`, port, [
        'spec',
        'ports',
        index,
        'nodePort',
      ]);
    const hasAll =
      externalIPs.length === port.externalIPs.length &&
      loadBalancerVIPs.length === port.loadBalancerVIPs.length &&
      hasNodePort === (nodePort !== 0);
    return hasAll ? port : { ...port, externalIPs, loadBalancerVIPs, nodePort: hasNodePort ? nodePort : 0 };
  }

  /** @param port the first of a Service that has a healthCheckNodePort @returns whether it is the Service's own */
  claimHealthCheck(port: ServicePort): boolean {
    const text = `healthCheckNodePort ${port.healthCheckNodePort}`;
    return this.#take(text, text, port, ['spec', 'healthCheckNodePort']);
  }

  /** @param key of the destination @param text as it is told @param path the field that asks for it */
  #take(key: string, text: string, port: ServicePort, path: Path): boolean {
    const owner = this.#owners.get(key);
    if (owner === undefined) {
      this.#owners.set(key, port);
      return true;
    }
    const { service } = port;
    const label = objectLabel(service);
    if (owner === port) {
      this.#ignored.push(remarkAt(service.origin, label, path, `${text} is served already`));
      return false;
    }
    const { file, line } = owner.service.origin;
    const reason = `${text} is taken by ${objectLabel(owner.service)} (${file}:${line})`;
    const remark = remarkAt(service.origin, label, path, reason);
    // A NodePort is lost in both families at once, which is one thing to say.
    this.#setAside.set(`${label} ${remark.field} ${reason}`, remark);
    return false;
  }
}

/** Position in the object's list of an address that is there. */
const indexOf = (address: string, listed: readonly ListedAddress[]): number =>
  listed.findLast((given) => given.address === address)?.index ?? 0;

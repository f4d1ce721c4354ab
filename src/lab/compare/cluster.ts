/**
 * The control plane of a run: Kubernetes objects, what a strategy makes of them, and how events change them. It ends in the
 * bytes of a service table, through the production plan and compiler.
 */
import { compile } from '../../control/compile/compile.js';
import { Planner } from '../../control/compile/plan.js';
import type { Registry } from '../../control/compile/registry.js';
import { PLAIN_OPTIONS, type ProxyOptions } from '../../control/model/proxy-options.js';
import { servicePortNameText } from '../../control/model/service-port-name.js';
import {
  type EndpointSlice,
  type Endpoints,
  type KubeObject,
  nameText,
  type Service,
} from '../../control/sources/kube-object.js';
import { Origin } from '../../control/sources/origin.js';
import { readObject } from '../../control/sources/read-object.js';
import { ipv4Number, ipv4Text } from '../../wire/address.js';
import { word } from '../../wire/byte-order.js';
import type { Strategy } from './strategies.js';

/** A Service port that clients of the lab talk to. */
export interface Target {
  /** "namespace/name:port". */
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly address: string;
  readonly port: number;
}

/** The Services of a lab: what clients talk to, and the objects behind it. */
export interface Services {
  readonly objects: readonly KubeObject[];
  /** "namespace/name" of the Service whose endpoints events change. */
  readonly service: string;
  readonly ports: readonly Target[];
  /** The first port of each protocol. */
  readonly targets: { readonly TCP: Target | null; readonly UDP: Target | null };
  /** Addresses of its endpoints, in the table's order. */
  readonly endpoints: readonly string[];
}

/** As Kubernetes has it by default (v1 defaults: 3 hours). */
const AFFINITY_SEC = 10_800;

/** A Service of the lab's own with `count` endpoints, a TCP and a UDP port. */
export const labServices = (count: number): Services => madeServices(count, LAB_ADDRESS, LAB_PORTS);

export const LAB_ADDRESS = '10.96.0.10';
export const LAB_PORTS = [
  { protocol: 'TCP', port: 80 },
  { protocol: 'UDP', port: 53 },
] as const;

/** One in each /24, so that every one can be a host behind a link of its own. */
export const endpointAddresses = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `10.244.${i}.2`);

/** Where endpoints listen for a port of their Service. */
export const targetPortOf = (port: number): number => 8000 + (port % 1000);

/** A Service and its endpoints as Kubernetes objects. @param settings what its metadata and spec have besides */
export function serviceManifests(
  addresses: readonly string[],
  clusterIP: string,
  given: readonly Pick<Target, 'protocol' | 'port'>[],
  settings: {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly sessionAffinity?: 'ClientIP';
  } = {},
): object[] {
  const { annotations = {}, sessionAffinity = 'None' } = settings;
  const ports = given.map(({ protocol, port }) => ({
    name: protocol.toLowerCase(),
    protocol,
    port,
    targetPort: targetPortOf(port),
  }));
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'lab', namespace: 'default', annotations },
      spec: { clusterIP, sessionAffinity, ports },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'lab-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'lab' } },
      addressType: 'IPv4',
      ports: ports.map(({ name, protocol, targetPort }) => ({ name, protocol, port: targetPort })),
      endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    },
  ];
}

/** A Service of this address and these ports. */
export function madeServices(
  count: number,
  clusterIP: string,
  ports: readonly Pick<Target, 'protocol' | 'port'>[],
): Services {
  const objects = serviceManifests(endpointAddresses(count), clusterIP, ports);
  const origin = new Origin('lab', () => 1);
  const made = servicesOf(
    objects.flatMap((object) => readObject(object, origin).object ?? []),
    null,
  );
  if (typeof made === 'string') throw new Error(`${clusterIP} is not the address of a Service: ${made}`);
  return made;
}

/**
 * What of the user's objects the lab can talk to: a Service with an IPv4 ClusterIP and endpoints.
 * @param wanted "namespace/name", or null: the first one
 * @returns why there is none, if there is none
 */
export function servicesOf(objects: readonly KubeObject[], wanted: string | null): Services | string {
  const planner = new Planner(PLAIN_OPTIONS);
  planner.state.replace(objects);
  const usable = planner
    .plan()
    .ports.filter(
      ({ servicePort: { family, protocol }, endpoints }) =>
        family === 'IPv4' && protocol !== 'SCTP' && (endpoints.cluster ?? []).length > 0,
    );
  const first = usable.find(
    ({ servicePort }) => wanted === null || nameText(servicePort.name) === wanted,
  )?.servicePort;
  if (first === undefined) {
    const of = wanted === null ? 'no Service' : `no Service ${wanted}`;
    return `${of} with an IPv4 ClusterIP, a TCP or UDP port and endpoints`;
  }
  const service = nameText(first.name);
  const ports = usable.filter(({ servicePort }) => nameText(servicePort.name) === service);
  const targets = ports.map(({ servicePort: { name, protocol, clusterIP, port } }): Target => {
    return {
      name: servicePortNameText(name),
      protocol: protocol as Target['protocol'],
      address: clusterIP,
      port,
    };
  });
  return {
    objects,
    service,
    ports: targets,
    targets: {
      TCP: targets.find(({ protocol }) => protocol === 'TCP') ?? null,
      UDP: targets.find(({ protocol }) => protocol === 'UDP') ?? null,
    },
    endpoints: [...new Set(ports.flatMap(({ endpoints }) => (endpoints.cluster ?? []).map(({ ip }) => ip)))],
  };
}

export class Cluster {
  readonly #options: ProxyOptions;
  readonly #planner: Planner;
  readonly #registry: Registry;
  readonly #service: string;
  /** Endpoints of the Service at first, to be found again when one comes back. */
  readonly #original: readonly (EndpointSlice | Endpoints)[];
  /** Addresses that are away, and those that have come. */
  readonly #removed = new Set<string>();
  readonly #added: string[] = [];
  #updates = 0;

  constructor({ objects, service }: Services, strategy: Strategy, registry: Registry) {
    this.#options = { ...PLAIN_OPTIONS, mode: strategy.mode };
    this.#planner = new Planner(this.#options);
    this.#registry = registry;
    this.#service = service;
    const settings = (given: Service): Service => ({
      ...given,
      affinitySec: strategy.affinity ? given.affinitySec || AFFINITY_SEC : 0,
      annotations: { ...given.annotations, algorithm: strategy.algorithm, retry: null },
    });
    this.#planner.state.replace(
      objects.map((object) =>
        object.kind === 'Service' && nameText(object) === service ? settings(object) : object,
      ),
    );
    this.#original = objects.filter(
      (object): object is EndpointSlice | Endpoints =>
        (object.kind === 'EndpointSlice' && `${object.namespace}/${object.serviceName}` === service) ||
        (object.kind === 'Endpoints' && nameText(object) === service),
    );
  }

  /** Compiles what is so now. @param nowMs on the clock of the data plane */
  table(nowMs: number): SharedArrayBuffer {
    return compile(this.#planner.plan(), this.#options, this.#registry, Math.floor(nowMs / 1000));
  }

  /** Addresses that new flows may go to. */
  endpoints(): ReadonlySet<string> {
    const ports = this.#planner
      .plan()
      .ports.filter(({ servicePort }) => nameText(servicePort.name) === this.#service);
    return new Set(ports.flatMap(({ endpoints }) => (endpoints.cluster ?? []).map(({ ip }) => ip)));
  }

  remove(address: string): void {
    this.#removed.add(address);
    this.#apply();
  }

  /** Lets one that was removed come back, or a new one come. */
  add(address: string): void {
    if (!this.#removed.delete(address)) this.#added.push(address);
    this.#apply();
  }

  /** Something changes that is none of this Service's business: another Service comes, or goes. */
  unrelatedUpdate(): void {
    this.#updates++;
    const name = `unrelated-${this.#updates >> 1}`;
    if (this.#updates % 2 === 0) {
      this.#planner.state.delete({ kind: 'Service', namespace: 'default', name });
      return;
    }
    const object = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: { clusterIP: ipv4Text(word(UNRELATED + (this.#updates & 0xff))), ports: [{ port: 80 }] },
    };
    const { object: service } = readObject(object, new Origin('lab', () => 1));
    if (service !== null) this.#planner.state.upsert(service);
  }

  #apply(): void {
    for (const [index, given] of this.#original.entries()) {
      this.#planner.state.upsert(this.#changed(given, index === 0 ? this.#added : []));
    }
  }

  #changed(given: EndpointSlice | Endpoints, added: readonly string[]): KubeObject {
    const isThere = ({ address }: { readonly address: string }): boolean => !this.#removed.has(address);
    if (given.kind === 'EndpointSlice') {
      const [model] = given.endpoints;
      const come = model === undefined ? [] : added.map((address) => ({ ...model, address }));
      return { ...given, endpoints: [...given.endpoints, ...come].filter(isThere) };
    }
    return {
      ...given,
      subsets: given.subsets.map((subset, index) => {
        const [model] = subset.addresses;
        const come = model === undefined || index > 0 ? [] : added.map((address) => ({ ...model, address }));
        return { ...subset, addresses: [...subset.addresses, ...come].filter(isThere) };
      }),
    };
  }
}

const UNRELATED = ipv4Number('10.97.0.1');
/** Where endpoints come from that events add: a network for documentation (RFC 5737), nobody's own. */
const NEWCOMERS = ipv4Number('203.0.113.1');

/** Address of the endpoint that comes as number `index`, from 0. */
export const newcomer = (index: number): string => ipv4Text(word(NEWCOMERS + index));

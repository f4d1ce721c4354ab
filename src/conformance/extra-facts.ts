/** extra-facts.json: single facts of kube-proxy's maps, metrics and rules. */
import { noLocalEndpoints, planOf } from '../control/compile/plan.js';
import {
  DEFAULT_IPTABLES_EXPORT,
  iptablesText,
  LARGE_CLUSTER_ENDPOINT_COUNT,
} from '../control/export/iptables.js';
import { probabilityText } from '../control/export/probability.js';
import { endpointText } from '../control/model/endpoint.js';
import { type EndpointsMap, localReadyEndpoints } from '../control/model/endpoints-map.js';
import { KubeState } from '../control/model/kube-state.js';
import { healthCheckNodePorts } from '../control/model/service-change-tracker.js';
import type { ObjectReference } from '../control/sources/kube-object.js';
import type { Family } from '../wire/address.js';
import type { Check } from './check.js';
import { ObjectStore, type RawObject } from './objects.js';
import { optionsOf } from './options-of.js';

/** The facts by their key in the file. */
const FACTS: Readonly<Record<string, (given: never) => Check[]>> = {
  noLocalEndpointsMetric,
  serviceMap,
  endpointsMap,
  healthCheckLocalReady,
  probability,
  badIPs,
  masqueradeRule,
  dropInvalidRule,
  largeCluster,
};

/** @returns the checks, and the keys that are not known */
export function extraFactChecks(data: unknown): { checks: Check[]; unknown: string[] } {
  const known = Object.entries(data as Record<string, unknown>).filter(([key]) => Object.hasOwn(FACTS, key));
  return {
    checks: known.flatMap(([key, given]) => {
      const checks = FACTS[key]?.(given as never) ?? [];
      return checks.map((check) => ({ ...check, name: `${key}: ${check.name}` }));
    }),
    unknown: Object.keys(data as Record<string, unknown>).filter(
      (key) => !Object.hasOwn(FACTS, key) && !['source', 'sources', 'note', 'notes'].includes(key),
    ),
  };
}

function noLocalEndpointsMetric(given: {
  readonly nodeName: string;
  readonly cases: readonly {
    readonly name: string;
    readonly service: RawObject;
    readonly endpointSlice: RawObject | null;
    readonly expect: {
      readonly servicesWithNoLocalEndpoints: Readonly<Record<'internal' | 'external', number>>;
    };
  }[];
}): Check[] {
  const options = optionsOf({ nodeName: given.nodeName });
  return given.cases.map(({ name, service, endpointSlice, expect }) => ({
    name,
    expected: expect.servicesWithNoLocalEndpoints,
    actual: () => {
      const objects = new ObjectStore().upsert([service, ...(endpointSlice ? [endpointSlice] : [])]).list();
      return noLocalEndpoints(planOf(objects, options).ports);
    },
  }));
}

interface StepsOfServices {
  readonly test: string;
  readonly config?: { readonly ipFamily?: Family };
  readonly steps: readonly {
    readonly upsert?: readonly RawObject[];
    readonly delete?: readonly RawObject[];
    readonly expect: {
      readonly servicePortCount: number;
      readonly healthCheckNodePorts: Readonly<Record<string, number>>;
    };
  }[];
}

function serviceMap(given: readonly StepsOfServices[]): Check[] {
  return given.flatMap(({ test, config, steps }) =>
    steps.map(({ expect }, last) => ({
      name: `${test}, step ${last + 1}`,
      expected: expect,
      actual: () => {
        const state = new KubeState('');
        for (const step of steps.slice(0, last + 1)) {
          change(state, step.upsert ?? [], step.delete ?? []);
          state.applyChanges();
        }
        const map = state.servicePortMap(config?.ipFamily ?? 'IPv4');
        return {
          servicePortCount: map.size,
          healthCheckNodePorts: Object.fromEntries(healthCheckNodePorts(map)),
        };
      },
    })),
  );
}

type MapText = Readonly<Record<string, readonly { readonly endpoint: string; readonly isLocal: boolean }[]>>;

function endpointsMap(given: {
  readonly nodeName: string;
  readonly cases: readonly {
    readonly name: string;
    /** previous[i] becomes current[i]; null: it is not there. */
    readonly previous: readonly (RawObject | null)[];
    readonly current: readonly (RawObject | null)[];
    readonly expectBefore: MapText;
    readonly expectAfter: MapText;
    readonly expectConntrackCleanupRequired?: boolean;
    readonly expectLocalReadyEndpoints?: Readonly<Record<string, number>>;
  }[];
}): Check[] {
  return given.cases.flatMap((testCase) => {
    const { name, previous, current, expectConntrackCleanupRequired, expectLocalReadyEndpoints } = testCase;
    const family = familyOf([...previous, ...current]);
    const before = (): KubeState => {
      const state = new KubeState(given.nodeName);
      change(state, previous.filter(isThere), []);
      state.applyChanges();
      return state;
    };
    const after = (): { state: KubeState; conntrackCleanupRequired: boolean } => {
      const state = before();
      const gone = previous.filter((object, index) => object !== null && (current[index] ?? null) === null);
      change(state, current.filter(isThere), gone.filter(isThere));
      return { state, ...state.applyChanges() };
    };
    const checks: Check[] = [
      {
        name: `${name}: before`,
        expected: testCase.expectBefore,
        actual: () => mapText(before().endpointsMap(family)),
      },
      {
        name: `${name}: after`,
        expected: testCase.expectAfter,
        actual: () => mapText(after().state.endpointsMap(family)),
      },
    ];
    if (expectConntrackCleanupRequired !== undefined) {
      checks.push({
        name: `${name}: stale flows`,
        expected: expectConntrackCleanupRequired,
        actual: () => after().conntrackCleanupRequired,
      });
    }
    if (expectLocalReadyEndpoints !== undefined) {
      checks.push({
        name: `${name}: local ready endpoints`,
        expected: expectLocalReadyEndpoints,
        actual: () => Object.fromEntries(localReadyEndpoints(after().state.endpointsMap(family))),
      });
    }
    return checks;
  });
}

const isThere = (object: RawObject | null): object is RawObject => object !== null;

const familyOf = (slices: readonly (RawObject | null)[]): Family =>
  slices.some((slice) => slice?.['addressType'] === 'IPv6') ? 'IPv6' : 'IPv4';

function change(state: KubeState, upserted: readonly RawObject[], deleted: readonly RawObject[]): void {
  for (const object of new ObjectStore().upsert(upserted).list()) state.upsert(object);
  for (const object of deleted) state.delete(referenceOf(object));
}

function referenceOf({ kind, metadata }: RawObject): ObjectReference {
  const { namespace, name } = metadata as { namespace?: string; name: string };
  return { kind: kind as ObjectReference['kind'], namespace: namespace ?? 'default', name };
}

const mapText = (map: EndpointsMap): MapText =>
  Object.fromEntries(
    [...map].map(([key, endpoints]) => [
      key,
      endpoints.map((endpoint) => ({ endpoint: endpointText(endpoint), isLocal: endpoint.isLocal })),
    ]),
  );

function healthCheckLocalReady(given: {
  readonly nodeName: string;
  readonly steps: readonly {
    readonly endpoints: readonly RawObject[];
    readonly expectServicesWithLocalReadyEndpoints: number;
  }[];
}): Check[] {
  const state = (last: number): KubeState => {
    const found = new KubeState(given.nodeName);
    for (const { endpoints } of given.steps.slice(0, last + 1)) {
      change(found, [sliceOf('ns1', 'svc1', '', 80, endpoints)], []);
      found.applyChanges();
    }
    return found;
  };
  return given.steps.map(({ expectServicesWithLocalReadyEndpoints }, index) => ({
    name: `step ${index + 1}`,
    expected: expectServicesWithLocalReadyEndpoints,
    actual: () => localReadyEndpoints(state(index).endpointsMap('IPv4')).size,
  }));
}

interface Values {
  readonly values: Readonly<Record<string, string>>;
}

function probability({ values }: Values): Check[] {
  return Object.entries(values).map(([count, expected]) => ({
    name: `1/${count}`,
    expected,
    actual: () => probabilityText(Number(count)),
  }));
}

/** Each text is given wherever such a text may stand; everywhere it must be read the same. */
function badIPs({ values }: Values): Check[] {
  return Object.entries(values).map(([given, expected]) => ({
    name: given,
    expected: [expected],
    actual: () => [...new Set(given.includes('/') ? readRanges(given) : readAddresses(given))],
  }));
}

const CLUSTER_IP = '172.30.0.1';

function readRanges(range: string): readonly string[] {
  const vip = { spec: { loadBalancerSourceRanges: [range] }, status: ingressOf('192.0.2.1') };
  return firstPort([serviceOf(CLUSTER_IP, vip)]).servicePort.loadBalancerSourceRanges;
}

function readAddresses(ip: string): readonly string[] {
  const { servicePort, endpoints } = firstPort([
    serviceOf(CLUSTER_IP, { spec: { externalIPs: [ip] }, status: ingressOf(ip) }),
    sliceOf('ns1', 'svc1', 'p80', 80, [{ addresses: [ip] }]),
  ]);
  const asClusterIP = firstPort([serviceOf(ip, {})]).servicePort.clusterIP;
  const { externalIPs, loadBalancerVIPs } = servicePort;
  return [asClusterIP, ...externalIPs, ...loadBalancerVIPs, ...endpoints.all.map((endpoint) => endpoint.ip)];
}

function firstPort(objects: readonly RawObject[]) {
  const [port] = planOf(new ObjectStore().upsert(objects).list(), optionsOf({})).ports;
  if (port === undefined) throw new Error('no Service port came of it');
  return port;
}

const ingressOf = (ip: string): RawObject => ({ loadBalancer: { ingress: [{ ip }] } });

const serviceOf = (
  clusterIP: string,
  { spec = {}, status = {} }: { spec?: RawObject; status?: RawObject },
): RawObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'ns1', name: 'svc1' },
  spec: { type: 'LoadBalancer', clusterIP, ports: [{ name: 'p80', port: 80, protocol: 'TCP' }], ...spec },
  status,
});

const sliceOf = (
  namespace: string,
  service: string,
  portName: string,
  port: number,
  endpoints: readonly RawObject[],
): RawObject => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { namespace, name: `${service}-1`, labels: { 'kubernetes.io/service-name': service } },
  addressType: 'IPv4',
  ports: [{ name: portName, port, protocol: 'TCP' }],
  endpoints,
});

const emptyText = (given: Partial<typeof DEFAULT_IPTABLES_EXPORT>): string =>
  iptablesText(planOf([], optionsOf({})), optionsOf({}), { ...DEFAULT_IPTABLES_EXPORT, ...given });

const lineOf = (text: string, pattern: RegExp): string | null =>
  text.split('\n').find((line) => pattern.test(line)) ?? null;

function masqueradeRule({ values }: Values): Check[] {
  return Object.entries(values).map(([name, expected]) => ({
    name,
    expected,
    actual: () =>
      lineOf(emptyText({ randomFully: name === 'randomFullyTrue' }), /^-A KUBE-POSTROUTING .*MASQUERADE/),
  }));
}

function dropInvalidRule(given: {
  readonly cases: readonly {
    readonly nfacct?: boolean;
    readonly conntrackTCPLiberal?: boolean;
    readonly rule: string | null;
  }[];
}): Check[] {
  return given.cases.map(({ nfacct = false, conntrackTCPLiberal = false, rule }) => ({
    name: `nfacct ${nfacct}, conntrackTCPLiberal ${conntrackTCPLiberal}`,
    expected: rule,
    actual: () => lineOf(emptyText({ nfacct, conntrackTCPLiberal }), /^-A KUBE-FORWARD .*INVALID/),
  }));
}

/** The rule names the Service port and the endpoint; how many endpoints there are beside it is what matters. */
function largeCluster(given: {
  readonly values: { readonly below: string; readonly above: string };
}): Check[] {
  const { below, above } = given.values;
  const [, namespace = '', service = '', port = ''] =
    /--comment "?([^/ ]+)\/([^: ]+):?([^" ]*)"? /.exec(below) ?? [];
  const [, ip = '', number = ''] = /--to-destination (.+):(\d+)$/.exec(below) ?? [];
  const rule = (count: number): string | null => {
    const others = Array.from(
      { length: count - 1 },
      (_, index) => `198.18.${(index >> 8) + 1}.${index & 255}`,
    );
    const objects: RawObject[] = [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { namespace, name: service },
        spec: { clusterIP: CLUSTER_IP, ports: [{ name: port, port: Number(number), protocol: 'TCP' }] },
      },
      sliceOf(
        namespace,
        service,
        port,
        Number(number),
        [ip, ...others].map((address) => ({ addresses: [address] })),
      ),
    ];
    const options = optionsOf({});
    const text = iptablesText(
      planOf(new ObjectStore().upsert(objects).list(), options),
      options,
      DEFAULT_IPTABLES_EXPORT,
    );
    const isRule = (line: string): boolean =>
      line.startsWith('-A KUBE-SEP-') && line.endsWith(` ${ip}:${number}`);
    return text.split('\n').find(isRule) ?? null;
  };
  return [
    { name: 'below', expected: below, actual: () => rule(LARGE_CLUSTER_ENDPOINT_COUNT) },
    { name: 'above', expected: above, actual: () => rule(LARGE_CLUSTER_ENDPOINT_COUNT + 1) },
  ];
}

/** Files and objects for the tests of the control plane. */
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { type Plan, planOf } from '../../src/control/compile/plan.js';
import type { ProxyOptions } from '../../src/control/model/proxy-options.js';
import { servicePortNameText } from '../../src/control/model/service-port-name.js';
import { type Loaded, loadFiles } from '../../src/control/sources/file.js';
import { type KubeObject, objectLabel } from '../../src/control/sources/kube-object.js';
import { Origin, type Remark, remarkText } from '../../src/control/sources/origin.js';
import { readObject } from '../../src/control/sources/read-object.js';

/** `kubectl get endpoints httpenv -o yaml`, as it was printed by a cluster. Tests run in the repository's root. */
export const HTTPENV_ENDPOINTS = readFileSync('test/control/fixtures/httpenv-endpoints.yaml', 'utf8');

/** Loads the files of a fresh directory. In what comes back they are named without it. */
export function loadTexts(t: Test, texts: Record<string, string | Buffer>): Loaded {
  const directory = t.testdir({ manifests: texts });
  const loaded = loadFiles([`${directory}/manifests`]);
  return {
    ...loaded,
    setAside: loaded.setAside.map((remark) => withoutDirectory(remark, `${directory}/manifests/`)),
  };
}

const withoutDirectory = (remark: Remark, directory: string): Remark => ({
  ...remark,
  file: remark.file.replace(directory, ''),
  reason: remark.reason.replaceAll(directory, ''),
});

export const labels = (loaded: Pick<Loaded, 'objects'>): string[] => loaded.objects.map(objectLabel);
export const texts = (remarks: readonly Remark[]): string[] => remarks.map(remarkText);

/** Reads objects that must be right. */
export function objectsOf(values: readonly unknown[]): KubeObject[] {
  return values.map((value) => {
    const { object, setAside } = readObject(value, new Origin('test.yaml', () => 1));
    if (object === null || setAside.length > 0) throw new Error(texts(setAside).join('\n'));
    return object;
  });
}

/** A node of no zone, called "here". */
export const OPTIONS: ProxyOptions = {
  mode: 'iptables',
  ipvsScheduler: 'rr',
  nodeName: 'here',
  nodeLabels: {},
  nodeIP: '192.168.0.2',
  nodeIPs: ['192.168.0.2'],
  loopbackIPs: ['127.0.0.1', '::1'],
  nodePortAddresses: null,
  localhostNodePorts: false,
  clusterCIDRs: [],
  serviceCIDRs: [],
  masqueradeAll: false,
  links: null,
  rejectUnserved: false,
};

/** The plan of objects that must be right. */
export const planOfValues = (values: readonly unknown[], options: Partial<ProxyOptions> = {}): Plan =>
  planOf(objectsOf(values), { ...OPTIONS, ...options });

/** The ports of a plan and where traffic inside the cluster goes, as `10.96.0.1:80/TCP default/web -> 10.244.0.1:8080`. */
export const portTexts = ({ ports }: Pick<Plan, 'ports'>): string[] =>
  ports.map(({ servicePort: { clusterIP, port, protocol, name }, endpoints: { cluster } }) => {
    const endpoints = (cluster ?? []).map((endpoint) => `${endpoint.ip}:${endpoint.port}`);
    return `${clusterIP}:${port}/${protocol} ${servicePortNameText(name)} -> ${endpoints.join(' ')}`;
  });

/** A Service of namespace default. */
export const service = (name: string, spec: object, metadata: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, ...metadata },
  spec,
});

/** An EndpointSlice of a Service of namespace default. */
export const slice = (serviceName: string, name: string, rest: object): object => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, labels: { 'kubernetes.io/service-name': serviceName } },
  addressType: 'IPv4',
  ...rest,
});

/** An Endpoints object of namespace default. */
export const endpoints = (name: string, subsets: readonly object[]): object => ({
  apiVersion: 'v1',
  kind: 'Endpoints',
  metadata: { name },
  subsets,
});

/** Files and objects for the tests of the control plane. */
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { frontendsOf } from '../../src/control/compile/frontends.js';
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

/** The frontends of objects that must be right, as `10.96.0.1:80/TCP default/web -> 10.244.0.1:8080`. */
export function frontendTexts(values: readonly unknown[]): string[] {
  return frontendsOf({ objects: objectsOf(values), setAside: [] }).frontends.map(
    ({ address, port, protocol, servicePort: { namespace, name, port: portName }, endpoints }) =>
      `${address}:${port}/${protocol} ${namespace}/${name}${portName && `:${portName}`} -> ` +
      endpoints.map((endpoint) => `${endpoint.address}:${endpoint.port}`).join(' '),
  );
}

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

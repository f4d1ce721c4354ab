/** What every object has: its name, where it stands, and the labels by which kube-proxy passes objects over. */
import type { KubeObject } from './kube-object.js';
import type { Report } from './report.js';
import { HEADLESS_LABEL, PROXY_NAME_LABEL } from './schema.js';

interface GivenMeta {
  readonly name: string;
  readonly namespace?: string | null | undefined;
  readonly labels?: Readonly<Record<string, unknown>> | null | undefined;
}

export type Meta = Pick<KubeObject, 'namespace' | 'name' | 'origin' | 'serviceProxyName' | 'headlessLabel'>;

export function readMeta({ name, namespace, labels }: GivenMeta, report: Report): Meta {
  const proxyName = labels?.[PROXY_NAME_LABEL];
  return {
    namespace: namespace || 'default',
    name,
    origin: report.origin,
    // `label:` without a value is null in YAML, and "" to the API server: it is there
    serviceProxyName: proxyName === undefined ? null : String(proxyName ?? ''),
    headlessLabel: labels?.[HEADLESS_LABEL] !== undefined,
  };
}

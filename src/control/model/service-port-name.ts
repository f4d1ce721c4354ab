/** The identity of what is balanced, as in kube-proxy's pkg/proxy/types.go. */
import type { Protocol } from '../sources/kube-object.js';

export interface ServicePortName {
  readonly namespace: string;
  readonly name: string;
  /** The port's name; "" for the one port of a Service that needs none. */
  readonly port: string;
  readonly protocol: Protocol;
}

/** "kube-system/kube-dns:dns-tcp", "default/httpenv" when the port has no name: as kube-proxy prints it. */
export const servicePortNameText = ({ namespace, name, port }: ServicePortName): string =>
  port === '' ? `${namespace}/${name}` : `${namespace}/${name}:${port}`;

/** A key for maps: two names are the same when their keys are. */
export const servicePortKey = (name: ServicePortName): string =>
  `${servicePortNameText(name)}/${name.protocol}`;

/** The Service in a `servicePortKey`: "kube-system/kube-dns". */
export const serviceOfKey = (key: string): string => /^[^/]*\/[^:/]*/.exec(key)?.[0] ?? key;

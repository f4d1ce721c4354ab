/** One ip:port that serves: kube-proxy's pkg/proxy/endpoint.go. */

export interface Endpoint {
  /** Canonical text. */
  readonly ip: string;
  readonly port: number;
  readonly ready: boolean;
  /** Would answer, even when it is not ready because it is terminating. */
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly nodeName: string | null;
  /** Runs on this node. */
  readonly isLocal: boolean;
  readonly zone: string | null;
  /** Zones and nodes that shall use it; none: no hint. */
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

/** "10.244.0.3:8888", "[fd00::3]:8888": kube-proxy's String() and its sort key. */
export const endpointText = ({ ip, port }: Pick<Endpoint, 'ip' | 'port'>): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;

/** Gets flows where no endpoint is ready, so that a rollout of a Service's last endpoints loses nothing (KEP-1669). */
export const isServingTerminating = ({ serving, terminating }: Endpoint): boolean => serving && terminating;

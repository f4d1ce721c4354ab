/** One ip:port that serves, and which of them may get new flows: kube-proxy's pkg/proxy/endpoint.go and topology.go. */

export interface Endpoint {
  /** Canonical text. */
  readonly ip: string;
  readonly port: number;
  readonly ready: boolean;
  /** Would answer, even when it is not ready because it is terminating. */
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly nodeName: string | null;
}

/** "10.244.0.3:8888", "[fd00::3]:8888": kube-proxy's String() and its sort key. */
export const endpointText = ({ ip, port }: Pick<Endpoint, 'ip' | 'port'>): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;

/**
 * @returns the ready endpoints; when there is none those that terminate but still serve, so that a rollout of a
 *   Service's last endpoints loses nothing (KEP-1669; topology.go, CategorizeEndpoints)
 */
export function usableEndpoints(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : endpoints.filter(({ serving, terminating }) => serving && terminating);
}

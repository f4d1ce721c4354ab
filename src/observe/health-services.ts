/**
 * The healthCheckNodePort of Services: a load balancer asks every node whether it has an endpoint of the Service, and
 * sends clients only where the answer is 200. kube-proxy's pkg/proxy/healthcheck/service_health.go.
 */
import type { ProxyHealth } from './health.js';
import { type Listener, listen } from './http-listener.js';

/** A Service that is asked about: of `compile/plan.ts`, its HealthCheck. */
export interface ServiceHealth {
  /** "namespace/name". */
  readonly service: string;
  /** healthCheckNodePort. */
  readonly nodePort: number;
  /** On this node. */
  readonly localReadyEndpoints: number;
}

interface Served {
  health: ServiceHealth;
  readonly listeners: readonly Listener[];
  readonly hosts: string;
}

export class ServiceHealthServers {
  private readonly proxyHealth: Pick<ProxyHealth, 'healthy'>;
  private readonly served = new Map<string, Served>();

  constructor(proxyHealth: Pick<ProxyHealth, 'healthy'>) {
    this.proxyHealth = proxyHealth;
  }

  /**
   * Serves exactly these. A port that cannot be listened on is tried again at the next call.
   * @param hosts addresses to listen on; "::" alone means all of both families
   * @returns what cannot be served, in words
   */
  async sync(services: readonly ServiceHealth[], hosts: readonly string[]): Promise<string[]> {
    const problems: string[] = [];
    const wanted = new Map(services.map((health) => [health.service, health]));
    const listenOn = hosts.join(' ');
    for (const [key, served] of [...this.served]) {
      const health = wanted.get(key);
      if (health?.nodePort === served.health.nodePort && served.hosts === listenOn) continue;
      this.served.delete(key);
      await closeAll(served.listeners);
    }
    for (const [key, health] of wanted) {
      const served = this.served.get(key);
      if (served !== undefined) {
        served.health = health;
        continue;
      }
      const opened = await this.open(key, health.nodePort, hosts);
      if (typeof opened === 'string') problems.push(opened);
      else this.served.set(key, { health, listeners: opened, hosts: listenOn });
    }
    return problems;
  }

  async close(): Promise<void> {
    await Promise.all([...this.served.values()].map(({ listeners }) => closeAll(listeners)));
    this.served.clear();
  }

  private async open(key: string, port: number, hosts: readonly string[]): Promise<Listener[] | string> {
    const listeners: Listener[] = [];
    for (const host of hosts) {
      try {
        listeners.push(await this.openOn(key, host, port));
      } catch (error) {
        await closeAll(listeners);
        return `healthCheckNodePort ${port} of ${key} is not answered: ${(error as Error).message}`;
      }
    }
    return listeners;
  }

  private async openOn(key: string, host: string, port: number): Promise<Listener> {
    const answer = listen(host, port, (_request, response) => {
      const { status, body, weight } = this.answerOf(key);
      response.writeHead(status, {
        'Content-Type': 'application/json',
        'X-Content-Type-Options': 'nosniff',
        'X-Load-Balancing-Endpoint-Weight': weight,
      });
      response.end(body);
    });
    if (host !== '::') return answer;
    // A kernel without IPv6 has no "::".
    return answer.catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EAFNOSUPPORT' && error.code !== 'EADDRNOTAVAIL') throw error;
      return this.openOn(key, '0.0.0.0', port);
    });
  }

  private answerOf(key: string): { status: number; body: string; weight: number } {
    const health = this.served.get(key)?.health;
    const count = health?.localReadyEndpoints ?? 0;
    const { healthy } = this.proxyHealth;
    const [namespace = '', name = ''] = key.split('/');
    const body = {
      service: { namespace, name },
      localEndpoints: count,
      serviceProxyHealthy: healthy,
    };
    return {
      status: count > 0 && healthy ? 200 : 503,
      body: JSON.stringify(body, null, '\t'),
      weight: count,
    };
  }
}

const closeAll = async (listeners: readonly Listener[]): Promise<void> => {
  await Promise.all(listeners.map((listener) => listener.close()));
};

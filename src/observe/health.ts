/** Whether the proxy keeps up with its Services, told over HTTP: kube-proxy's pkg/proxy/healthcheck/proxy_health.go. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Listener, listen } from './http-listener.js';

export class ProxyHealth {
  private readonly timeoutMs: number;
  private readonly nowMs: () => number;
  private updatedAtMs: number;
  /** When the oldest change came that is not in force yet; 0: there is none. */
  private queuedAtMs = 0;

  /** @param timeoutMs a change that waits longer means ill health: twice the syncPeriod @param nowMs the wall clock */
  constructor(timeoutMs: number, nowMs: () => number = Date.now) {
    this.timeoutMs = timeoutMs;
    this.nowMs = nowMs;
    this.updatedAtMs = nowMs();
  }

  /** A change has come and is not in force yet. */
  queued(): void {
    if (this.queuedAtMs === 0) this.queuedAtMs = this.nowMs();
  }

  /** Everything that came is in force. */
  updated(): void {
    this.queuedAtMs = 0;
    this.updatedAtMs = this.nowMs();
  }

  get healthy(): boolean {
    return this.queuedAtMs === 0 || this.nowMs() - this.queuedAtMs < this.timeoutMs;
  }

  /** @param livez without nodeEligible, which is about the node and not about the process (KEP-3836) */
  answer(livez: boolean): { status: number; body: string } {
    const now = new Date(this.nowMs()).toISOString();
    const { healthy } = this;
    // As upstream has it: in good health "last updated" is always now.
    const lastUpdated = healthy ? now : new Date(this.updatedAtMs).toISOString();
    const body = { lastUpdated, currentTime: now, ...(livez ? {} : { nodeEligible: true }) };
    return { status: healthy ? 200 : 503, body: JSON.stringify(body) };
  }
}

/** Serves /healthz and /livez. @throws Error when the address cannot be listened on */
export const serveHealthz = (health: ProxyHealth, host: string, port: number): Promise<Listener> =>
  listen(host, port, (request, response) => {
    const path = pathOf(request);
    if (path === '/healthz' || path === '/livez') {
      const { status, body } = health.answer(path === '/livez');
      respond(response, status, body);
    } else {
      response.writeHead(404).end();
    }
  });

const pathOf = (request: IncomingMessage): string => (request.url ?? '').replace(/[?#].*$/s, '');

function respond(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' });
  response.end(body);
}

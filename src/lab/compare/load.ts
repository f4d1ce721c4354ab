/** What a run is loaded with: clients that are ready to begin, and events; of a workload, or of a recording. */
import { type Client, type Send, TcpClient, UdpClient } from './client.js';
import type { Services, Target } from './cluster.js';
import type { Timeline } from './timeline.js';
import { connectionsOf, type LabEvent, type Workload } from './workload.js';

export interface Load {
  readonly name: string;
  /** One sentence. */
  readonly what: string;
  readonly durationMs: number;
  readonly events: readonly LabEvent[];
  readonly clients: readonly ClientPlan[];
  /** The clients' packets are a recording's: they say nothing that an endpoint could answer. */
  readonly recorded: boolean;
}

/** One connection or socket before it begins; every run begins it anew. */
export interface ClientPlan {
  readonly protocol: 'TCP' | 'UDP';
  /** Address as a number and as text, and port. */
  readonly client: number;
  readonly address: string;
  readonly port: number;
  readonly target: Target;
  readonly beginMs: number;
  /** Of all its requests and responses. */
  readonly wantedBytes: number;
  create(timeline: Timeline, send: Send): Client;
}

/** @throws Error when the Service has no port for one of the protocols, see `fittingWorkloads` */
export function loadOf(workload: Workload, { targets }: Services, seed: number): Load {
  const { name, what, durationMs, events } = workload;
  const clients = connectionsOf(workload, seed).map((connection): ClientPlan => {
    const { protocol, client, address, port, beginMs, requests } = connection;
    const target = targets[protocol];
    if (target === null)
      throw new Error(`the workload has ${protocol} clients, the Service no port for them`);
    return {
      ...{ protocol, client, address, port, beginMs, target },
      wantedBytes: requests.reduce(
        (sum, { requestBytes, responseBytes }) => sum + requestBytes + responseBytes,
        0,
      ),
      create: (timeline, send) =>
        protocol === 'TCP'
          ? new TcpClient(connection, target, timeline, send)
          : new UdpClient(connection, target, timeline, send),
    };
  });
  return { name, what, durationMs, events, clients, recorded: false };
}

/** Workloads without the clients that the Service has no port for. */
export function fittingWorkloads(workloads: readonly Workload[], { targets }: Services): Workload[] {
  return workloads
    .map((workload) => ({
      ...workload,
      clients: workload.clients.filter(({ protocol }) => targets[protocol] !== null),
    }))
    .filter(({ clients }) => clients.length > 0);
}

// Where the peers are measured: for each one a lab of its own, all alike, so that they can take turns within a round
// without being started and stopped. What is idle costs nothing.
//
//    client  eth0 o----------o to-client-N   proxy-N   to-server-N o----------o eth0  server
//        10.0.1.2/24     10.0.1.1                            10.244.0.1     10.244.0.2/24
//
// The Service is 10.96.0.1 with one endpoint, the server; its ports are the endpoint's.

import { writeFile } from 'node:fs/promises';
import type { Host } from '../src/lab/host.js';
import type { LabProcess } from '../src/lab/process.js';
import { buildTopology, type Topology } from '../src/lab/topology.js';
import { program } from './reference.js';

export const CLIENT = '10.0.1.2';
export const SERVER = '10.244.0.2';
export const VIP = '10.96.0.1';
/** What the C loop masquerades to: the first address of flowpin's own pool that is no network address. */
export const SNAT = '198.18.0.1';

export const PORT = { bulk: 5201, http: 8080, udp: 9000, echo: 9001 } as const;
export const TCP_PORTS = [PORT.bulk, PORT.http] as const;
const UDP_PORTS = [PORT.udp, PORT.echo] as const;

export interface Lab {
  readonly client: Host;
  readonly proxy: Host;
  readonly server: Host;
  /** Name of the proxy's namespace: tells labs apart. */
  readonly name: string;
  close(): Promise<void>;
}

let labs = 0;

/** Builds the three namespaces. Inside a sandbox only; the names are left to its end. */
export async function buildLab(): Promise<Lab> {
  const number = labs++;
  const lab: Topology = await buildTopology({
    router: `proxy-${number}`,
    forward: true,
    hosts: [
      { name: `client-${number}`, addresses: [`${CLIENT}/24`], gateways: ['10.0.1.1'] },
      { name: `server-${number}`, addresses: [`${SERVER}/24`], gateways: ['10.244.0.1'] },
    ],
  });
  const server = lab.host(`server-${number}`);
  await Promise.all([
    ready(server.spawn(program('http-server'), [SERVER, String(PORT.http)])),
    ready(server.spawn(program('udp'), ['echo', SERVER, String(PORT.echo)])),
  ]);
  return {
    client: lab.host(`client-${number}`),
    proxy: lab.router,
    server,
    name: `proxy-${number}`,
    close: () => lab.close(),
  };
}

/** Waits until a program says that it can be used. */
export async function ready(
  process: LabProcess,
  pattern = /^ready/,
  timeoutMs = 10_000,
): Promise<LabProcess> {
  await process.line(pattern, timeoutMs);
  return process;
}

/**
 * The Service as Kubernetes objects, in the middle of others that nobody asks: half of them sort before it, half behind.
 * @param services how many there are in all
 * @returns path of the manifest, in the sandbox's own /run: it goes when the sandbox does
 */
export async function manifestFile(services = 1): Promise<string> {
  const items: object[] = [];
  for (let i = 1; i < services; i++) {
    const name = `${i % 2 === 0 ? 'a' : 'z'}${i}`;
    const clusterIP = `10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
    items.push(...objects(name, clusterIP, '10.245.0.1', [{ name: 'http', port: 80, protocol: 'TCP' }]));
  }
  const ports = [
    ...TCP_PORTS.map((port) => ({ name: `tcp-${port}`, port, protocol: 'TCP' })),
    ...UDP_PORTS.map((port) => ({ name: `udp-${port}`, port, protocol: 'UDP' })),
  ];
  items.push(...objects('middle', VIP, SERVER, ports));
  const file = `/run/services-${services}.json`;
  await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  return file;
}

function objects(name: string, clusterIP: string, endpoint: string, ports: object[]): object[] {
  const metadata = { name, namespace: 'bench' };
  return [
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP, ports } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [endpoint] }],
      ports,
    },
  ];
}

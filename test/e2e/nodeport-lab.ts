// What the NodePort tests share: a node with a client in front of it and a pod behind each of two devices, in both
// families, and manifests that the tests write as they like.
//
//   client 10.0.1.2 2001:db8:1::2 ---- node ---- endpoint-0 10.244.0.3 fd00:244::3    a pod of this node
//                                         '----- endpoint-1 10.244.1.2 fd00:244:1::2  a pod of another node

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpReport } from '../../src/lab/http-client.js';
import { labScript } from '../../src/lab/httpenv.js';
import type { LabProcess } from '../../src/lab/process.js';
import { buildTopology, type Topology } from '../../src/lab/topology.js';
import type { UdpReport } from '../../src/lab/udp-echo.js';
import { lastJson } from './support.js';

/** The places that connections come from: outside the node, the node itself, a pod. */
export const SOURCES = ['client', 'node', 'endpoint-0'] as const;
export type Source = (typeof SOURCES)[number];

export interface FamilyAddresses {
  readonly family: 'IPv4' | 'IPv6';
  /** As the source sees itself. */
  readonly sources: Readonly<Record<Source, string>>;
  /** The node's address towards the client, in brackets where a port follows. */
  readonly node: string;
  readonly clusterIP: string;
  readonly externalIP: string;
  readonly loadBalancerVIP: string;
  /** Local endpoint, remote endpoint. */
  readonly endpoints: readonly [string, string];
  readonly podCidr: string;
}

export const FAMILIES: readonly FamilyAddresses[] = [
  {
    family: 'IPv4',
    sources: { client: '10.0.1.2', node: '10.0.1.1', 'endpoint-0': '10.244.0.3' },
    node: '10.0.1.1',
    clusterIP: '10.96.0.10',
    externalIP: '192.0.2.10',
    loadBalancerVIP: '192.0.2.20',
    endpoints: ['10.244.0.3', '10.244.1.2'],
    podCidr: '10.244.0.0/16',
  },
  {
    family: 'IPv6',
    sources: { client: '2001:db8:1::2', node: '2001:db8:1::1', 'endpoint-0': 'fd00:244::3' },
    node: '2001:db8:1::1',
    clusterIP: 'fd00:96::10',
    externalIP: '2001:db8:2::10',
    loadBalancerVIP: '2001:db8:2::20',
    endpoints: ['fd00:244::3', 'fd00:244:1::2'],
    podCidr: 'fd00:244::/32',
  },
];

export const at = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

export const HTTP_PORT = 8888;
export const ECHO_PORT = 9001;

/** Builds the hosts, with strict reverse path filters on the node, and starts the servers of the endpoints. */
export async function buildNodeportLab(): Promise<Topology> {
  const lab = await buildTopology({
    router: 'node',
    hosts: [
      {
        name: 'client',
        addresses: ['10.0.1.2/24', '2001:db8:1::2/64'],
        gateways: ['10.0.1.1', '2001:db8:1::1'],
      },
      {
        name: 'endpoint-0',
        addresses: ['10.244.0.3/24', 'fd00:244::3/64'],
        gateways: ['10.244.0.1', 'fd00:244::1'],
      },
      {
        name: 'endpoint-1',
        addresses: ['10.244.1.2/24', 'fd00:244:1::2/64'],
        gateways: ['10.244.1.1', 'fd00:244:1::1'],
      },
    ],
  });
  // The hardest case: with 1 the kernel drops what comes from where its answer would not go.
  await lab.router.run('sh', [
    '-c',
    'for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $file; done',
  ]);
  const servers = FAMILIES.flatMap(({ endpoints }) =>
    endpoints.flatMap((address, index) => {
      const host = lab.host(`endpoint-${index}`);
      const http = ['--listen', at(address, HTTP_PORT), '--name', host.name];
      return [
        host.spawn(process.execPath, [labScript('http-server'), ...http]),
        host.spawn(process.execPath, [labScript('udp-echo'), '--listen', at(address, ECHO_PORT)]),
      ];
    }),
  );
  await Promise.all(servers.map((server) => server.line(/^ready/, 10_000)));
  return lab;
}

const hostNamed = (lab: Topology, name: string) => (name === 'node' ? lab.router : lab.host(name));

/** Runs the HTTP client on a host. */
export async function http(
  lab: Topology,
  from: Source,
  to: string,
  flags: readonly string[],
): Promise<HttpReport> {
  const args = [labScript('http-client'), '--to', to, ...flags];
  const { stdout, stderr } = await hostNamed(lab, from).run(process.execPath, args, { timeoutMs: 40_000 });
  if (stdout === '') throw new Error(`the client on ${from} said nothing: ${stderr}`);
  return lastJson<HttpReport>(stdout);
}

/** Runs the UDP client on a host. @param sizes of the datagrams, in bytes */
export async function udp(lab: Topology, from: Source, to: string, sizes = '1,64,1400'): Promise<UdpReport> {
  const args = [labScript('udp-echo'), '--to', to, '--sizes', sizes];
  const { stdout } = await hostNamed(lab, from).run(process.execPath, args, { timeoutMs: 40_000 });
  return lastJson<UdpReport>(stdout);
}

/** One GET, as the status and the body. */
export async function get(lab: Topology, from: Source, url: string): Promise<string> {
  const script = `const answer = await fetch(process.argv[1], { signal: AbortSignal.timeout(5000) });
    console.log(answer.status, JSON.stringify(await answer.json()));`;
  const { stdout, stderr } = await hostNamed(lab, from).run(process.execPath, [
    '--input-type=module',
    '-e',
    script,
    url,
  ]);
  return stdout.trim() || stderr.trim();
}

const MANIFESTS = '/run/manifests';

/** Writes a manifest as an editor saves it: whole or not at all. @returns its path */
export function writeManifest(objects: readonly object[]): string {
  mkdirSync(MANIFESTS, { recursive: true });
  const path = `${MANIFESTS}/services.json`;
  writeFileSync(`${path}.new`, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  renameSync(`${path}.new`, path);
  return path;
}

export interface WebSpec {
  readonly name?: string;
  readonly spec?: object;
  /** Positions of the endpoints that are ready. */
  readonly ready?: readonly number[];
  readonly nodePort?: number | null;
  /** Last number of its addresses, so that there can be several. */
  readonly number?: number;
}

/** A Service of both families with every kind of destination, and its EndpointSlices. */
export function web({
  name = 'web',
  spec = {},
  ready = [0, 1],
  nodePort = 30080,
  number = 10,
}: WebSpec = {}): object[] {
  const replaceLast = (address: string): string =>
    address.replace(/(\d+)$/, (last) => String(Number(last) + number - 10));
  const addresses = (kind: 'clusterIP' | 'externalIP' | 'loadBalancerVIP'): string[] =>
    FAMILIES.map((family) => replaceLast(family[kind]));
  const ports = [
    { name: 'http', port: 80, protocol: 'TCP', ...(nodePort === null ? {} : { nodePort }) },
    { name: 'echo', port: 81, protocol: 'UDP', ...(nodePort === null ? {} : { nodePort }) },
  ];
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', creationTimestamp: '2024-01-01T00:00:00Z' },
    spec: {
      type: nodePort === null ? 'ClusterIP' : 'LoadBalancer',
      clusterIP: addresses('clusterIP')[0],
      clusterIPs: addresses('clusterIP'),
      externalIPs: addresses('externalIP'),
      ports,
      ...spec,
    },
    status: {
      loadBalancer: { ingress: nodePort === null ? [] : addresses('loadBalancerVIP').map((ip) => ({ ip })) },
    },
  };
  const slices = FAMILIES.map(({ family, endpoints }) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${family.toLowerCase()}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: family,
    ports: [
      { name: 'http', port: HTTP_PORT, protocol: 'TCP' },
      { name: 'echo', port: ECHO_PORT, protocol: 'UDP' },
    ],
    endpoints: endpoints.flatMap((address, index) =>
      ready.includes(index)
        ? [{ addresses: [address], nodeName: index === 0 ? 'this-node' : 'other-node' }]
        : [],
    ),
  }));
  return [service, ...slices];
}

/** Waits until `up` has said so many times that a change is in force. */
export async function synced(up: LabProcess, times: number): Promise<void> {
  for (let round = 0; round < 1000 && count(up) < times; round++) await sleep(10);
  if (count(up) < times) throw new Error(`the change is not in force after 10 s${up.lastWords()}`);
}

/** How many changes `up` has said to be in force. */
export const count = (up: LabProcess): number => up.stderr.match(/is in force after/g)?.length ?? 0;

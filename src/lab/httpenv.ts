// The lab of seed 000: the Service `httpenv` with its three endpoints, each on a host of its own, and a client.
// The addresses are the seed's; examples/httpenv.yaml is the same Service for `flowpin up`.

import { fileURLToPath } from 'node:url';
import { planOf } from '../control/compile/plan.js';
import { endpointText } from '../control/model/endpoint.js';
import { PLAIN_OPTIONS } from '../control/model/proxy-options.js';
import { servicePortNameText } from '../control/model/service-port-name.js';
import { loadFiles } from '../control/sources/file.js';
import { packageFile } from './package-root.js';
import type { LabProcess } from './process.js';
import { addressOf } from './socket-address.js';
import { buildTopology, type Topology, type TopologySpec } from './topology.js';

export interface ServicePortFacts {
  /** NAMESPACE/NAME or NAMESPACE/NAME:PORT, as kube-proxy prints it. */
  readonly name: string;
  /** ADDRESS:PORT. */
  readonly clusterIP: string;
  readonly protocol: string;
  /** ADDRESS:PORT, in the order of the cascade: kube-proxy sorts them. */
  readonly endpoints: readonly string[];
}

export const HTTPENV: ServicePortFacts = {
  name: 'default/httpenv',
  clusterIP: '10.103.145.7:8888',
  protocol: 'TCP',
  endpoints: ['10.244.0.3:8888', '10.244.1.2:8888', '10.244.2.2:8888'],
};

/** Manifest of {@link HTTPENV}. */
export const HTTPENV_FILE: string = packageFile('examples', 'httpenv.yaml');

/** What `flowpin up` understands of the manifest: the first Service port with an address. Throws when it has none. */
export function loadedService(file: string): ServicePortFacts {
  const [planned] = planOf(loadFiles([file]).objects, PLAIN_OPTIONS).ports;
  if (planned === undefined) throw new Error(`no Service to balance in ${file}`);
  const { name, clusterIP, port, protocol } = planned.servicePort;
  return {
    name: servicePortNameText(name),
    clusterIP: addressOf(clusterIP, port),
    protocol,
    endpoints: (planned.endpoints.cluster ?? []).map(endpointText),
  };
}

export const CLIENT_ADDRESS = '10.0.1.2';

export const HTTPENV_HOSTS: TopologySpec = {
  router: 'node',
  hosts: [
    { name: 'client', addresses: [`${CLIENT_ADDRESS}/24`], gateways: ['10.0.1.1'] },
    { name: 'endpoint-0', addresses: ['10.244.0.3/24'], gateways: ['10.244.0.1'] },
    { name: 'endpoint-1', addresses: ['10.244.1.2/24'], gateways: ['10.244.1.1'] },
    { name: 'endpoint-2', addresses: ['10.244.2.2/24'], gateways: ['10.244.2.1'] },
  ],
};

/** Builds the hosts and starts an HTTP server on every endpoint; resolves when all of them listen. */
export async function buildHttpenv(): Promise<Topology> {
  const lab = await buildTopology(HTTPENV_HOSTS);
  await startOnEndpoints(lab, HTTPENV.endpoints, (endpoint, name) => {
    return [labScript('http-server'), '--listen', endpoint, '--name', name];
  });
  return lab;
}

/**
 * Starts one Node.js program for each endpoint, on the hosts endpoint-0, endpoint-1, ... in this order; resolves with
 * the programs when all have printed a line that begins with `ready`.
 */
export async function startOnEndpoints(
  lab: Topology,
  endpoints: readonly string[],
  args: (endpoint: string, hostName: string) => string[],
): Promise<LabProcess[]> {
  const servers = endpoints.map((endpoint, at) => {
    const name = `endpoint-${at}`;
    return lab.host(name).spawn(process.execPath, args(endpoint, name));
  });
  await Promise.all(servers.map((server) => server.line(/^ready/, 10_000)));
  return servers;
}

/** Path of one of the lab's entry scripts: http-server, http-client, tcp-transfer, udp-echo. */
export function labScript(name: string): string {
  return fileURLToPath(new URL(`./${name}.js`, import.meta.url));
}

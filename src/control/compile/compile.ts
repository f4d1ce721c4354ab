/** From frontends to the bytes that the workers read. */
import { TableBuilder } from '../../table/builder.js';
import { ipv4Word } from '../../wire/address.js';
import { half } from '../../wire/byte-order.js';
import { PROTOCOL } from '../../wire/ipv4.js';
import { servicePortNameText } from '../model/service-port-name.js';
import type { EndpointIds } from './endpoint-ids.js';
import type { Frontend } from './frontends.js';

/** What this version has a dataplane for. The others are told to the user, not compiled. */
export const isBalanced = (frontend: Frontend): boolean =>
  frontend.family === 'IPv4' && frontend.protocol !== 'SCTP';

/**
 * Compiles a service table. The same frontends and ids give the same bytes.
 * @param frontends those for which `isBalanced` holds
 * @param ids counter rows; new endpoints are given theirs
 */
export function compile(frontends: readonly Frontend[], ids: EndpointIds): SharedArrayBuffer {
  const builder = new TableBuilder();
  for (const frontend of frontends) {
    const servicePort = servicePortNameText(frontend.servicePort);
    const endpoints = frontend.endpoints.map(({ address, port }) => ({
      address: ipv4Word(address),
      port: half(port),
      id: ids.idOf({ servicePort, protocol: frontend.protocol, endpoint: `${address}:${port}` }),
    }));
    builder.add(ipv4Word(frontend.address), half(frontend.port), PROTOCOL[frontend.protocol], endpoints);
  }
  return builder.finish();
}

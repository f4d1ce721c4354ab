/**
 * What `up` changes on the host, in order, and how each change is taken back:
 *
 *   TUN device  <- routes to every ClusterIP, with the device's own address as preferred source
 *               <- route to the SNAT pool, so that replies of masqueraded flows come back
 *   forwarding  on, because the packets that come out of the device are forwarded to the endpoints
 */

import { type Change, ip, readSysctl, sysctl } from './change.js';
import type { SnatPool } from './snat-pool.js';

const FORWARDING = 'net.ipv4.ip_forward';

/**
 * @param tun name of the device
 * @param vips addresses to route into it, canonical IPv4 text
 */
export function planHost(tun: string, snatPool: SnatPool, vips: readonly string[]): Change[] {
  const changes: Change[] = [
    {
      apply: ip(`tuntap add dev ${tun} mode tun multi_queue vnet_hdr`),
      undo: ip(`tuntap del dev ${tun} mode tun multi_queue`),
    },
    // No link-local address: the kernel would send router solicitations into the device.
    { apply: ip(`link set dev ${tun} addrgenmode none`) },
    { apply: ip(`address add ${snatPool.own}/32 dev ${tun}`) },
    { apply: ip(`link set dev ${tun} up`) },
    { apply: ip(`route add ${snatPool.cidr} dev ${tun}`) },
    ...vips.map((vip) => ({ apply: ip(`route add ${vip}/32 dev ${tun} src ${snatPool.own}`) })),
  ];
  const before = readSysctl(FORWARDING);
  if (before !== '1') changes.push({ apply: sysctl(FORWARDING, '1'), undo: sysctl(FORWARDING, before) });
  return changes;
}

/** Flows as real packets through the compiled table and the pipeline. */
import { compile } from '../control/compile/compile.js';
import type { Plan } from '../control/compile/plan.js';
import { Registry } from '../control/compile/registry.js';
import { endpointText } from '../control/model/endpoint.js';
import type { ProxyOptions } from '../control/model/proxy-options.js';
import { InMemoryDataplane } from '../dataplane/in-memory.js';
import { snatPoolAt } from '../host/snat-pool.js';
import { ENDPOINT_ROWS } from '../table/counters.js';
import { addressText } from '../wire/address.js';
import { half } from '../wire/byte-order.js';
import { composeFirstPacket } from '../wire/compose.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { IPV6 } from '../wire/ipv6.js';
import { VNET } from '../wire/virtio-net.js';
import type { Flow, FlowVerdict, Sender } from './plane-types.js';

const SPORT_FIRST = 10_000;
const SPORT_COUNT = 50_000;
const FLOW_CAPACITY = 1 << 12;
const PORT_ROWS = 1 << 10;

/** Pools that no case's addresses lie in. */
const SNAT_POOLS = ['198.18.0.0/24', 'fd00:198:18::/120'].map(snatPoolAt);

export class Plane implements Sender {
  readonly #dataplane: InMemoryDataplane;
  #connections = 0;

  constructor(plan: Plan, options: ProxyOptions, seed: number) {
    const turns = new Int32Array(new SharedArrayBuffer(PORT_ROWS * 4));
    const registry = new Registry(turns, seed);
    this.#dataplane = new InMemoryDataplane({
      table: compile(plan, options, registry, 0),
      snatPools: SNAT_POOLS,
      turns,
      active: new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS * 4)),
      seed,
      flowCapacity: FLOW_CAPACITY,
    });
  }

  send({ sourceIP, destIP, protocol, destPort }: Flow): FlowVerdict {
    // A day and an hour: no flow and no affinity (a day at most) of the last connection is left.
    this.#dataplane.nowMs += 90_000_000;
    const sport = SPORT_FIRST + (this.#connections++ % SPORT_COUNT);
    const frame = composeFirstPacket({ src: sourceIP, dst: destIP, protocol, sport, dport: destPort });
    const [out] = this.#dataplane.send(frame);
    if (out === undefined) return { verdict: 'DROP' };
    if (Buffer.compare(out, frame) === 0) return { verdict: 'PASS' };
    return read(out, sourceIP);
  }
}

function read(frame: Uint8Array, sourceIP: string): FlowVerdict {
  const packet = frame.slice(VNET.SIZE);
  const isIpv4 = (packet[0] as number) >>> 4 === 4;
  const protocol = packet[isIpv4 ? IPV4.PROTOCOL : IPV6.NEXT_HEADER];
  if (protocol === PROTOCOL.ICMP || protocol === PROTOCOL.ICMPV6) return { verdict: 'REJECT' };
  const [src, dst, l4] = isIpv4 ? [IPV4.SRC, IPV4.DST, IPV4.SIZE] : [IPV6.SRC, IPV6.DST, IPV6.SIZE];
  const words = new Int32Array(packet.buffer, 0, l4 / 4 + 1);
  const address = (at: number): string => addressText(words, at / 4, isIpv4 ? 1 : 4);
  const port = half((words[l4 / 4] as number) >>> 16);
  return {
    verdict: 'DNAT',
    endpoint: endpointText({ ip: address(dst), port }),
    masquerade: address(src) !== sourceIP,
  };
}

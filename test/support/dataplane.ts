/** The real pipeline on the in-memory device, over tables written by hand: packets in, packets out, counters out. */
import type { Share } from '../../src/conntrack/owner.js';
import { InMemoryDataplane } from '../../src/dataplane/in-memory.js';
import { DROP_REASON_NAMES } from '../../src/dataplane/verdict.js';
import { snatPoolAt } from '../../src/host/snat-pool.js';
import { TableBuilder, type TableEndpoint } from '../../src/table/builder.js';
import { COUNTER, ENDPOINT_ROWS } from '../../src/table/counters.js';
import {
  ADDRESS_FLAG,
  ALGORITHM,
  ENDPOINT_STATE,
  FRONTEND_KIND,
  PORT_FLAG,
  TABLE_FLAG,
} from '../../src/table/layout.js';
import { addressWords } from '../../src/wire/address.js';
import { half } from '../../src/wire/byte-order.js';
import { frame, type PacketSpec, type PacketView, view } from './packets.js';

/** What a Service does beside having endpoints. */
export interface ServiceSpec {
  endpoints: string[];
  algorithm?: number;
  weights?: number[];
  affinitySec?: number;
  retry?: boolean;
}

/** Services as "address:port/protocol" or "[address]:port/protocol" -> endpoints as "address:port". */
export type Services = Record<string, string[] | ServiceSpec>;

const PROTOCOLS: Record<string, number> = { tcp: 6, udp: 17, sctp: 132 };
const ROWS = 256;

/** Ids by endpoint and Service, in the order in which they first came; 1 is the first. */
export class Ids {
  private readonly ids = new Map<string, number>();
  of(name: string): number {
    const id = this.ids.get(name) ?? this.ids.size + 1;
    this.ids.set(name, id);
    return id;
  }
  get count(): number {
    return this.ids.size + 1;
  }
}

export interface TableOptions {
  ids?: Ids;
  /** Masquerade every flow, as a proxy without cluster CIDR does; true unless said otherwise. */
  masquerade?: boolean;
  answerPing?: boolean;
  /** Addresses of this node. */
  local?: readonly string[];
  /** ENDPOINT_STATE of endpoints that no Service has; GONE unless said otherwise. */
  gone?: number;
}

/** A table of ClusterIPs whose unserved ports are rejected. */
export function tableOf(services: Services, options: TableOptions = {}): SharedArrayBuffer {
  const ids = options.ids ?? new Ids();
  const builder = new TableBuilder(
    (options.masquerade === false ? 0 : TABLE_FLAG.KEEP_SOURCE_FOR_PODS) |
      (options.answerPing ? TABLE_FLAG.ANSWER_PING : 0),
  );
  const local = (options.local ?? []).map(addressWords);
  const live = new Set<number>();
  for (const [row, [frontend, given]] of Object.entries(services).entries()) {
    const spec = Array.isArray(given) ? { endpoints: given } : given;
    const { address, port, protocol } = parseFrontend(frontend);
    const family = address.length === 1 ? 0 : 1;
    const endpoints = spec.endpoints.map((text, i): TableEndpoint => {
      const endpoint = parseFrontend(`${text}/tcp`);
      const id = ids.of(`${frontend} ${text}`);
      live.add(id);
      return { address: endpoint.address, port: half(endpoint.port), id, weight: spec.weights?.[i] ?? 1 };
    });
    const algorithm = spec.algorithm ?? ALGORITHM.CASCADE;
    const handle = builder.addPort({
      family,
      protocol,
      flags: (endpoints.length > 0 ? PORT_FLAG.HAS_ENDPOINTS : 0) | (spec.retry ? PORT_FLAG.RETRY : 0),
      algorithm,
      cluster: endpoints,
      local: [],
      ranges: [],
      affinitySec: spec.affinitySec ?? 0,
      row,
      maglev: algorithm === ALGORITHM.MAGLEV,
    });
    builder.addFrontend(FRONTEND_KIND.CLUSTER_IP, family, address, half(port), protocol, handle);
    // The node itself may serve other ports of its own address.
    if (!local.some((ip) => `${ip}` === `${address}`))
      builder.addAddress(family, address, ADDRESS_FLAG.REJECT_UNSERVED);
  }
  for (const address of local) {
    builder.addAddress(address.length === 1 ? 0 : 1, address, ADDRESS_FLAG.LOCAL | ADDRESS_FLAG.NODE_PORTS);
  }
  const states = Int32Array.from({ length: ids.count }, (_, id) =>
    id === 0 || live.has(id) ? ENDPOINT_STATE.LIVE : (options.gone ?? ENDPOINT_STATE.GONE),
  );
  return builder.finish(states);
}

function parseFrontend(text: string): { address: number[]; port: number; protocol: number } {
  const [, address, port, protocol] = /^\[?([^\]]*)\]?:(\d+)\/(\w+)$/.exec(text) ?? [];
  return { address: addressWords(address), port: Number(port), protocol: PROTOCOLS[protocol] };
}

export interface DataplaneOptions extends TableOptions {
  seed?: number;
  flowCapacity?: number;
  /** Flow tables' files to go on with, by family. */
  flowFiles?: readonly (ArrayBufferLike | undefined)[];
  /** Words by TIMEOUT; those of profile linux unless given. */
  timeouts?: Int32Array;
  /** Bits of COALESCE; none unless given. */
  coalesce?: number;
  /** One of several workers, the rings between them, and what they share; see workers.ts. */
  share?: Share;
  rings?: Int32Array;
  active?: Int32Array;
}

export const POOLS = ['198.18.0.0/24', 'fd00:198:18::/120'].map(snatPoolAt);

export class TestDataplane extends InMemoryDataplane {
  private readonly ids: Ids;
  private readonly options: DataplaneOptions;

  constructor(services: Services, options: DataplaneOptions = {}) {
    const ids = options.ids ?? new Ids();
    super({
      table: tableOf(services, { ...options, ids }),
      snatPools: POOLS,
      turns: new Int32Array(new SharedArrayBuffer(ROWS * 4)),
      active: options.active ?? new Int32Array(new SharedArrayBuffer(ENDPOINT_ROWS * 4)),
      seed: options.seed ?? 1,
      flowCapacity: options.flowCapacity ?? 1024,
      ...(options.flowFiles && { flowFiles: options.flowFiles }),
      ...(options.timeouts && { timeouts: options.timeouts }),
      ...(options.coalesce && { coalesce: options.coalesce }),
      ...(options.share && { share: options.share }),
      ...(options.rings && { rings: options.rings }),
    });
    this.ids = ids;
    this.options = options;
  }

  /** Publishes another table, as the worker takes it up between two batches. */
  change(services: Services, options: TableOptions = {}): void {
    this.publish(tableOf(services, { ...this.options, ...options, ids: this.ids }));
  }

  /** Sends one packet. @returns what came out, or undefined when it was dropped */
  packet(spec: PacketSpec): PacketView | undefined {
    const [out] = this.send(frame(spec));
    return out && view(out);
  }

  /** Sends one packet that must come out. */
  forward(spec: PacketSpec): PacketView {
    const out = this.packet(spec);
    if (out === undefined) throw new Error(`dropped: ${JSON.stringify(this.counts)}`);
    return out;
  }

  /** Lets time pass, with a turn every `stepMs` so that what is due is done. @returns what came out by itself */
  sleep(seconds: number, stepMs = 1000): PacketView[] {
    const out: Uint8Array[] = [];
    const until = this.nowMs + seconds * 1000;
    while (this.nowMs < until) {
      this.nowMs = Math.min(until, this.nowMs + stepMs);
      out.push(...this.send());
    }
    return out.map(view);
  }

  get flowCount(): number {
    return this.cx.flows.reduce((sum, flows) => sum + flows.count, 0);
  }

  get counts(): Record<string, number> {
    const { counters } = this.cx;
    const counts: Record<string, number> = {};
    const add = (name: string, index: number) => {
      if (counters[index] > 0) counts[name] = counters[index];
    };
    add('received', COUNTER.RECEIVED);
    add('forwarded', COUNTER.FORWARDED);
    add('passed', COUNTER.PASSED);
    add('rejected', COUNTER.REJECTED);
    add('reset', COUNTER.RESET);
    add('retried', COUNTER.RETRIED);
    add('echoed', COUNTER.ECHOED);
    add('held', COUNTER.HELD);
    add('handed-off', COUNTER.HANDED_OFF);
    add('taken-over', COUNTER.TAKEN_OVER);
    for (const [reason, name] of DROP_REASON_NAMES.entries()) add(name, COUNTER.DROPPED + reason);
    return counts;
  }
}

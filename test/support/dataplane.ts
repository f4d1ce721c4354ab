/** The real pipeline on the in-memory device: packets in, packets out, counters out. */
import { FlowTable, flowFileBytes } from '../../src/conntrack/flow-table.js';
import { PortPool } from '../../src/conntrack/port-pool.js';
import { WorkerContext } from '../../src/dataplane/context.js';
import { turn } from '../../src/dataplane/loop.js';
import { Slab } from '../../src/dataplane/packet.js';
import { DROP_REASON_NAMES } from '../../src/dataplane/verdict.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { snatPoolOf } from '../../src/host/snat-pool.js';
import { Random } from '../../src/shared/random.js';
import { TableBuilder } from '../../src/table/builder.js';
import { COUNTER, COUNTERS_BYTES } from '../../src/table/counters.js';
import { ServiceTable } from '../../src/table/service-table.js';
import { ipv4Word, parseCidr } from '../../src/wire/address.js';
import { half } from '../../src/wire/byte-order.js';
import { frame, type PacketSpec, type PacketView, view } from './packets.js';

/** Services as "address:port/protocol" -> endpoints as "address:port". */
export type Services = Record<string, string[]>;

const PROTOCOLS: Record<string, number> = { tcp: 6, udp: 17 };

export function tableOf(services: Services): SharedArrayBuffer {
  const builder = new TableBuilder();
  let id = 0;
  for (const [frontend, endpoints] of Object.entries(services)) {
    const [address, port, protocol] = frontend.split(/[:/]/);
    builder.add(
      ipv4Word(address!),
      half(Number(port)),
      PROTOCOLS[protocol!],
      endpoints.map((endpoint) => {
        const [ip, endpointPort] = endpoint.split(':');
        return { address: ipv4Word(ip!), port: half(Number(endpointPort)), id: ++id };
      }),
    );
  }
  return builder.finish();
}

export interface DataplaneOptions {
  seed?: number;
  flowCapacity?: number;
  snatPool?: string;
  /** A flow table's file to go on with. */
  flowFile?: ArrayBufferLike;
}

export class TestDataplane {
  readonly cx: WorkerContext;
  readonly device: MemoryDevice;
  nowMs = 1_000_000;

  constructor(services: Services, options: DataplaneOptions = {}) {
    const capacity = options.flowCapacity ?? 1024;
    const pool = snatPoolOf(parseCidr(options.snatPool ?? '198.18.0.0/24')!);
    if (typeof pool === 'string') throw new Error(pool);
    const slab = new Slab();
    const seed = options.seed ?? 1;
    this.cx = new WorkerContext({
      slab,
      table: ServiceTable.from(tableOf(services)),
      flows: new FlowTable(options.flowFile ?? new ArrayBuffer(flowFileBytes(capacity)), capacity, seed),
      pool: new PortPool(pool.addresses, pool.network, pool.mask),
      random: new Random(seed),
      counters: new Float64Array(COUNTERS_BYTES / 8),
    });
    this.cx.reapedMs = this.nowMs;
    this.device = new MemoryDevice(slab);
  }

  /** Publishes another table, as the worker does between two batches. */
  change(services: Services): void {
    this.cx.table = ServiceTable.from(tableOf(services));
  }

  /** Sends frames through and answers what came out of this batch. */
  sendFrames(...frames: Uint8Array[]): Uint8Array[] {
    for (const bytes of frames) this.device.put(bytes);
    this.device.sent.length = 0;
    while (turn(this.cx, this.device, this.nowMs) > 0);
    return [...this.device.sent];
  }

  /** Sends one packet. @returns what came out, or undefined when it was dropped */
  send(spec: PacketSpec): PacketView | undefined {
    const [out] = this.sendFrames(frame(spec));
    return out && view(out);
  }

  /** Lets time pass, with a turn so that expired flows are reaped. */
  sleep(seconds: number): void {
    const until = this.nowMs + seconds * 1000;
    while (this.nowMs < until) {
      this.nowMs = Math.min(until, this.nowMs + 1000);
      turn(this.cx, this.device, this.nowMs);
    }
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
    for (const [reason, name] of DROP_REASON_NAMES.entries()) add(name, COUNTER.DROPPED + reason);
    return counts;
  }
}

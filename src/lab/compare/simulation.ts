/**
 * One run in memory: the clients of a workload, the balancer under one strategy, and endpoints, joined by links that take
 * half a millisecond. Every packet is a real one and goes through the production pipeline; only hosts and time are made up.
 *
 *   client --> balancer --0.5 ms--> endpoint --> balancer --0.5 ms--> client        pinned
 *                                   endpoint ------------------0.5 ms--> client     not pinned: direct server return
 */
import { ipv4Number } from '../../wire/address.js';
import { composePacket } from '../../wire/compose.js';
import { PROTOCOL } from '../../wire/ipv4.js';
import { TCP_FLAG } from '../../wire/tcp.js';
import { Balancer } from './balancer.js';
import type { Client, Fate } from './client.js';
import { Cluster, newcomer, type Services } from './cluster.js';
import { type Answer, EndpointHost } from './endpoint-host.js';
import type { ClientPlan, Load } from './load.js';
import { type Packet, readFrame } from './packet-view.js';
import type { Strategy } from './strategies.js';
import { Timeline } from './timeline.js';
import type { LabEvent } from './workload.js';

/** From the balancer to a host. */
const LINK_MS = 0.5;

/** What became of one connection or socket. */
export interface FlowRecord extends Fate {
  readonly protocol: 'TCP' | 'UDP';
  readonly client: string;
  readonly beginMs: number;
  /** Of all its requests and responses. */
  readonly wantedBytes: number;
  /** Number of the endpoint that its first packet (the last SYN) went to; -1: it reached none. */
  endpoint: number;
  /** When its last packet reached an endpoint. */
  lastMs: number;
  /** When a packet of it last went to another endpoint, while the first one still served; null: never. */
  movedMs: number | null;
}

/** What an endpoint had to do. Packets and bytes are of both directions. */
export interface EndpointRecord {
  readonly address: string;
  flows: number;
  packets: number;
  bytes: number;
  /** An event has done something to it: it was added, removed, crashed, replaced. */
  touched: boolean;
}

export interface RunRecord {
  readonly flows: readonly FlowRecord[];
  readonly endpoints: readonly EndpointRecord[];
  /** Of the first event; null: nothing happened. */
  readonly eventMs: number | null;
  /** Datagrams that went to an endpoint which no longer served. */
  readonly staleDatagrams: number;
  /** New connections that went elsewhere than the last one of their client address, whose endpoint still served. */
  readonly affinityViolations: number;
  /** Connections that followed another of their client's, and might have violated it. */
  readonly affinityChances: number;
}

export interface RunOptions {
  readonly services: Services;
  readonly strategy: Strategy;
  readonly load: Load;
  readonly seed: number;
  /** Contexts of the pipeline; the result is the same for any number. */
  readonly workers: number;
}

/** Runs a load under a strategy. The same options give the same record. */
export const runInMemory = (options: RunOptions): RunRecord => new Simulation(options).run();

interface Live {
  readonly plan: ClientPlan;
  readonly client: Client;
  readonly record: FlowRecord;
}

class Simulation {
  readonly #timeline = new Timeline();
  readonly #balancer: Balancer;
  readonly #cluster: Cluster;
  readonly #load: Load;
  readonly #strategy: Strategy;
  readonly #records: FlowRecord[] = [];
  readonly #live = new Map<number, Live>();
  readonly #hosts: EndpointHost[] = [];
  readonly #endpoints: EndpointRecord[] = [];
  readonly #hostNumbers = new Map<number, number>();
  #table: SharedArrayBuffer;
  #serving: ReadonlySet<string>;
  #newcomers = 0;
  readonly #lastOfClient = new Map<string, number>();
  #eventMs: number | null = null;
  #staleDatagrams = 0;
  #affinityViolations = 0;
  #affinityChances = 0;

  constructor({ services, strategy, load, seed, workers }: RunOptions) {
    // Twice: a connection that is tried elsewhere leaves the flow of its first endpoint behind.
    this.#balancer = new Balancer(workers, strategy.pinned, 2 * load.clients.length, seed);
    this.#cluster = new Cluster(services, strategy, this.#balancer.registry);
    this.#load = load;
    this.#strategy = strategy;
    for (const address of services.endpoints) this.#addHost(address);
    this.#serving = this.#cluster.endpoints();
    this.#table = this.#cluster.table(Balancer.clockOf(0));
    this.#balancer.publish(this.#table, 0);
    for (const plan of load.clients) this.#addClient(plan);
    for (const event of load.events) this.#timeline.at(event.atMs, () => this.#begin(event));
  }

  run(): RunRecord {
    const timeline = this.#timeline;
    const endMs = this.#load.durationMs;
    for (;;) {
      const due = this.#balancer.nextDueMs;
      const nextMs = Math.min(due, timeline.nextMs);
      if (nextMs > endMs) break;
      this.#balancer.reap(nextMs);
      if (due > timeline.nextMs) {
        timeline.step();
        continue;
      }
      timeline.moveTo(due);
      this.#route(this.#balancer.wake(due));
    }
    for (const { endpoint } of this.#records) if (endpoint >= 0) this.#endpoints[endpoint].flows++;
    return {
      flows: this.#records,
      endpoints: this.#endpoints,
      eventMs: this.#eventMs,
      staleDatagrams: this.#staleDatagrams,
      affinityViolations: this.#affinityViolations,
      affinityChances: this.#affinityChances,
    };
  }

  #addHost(address: string): void {
    this.#hostNumbers.set(ipv4Number(address), this.#hosts.length);
    this.#hosts.push(new EndpointHost(address, this.#load.recorded));
    this.#endpoints.push({ address, flows: 0, packets: 0, bytes: 0, touched: false });
  }

  #addClient(plan: ClientPlan): void {
    const { protocol, address, beginMs, wantedBytes, port } = plan;
    const client = plan.create(this.#timeline, (frame) => this.#toBalancer(frame, plan.client, port));
    const record: FlowRecord = Object.assign(client.fate, {
      ...{ protocol, client: address, beginMs, wantedBytes },
      endpoint: -1,
      lastMs: 0,
      movedMs: null,
    });
    this.#records.push(record);
    this.#timeline.at(beginMs, () => {
      this.#live.set(keyOf(protocol, plan.client, port), { plan, client, record });
      client.begin();
    });
  }

  #toBalancer(frame: Uint8Array, client: number, port: number): void {
    this.#route(this.#balancer.send(frame, client, port, this.#timeline.nowMs));
  }

  /** Frames that the balancer sends travel to the hosts that they are addressed to. */
  #route(frames: readonly Uint8Array[]): void {
    for (const frame of frames) {
      const packet = readFrame(frame);
      const host = this.#hostNumbers.get(packet.dst);
      if (host !== undefined) this.#toEndpoint(host, packet);
      else this.#toClient(packet);
    }
  }

  #toClient(packet: Packet): void {
    const { quoted } = packet;
    const live =
      quoted === null
        ? this.#liveOf(packet.protocol, packet.dst, packet.dport)
        : this.#liveOf(quoted.protocol, quoted.src, quoted.sport);
    if (live !== undefined) this.#timeline.after(LINK_MS, () => live.client.receive(packet));
  }

  #liveOf(protocol: number, client: number, port: number): Live | undefined {
    return this.#live.get(keyOf(protocol === PROTOCOL.UDP ? 'UDP' : 'TCP', client, port));
  }

  #toEndpoint(number: number, packet: Packet): void {
    const live = this.#liveOf(packet.protocol, packet.src, packet.sport);
    if (live === undefined) throw new Error('a packet to an endpoint is of no client of the lab');
    this.#note(live, number, packet);
    this.#timeline.after(LINK_MS, () => {
      for (const answer of this.#hosts[number].receive(packet)) {
        this.#fromEndpoint(number, live, { ...answer, sport: packet.dport });
      }
    });
  }

  #fromEndpoint(number: number, live: Live, answer: Answer & { readonly sport: number }): void {
    const { protocol, address: dst, port: dport, target, client } = live.plan;
    const { pinned } = this.#strategy;
    const record = this.#endpoints[number];
    const src = pinned ? { src: record.address } : { src: target.address, sport: target.port };
    const frame = composePacket({ ...answer, ...src, protocol, dst, dport });
    const packet = readFrame(frame);
    record.packets++;
    record.bytes += packet.bytes;
    if (pinned) this.#toBalancer(frame, client, dport);
    else this.#toClient(packet);
  }

  /** A packet of a client is on its way to an endpoint. */
  #note({ record }: Live, number: number, packet: Packet): void {
    const { nowMs } = this.#timeline;
    const { address } = this.#endpoints[number];
    this.#endpoints[number].packets++;
    this.#endpoints[number].bytes += packet.bytes;
    const isSyn = (packet.flags & TCP_FLAG.SYN) !== 0;
    if (record.endpoint === -1) this.#noteAffinity(record, number);
    if (record.endpoint === -1 || (isSyn && record.connectedMs === null)) {
      record.endpoint = number;
    } else if (record.endpoint !== number && this.#isUp(record.endpoint) && record.outcome === 'open') {
      record.movedMs = nowMs;
    }
    record.lastMs = nowMs;
    this.#lastOfClient.set(record.client, record.endpoint);
    if (packet.protocol === PROTOCOL.UDP && !this.#serving.has(address)) this.#staleDatagrams++;
  }

  #noteAffinity(record: FlowRecord, number: number): void {
    const last = this.#lastOfClient.get(record.client);
    if (last === undefined || !this.#isUp(last)) return;
    this.#affinityChances++;
    if (last !== number) this.#affinityViolations++;
  }

  #isUp(number: number): boolean {
    return this.#serving.has(this.#endpoints[number].address) && this.#hosts[number].state === 'serving';
  }

  #begin(event: LabEvent): void {
    this.#eventMs ??= this.#timeline.nowMs;
    const number = event.endpoint % this.#hosts.length;
    const { address } = this.#endpoints[number];
    switch (event.event) {
      case 'endpoint-added':
        this.#addEndpoint();
        break;
      case 'endpoint-removed':
        this.#removeEndpoint(number, event.graceMs);
        break;
      case 'endpoint-crashed':
        this.#endpoints[number].touched = true;
        this.#hosts[number].state = 'crashed';
        this.#timeline.after(event.noticedAfterMs, () => this.#change(() => this.#cluster.remove(address)));
        break;
      case 'endpoint-flapping':
        this.#endpoints[number].touched = true;
        this.#repeat(event.times, event.everyMs, (time) =>
          this.#change(() => (time % 2 === 0 ? this.#cluster.remove(address) : this.#cluster.add(address))),
        );
        break;
      case 'rolling-replacement':
        this.#repeat(this.#hosts.length, event.everyMs, (time) => {
          this.#addEndpoint();
          this.#removeEndpoint(time, event.graceMs);
        });
        break;
      case 'table-update':
        this.#repeat(event.times, event.everyMs, () => this.#change(() => this.#cluster.unrelatedUpdate()));
        break;
      case 'workers-killed':
        this.#balancer.killWorkers(this.#table, this.#timeline.nowMs);
        break;
    }
  }

  #repeat(times: number, everyMs: number, action: (time: number) => void): void {
    for (let time = 0; time < times; time++) this.#timeline.after(time * everyMs, () => action(time));
  }

  #addEndpoint(): void {
    const address = newcomer(this.#newcomers++);
    this.#addHost(address);
    this.#endpoints[this.#endpoints.length - 1].touched = true;
    this.#change(() => this.#cluster.add(address));
  }

  /** It gets nothing new, serves what it has for as long as it is given, then its program ends. */
  #removeEndpoint(number: number, graceMs: number): void {
    this.#endpoints[number].touched = true;
    this.#change(() => this.#cluster.remove(this.#endpoints[number].address));
    this.#timeline.after(graceMs, () => {
      this.#hosts[number].state = 'closed';
    });
  }

  /** Changes the objects, and publishes what comes of it. */
  #change(change: () => void): void {
    change();
    const { nowMs } = this.#timeline;
    this.#table = this.#cluster.table(Balancer.clockOf(nowMs));
    this.#serving = this.#cluster.endpoints();
    this.#balancer.publish(this.#table, nowMs);
  }
}

const keyOf = (protocol: 'TCP' | 'UDP', client: number, port: number): number =>
  (client * 0x1_0000 + port) * 2 + (protocol === 'UDP' ? 1 : 0);

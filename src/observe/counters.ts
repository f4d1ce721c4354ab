/** Reads what the workers count, from the state directory of a running flowpin. No root and no RPC: the files are read. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DROP_REASON_NAMES } from '../dataplane/verdict.js';
import { COUNTER, ENDPOINT_ROW, endpointRow } from '../table/counters.js';

export interface EndpointCounters {
  /** "namespace/name:port". */
  readonly servicePort: string;
  readonly protocol: string;
  /** "ip:port". */
  readonly endpoint: string;
  readonly flows: number;
  readonly packetsOriginal: number;
  readonly bytesOriginal: number;
  readonly packetsReply: number;
  readonly bytesReply: number;
}

export interface CountersSnapshot {
  /** Packets read from the device, and their bytes with the virtio-net headers. */
  readonly received: number;
  readonly receivedBytes: number;
  readonly forwarded: number;
  readonly passed: number;
  readonly rejected: number;
  /** Answered with RST. */
  readonly reset: number;
  /** Refusals of an endpoint that were not passed on, because another one is tried. */
  readonly retried: number;
  /** Fragments that wait for the first of their datagram, now: packets received without an outcome yet. */
  /** Pings of Services' addresses that were answered. */
  readonly echoed: number;
  readonly held: number;
  /** Packets by drop reason; reasons that never occurred are left out. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Packets that a worker gave to the one that owns them; those not taken over yet have no outcome yet. */
  readonly handedOff: number;
  readonly takenOver: number;
  readonly flowsCreated: number;
  readonly flowsReaped: number;
  /** Connections sent to another endpoint, after a refusal or after silence. */
  readonly retries: number;
  /** ICMP errors that were not sent, because there were too many. */
  readonly icmpSuppressed: number;
  readonly endpoints: readonly EndpointCounters[];
}

type EndpointName = Pick<EndpointCounters, 'servicePort' | 'protocol' | 'endpoint'>;

/**
 * Sums the counters of all workers.
 * @param stateDir the state directory, e.g. /run/flowpin/flowpin0
 * @throws Error when there is none, or its files cannot be read
 */
export function readCounters(stateDir: string): CountersSnapshot {
  const rows = readdirSync(stateDir)
    .filter((name) => /^counters-\d+$/.test(name))
    .map((name) => floatsOf(readFileSync(join(stateDir, name))));
  const names = JSON.parse(readFileSync(join(stateDir, 'endpoints.json'), 'utf8')) as EndpointName[];
  const total = (index: number): number => rows.reduce((sum, row) => sum + row[index], 0);

  const dropped: Record<string, number> = {};
  for (const [reason, name] of DROP_REASON_NAMES.entries()) {
    const count = total(COUNTER.DROPPED + reason);
    if (count > 0) dropped[name] = count;
  }
  return {
    received: total(COUNTER.RECEIVED),
    receivedBytes: total(COUNTER.RECEIVED_BYTES),
    forwarded: total(COUNTER.FORWARDED),
    passed: total(COUNTER.PASSED),
    rejected: total(COUNTER.REJECTED),
    reset: total(COUNTER.RESET),
    retried: total(COUNTER.RETRIED),
    echoed: total(COUNTER.ECHOED),
    held: total(COUNTER.HELD),
    dropped,
    handedOff: total(COUNTER.HANDED_OFF),
    takenOver: total(COUNTER.TAKEN_OVER),
    flowsCreated: total(COUNTER.FLOWS_CREATED),
    flowsReaped: total(COUNTER.FLOWS_REAPED),
    icmpSuppressed: total(COUNTER.ICMP_SUPPRESSED),
    retries: total(COUNTER.RETRIES),
    endpoints: names.map((name, i) => {
      const at = endpointRow(i + 1);
      return {
        servicePort: name.servicePort,
        protocol: name.protocol,
        endpoint: name.endpoint,
        flows: total(at + ENDPOINT_ROW.FLOWS_CREATED),
        packetsOriginal: total(at + ENDPOINT_ROW.PACKETS_ORIGINAL),
        bytesOriginal: total(at + ENDPOINT_ROW.BYTES_ORIGINAL),
        packetsReply: total(at + ENDPOINT_ROW.PACKETS_REPLY),
        bytesReply: total(at + ENDPOINT_ROW.BYTES_REPLY),
      };
    }),
  };
}

const floatsOf = (file: Buffer): Float64Array =>
  new Float64Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));

// What is measured through a peer, one function each: it makes the traffic from the client's namespace and answers with
// figures by id. Every one ends by itself.

import { setTimeout } from 'node:timers/promises';
import type { LabProcess, Outcome } from '../src/lab/process.js';
import { run } from '../src/lab/process.js';
import { PORT, ready, SERVER, VIP } from './lab.js';
import { carriesUdp, type Peer, type Running } from './peers.js';
import { program, WRK_REPORT } from './reference.js';

/** How long one measurement takes. */
export interface Windows {
  /** iperf3's: it knows whole seconds only, or a number of bytes. */
  readonly bulk: readonly string[];
  /** wrk's: whole seconds. */
  readonly seconds: number;
  readonly ms: number;
  /** Before a window is counted: flows begin, sockets open, clocks of the CPU go up. */
  readonly warmMs: number;
}

/** Values by figure id. */
export type Measured = ReadonlyMap<string, number>;

export interface Workload {
  readonly figures: { readonly [id: string]: string };
  carriedBy(peer: Peer): boolean;
  /** The command beside flowpin's own that it needs. */
  readonly tool?: string;
  measure(running: Running, windows: Windows): Promise<Measured>;
}

const everybody = (): boolean => true;

export const WORKLOADS: readonly Workload[] = [
  bulk('tun.tcp1', 1),
  bulk('tun.tcp8', 8),
  udp('tun.udp64.1', 64, 1, 'tun.cpu'),
  udp('tun.udp64.1000', 64, 1000),
  udp('tun.udp1400.1', 1400, 1),
  { figures: { 'tun.cps': 'connections/s' }, carriedBy: everybody, measure: connections },
  {
    figures: { 'tun.http': 'requests/s', 'tun.http.p50': 'us', 'tun.http.p99': 'us', 'tun.http.p999': 'us' },
    carriedBy: everybody,
    tool: 'wrk',
    measure: http,
  },
];

/** One request and, where it is carried, some datagrams, there and back. Rejects when the peer does not translate. */
export async function checkCarries({ peer, lab }: Running): Promise<void> {
  const request = await lab.client.run(program('connections'), [VIP, String(PORT.http), '1', '0', '1']);
  const { connections = 0, failed = 1 } = request.code === 0 ? JSON.parse(request.stdout) : {};
  if (connections < 1 || failed > 0) {
    throw new Error(`${peer} carries no TCP: ${request.stderr.trim() || request.stdout.trim()}`);
  }
  if (!carriesUdp(peer)) return;
  const datagrams = await lab.client.run(program('udp'), ['first', VIP, String(PORT.echo), '3']);
  if (datagrams.code !== 0) throw new Error(`${peer} carries no UDP: ${datagrams.stdout.trim()}`);
}

/** Microseconds from the first datagram of a new flow to its answer: the median of `count` flows. */
export async function firstPacketUs({ lab }: Running, count: number): Promise<number> {
  const args = ['first', VIP, String(PORT.echo), String(count)];
  const { us } = report<{ us: number }>(await lab.client.run(program('udp'), args, { timeoutMs: 30_000 }));
  return us;
}

function bulk(id: string, streams: number): Workload {
  return {
    figures: { [id]: 'Gbit/s' },
    carriedBy: everybody,
    tool: 'iperf3',
    async measure({ lab }, { bulk }) {
      const server = lab.server.spawn('iperf3', [
        '-s',
        '-1',
        '-B',
        SERVER,
        '-p',
        String(PORT.bulk),
        '--forceflush',
      ]);
      try {
        await ready(server, /^Server listening/);
        const args = ['-c', VIP, '-p', String(PORT.bulk), '-P', String(streams), ...bulk, '-J'];
        const { code, stdout } = await lab.client.run('iperf3', args, { timeoutMs: 60_000 });
        const { end, error } = JSON.parse(stdout || '{}');
        if (end?.sum_received === undefined) throw new Error(error ?? `iperf3 ended with code ${code}`);
        return new Map([[id, end.sum_received.bits_per_second / 1e9]]);
      } finally {
        await server.stop();
      }
    },
  };
}

/** For packets that were sent to arrive, and for a machine that is busy with other things. */
const UNDER_WAY_MS = 50;
const PATIENCE_MS = 10_000;

/**
 * Datagrams from one port or from many.
 * @param bytes from the IP header on
 * @param cpuId figure of the proxy's CPU time a packet
 */
export function udp(id: string, bytes: number, flows: number, cpuId?: string): Workload {
  return {
    figures: { [id]: 'packets/s', ...(cpuId === undefined ? {} : { [cpuId]: 'ns' }) },
    carriedBy: carriesUdp,
    async measure({ lab, process }, { ms, warmMs }) {
      const windows = [String(warmMs), String(ms)];
      const receiver = lab.server.spawn(program('udp'), ['receive', SERVER, String(PORT.udp), ...windows]);
      try {
        await ready(receiver);
        const before = process === null ? 0 : await cpuTimeNs(process);
        const sending = [String(bytes), String(flows), String(warmMs + ms + PATIENCE_MS)];
        const sender = lab.client.spawn(program('udp'), ['send', VIP, String(PORT.udp), ...sending]);
        const counted = await receiver
          .line(/"packets"/, warmMs + ms + PATIENCE_MS)
          .finally(() => sender.stop());
        await setTimeout(UNDER_WAY_MS);
        const used = process === null ? 0 : (await cpuTimeNs(process)) - before;
        const { code } = await receiver.stop();
        const { stdout, stderr } = receiver;
        const { total } = report<{ total: number }>({ code, stdout, stderr });
        const { packets, ns } = JSON.parse(counted) as { packets: number; ns: number };
        const measured = new Map([[id, (packets / ns) * 1e9]]);
        if (cpuId !== undefined && process !== null) measured.set(cpuId, used / total);
        return measured;
      } finally {
        await receiver.stop();
      }
    },
  };
}

const AT_ONCE = 64;

async function connections({ lab }: Running, { warmMs, ms }: Windows): Promise<Measured> {
  const args = [VIP, String(PORT.http), String(AT_ONCE), String(warmMs), String(ms)];
  const outcome = await lab.client.run(program('connections'), args, { timeoutMs: warmMs + ms + 10_000 });
  const { connections, ns, failed } = report<{ connections: number; ns: number; failed: number }>(outcome);
  if (failed > connections / 1000) throw new Error(`${failed} connections failed, ${connections} were made`);
  return new Map([['tun.cps', (connections / ns) * 1e9]]);
}

async function http({ lab }: Running, { seconds }: Windows): Promise<Measured> {
  const load = ['-t', '1', '-c', String(AT_ONCE), '-d', `${seconds}s`, '-s', WRK_REPORT];
  const outcome = await lab.client.run('wrk', [...load, `http://${VIP}:${PORT.http}/`], {
    timeoutMs: seconds * 1000 + 15_000,
  });
  const found = report<{
    requests: number;
    us: number;
    failed: number;
    p50: number;
    p99: number;
    p999: number;
  }>(outcome);
  if (found.failed > 0) throw new Error(`${found.failed} requests failed, ${found.requests} were answered`);
  return new Map([
    ['tun.http', (found.requests / found.us) * 1e6],
    ['tun.http.p50', found.p50],
    ['tun.http.p99', found.p99],
    ['tun.http.p999', found.p999],
  ]);
}

async function cpuTimeNs({ child: { pid } }: LabProcess): Promise<number> {
  const { stdout } = await run(program('cpu-time'), [String(pid)]);
  return Number(stdout);
}

/** The last line of what a program printed. */
function report<Report>({ code, stdout, stderr }: Outcome): Report {
  const last = stdout.trim().split('\n').at(-1) ?? '';
  if (code !== 0 || !last.startsWith('{')) {
    throw new Error(`ended with code ${code}: ${(stderr.trim() || last).slice(-300)}`);
  }
  return JSON.parse(last) as Report;
}

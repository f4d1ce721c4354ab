import { t } from 'tap';
import { readRecording } from '../../../src/device/pcap-file.js';
import { labServices } from '../../../src/lab/compare/cluster.js';
import { measuresOf } from '../../../src/lab/compare/measures.js';
import { type RunRecord, runInMemory } from '../../../src/lab/compare/simulation.js';
import { STRATEGIES, type StrategyName, strategyNamed } from '../../../src/lab/compare/strategies.js';
import { loadOfTrace, servicesOfTrace, traceOf } from '../../../src/lab/compare/trace.js';
import { composePacket } from '../../../src/wire/compose.js';
import { TCP_FLAG } from '../../../src/wire/tcp.js';
import { VNET } from '../../../src/wire/virtio-net.js';
import { type Captured, ETHERNET_HEADER, pcapOf, RAW } from '../../support/recordings.js';
import { SEED } from './support.js';

const VIP = '10.96.0.10';
const CLIENT = '192.0.2.1';

const segment = (ms: number, sport: number, flags: number, payload = 0): Captured => ({
  ms: 1_700_000_000_000 + ms,
  packet: composePacket({
    ...{ src: CLIENT, dst: VIP, protocol: 'TCP', sport, dport: 80 },
    ...{ flags, seq: 1, ack: 1, payload: new Uint8Array(payload) },
  }).subarray(VNET.SIZE),
});

/** SYN, ACK, five segments of a thousand bytes, FIN: 200 times, with what the Service answered and others said. */
function recorded(): Captured[] {
  const packets: Captured[] = [];
  for (let i = 0; i < 200; i++) {
    const sport = 20_000 + i;
    packets.push(segment(i * 50, sport, TCP_FLAG.SYN), segment(i * 50 + 10, sport, TCP_FLAG.ACK));
    for (let k = 0; k < 5; k++) packets.push(segment(i * 50 + 20 + k * 20, sport, TCP_FLAG.ACK, 1000));
    packets.push(segment(i * 50 + 400, sport, TCP_FLAG.FIN | TCP_FLAG.ACK));
    const answer = { src: VIP, dst: CLIENT, protocol: 'TCP', sport: 80, dport: sport } as const;
    const flags = TCP_FLAG.SYN | TCP_FLAG.ACK;
    packets.push({
      ms: 1_700_000_000_005 + i * 50,
      packet: composePacket({ ...answer, flags }).subarray(VNET.SIZE),
    });
  }
  // A connection that was there before the recording.
  packets.push(segment(100, 50_000, TCP_FLAG.ACK, 500), segment(200, 50_000, TCP_FLAG.ACK, 500));
  return packets.sort((a, b) => a.ms - b.ms);
}

const trace = traceOf(readRecording(pcapOf(recorded(), { ...RAW, linkType: 1, header: ETHERNET_HEADER })));
const services = labServices(10);
const load = loadOfTrace('test', trace, services);

function replay(strategy: StrategyName): RunRecord {
  if (load === null) throw new Error('the trace is for the Service');
  return runInMemory({ services, strategy: strategyNamed(strategy), load, seed: SEED, workers: 2 });
}

t.test('what clients sent to the Service is a load, the rest is counted', async (t) => {
  t.equal(load?.clients.length, 201);
  t.equal(
    load?.what,
    '1602 recorded packets of clients; 1 flows began before the recording and are not counted as broken; 200 packets were not for the Service',
  );
});

t.test('a recording that kept only the headers is the same load', async (t) => {
  const cut = pcapOf(recorded(), { ...RAW, snapLength: 54 });
  const again = loadOfTrace('test', traceOf(readRecording(cut)), services);
  t.equal(again?.what, load?.what);
  t.same(
    again?.clients.map(({ wantedBytes }) => wantedBytes),
    load?.clients.map(({ wantedBytes }) => wantedBytes),
  );
});

t.test('without manifests the busiest destination becomes a Service', async (t) => {
  const made = servicesOfTrace(trace, 7);
  t.same(made?.targets.TCP, { name: 'default/lab:tcp', protocol: 'TCP', address: VIP, port: 80 });
  t.equal(made?.targets.UDP, null);
  t.equal(made?.endpoints.length, 7);
  t.equal(servicesOfTrace({ sent: [], left: 0 }, 7), null);
});

t.test('recorded traffic breaks per packet and stays whole when pinned', async (t) => {
  for (const { name, pinned } of STRATEGIES) {
    const run = replay(name);
    const { broken, failed, moved, survivors } = measuresOf(run, strategyNamed(name), null);
    t.equal(survivors, 201, name);
    if (name === 'per-packet') {
      t.ok(broken >= 199, `${broken} broken, seed ${SEED}`);
      t.ok(moved >= 199);
    } else {
      t.same({ broken, failed, moved }, { broken: 0, failed: 0, moved: 0 }, name);
    }
    if (pinned)
      t.equal(
        run.endpoints.reduce((sum, { flows }) => sum + flows, 0),
        201,
        name,
      );
  }
});

t.test('every recorded packet of a client reaches an endpoint once', async (t) => {
  const { flows } = replay('random');
  t.equal(
    flows.reduce((sum, { packets }) => sum + packets, 0),
    1602,
  );
  t.same(JSON.stringify(replay('random')), JSON.stringify(replay('random')));
});

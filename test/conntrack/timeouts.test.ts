import t from 'tap';
import { nextSctpState, SCTP_CHUNK, SCTP_STATE } from '../../src/conntrack/sctp-state.js';
import { TCP_STATE } from '../../src/conntrack/tcp-state.js';
import { LINUX_TIMEOUT_SEC, TIMEOUT, TIMEOUT_PROFILES, timeoutsOf } from '../../src/conntrack/timeouts.js';
import { TestDataplane } from '../support/dataplane.js';
import type { PacketSpec } from '../support/packets.js';
import { shows } from '../support/requirements.js';

for (const profile of ['linux', 'rfc'] as const) {
  t.test(`profile ${profile}: every state that a flow can be in has a timeout`, async (t) => {
    const words = timeoutsOf(profile);
    t.equal(words.length, TIMEOUT.COUNT);
    for (const [name, state] of Object.entries(TCP_STATE)) t.ok(words[TIMEOUT.TCP + state] > 0, name);
    for (const [name, state] of Object.entries(SCTP_STATE)) t.ok(words[TIMEOUT.SCTP + state] > 0, name);
    for (const at of [TIMEOUT.UDP, TIMEOUT.UDP_STREAM]) t.ok(words[at] > 0);
  });
}

t.test(
  'profile rfc keeps what the RFCs ask for at least',
  shows('RFC 4787 REQ-5', 'RFC 4787 REQ-5c', 'RFC 5382 REQ-5', 'RFC 7857 section 2.1 default'),
  async (t) => {
    const { rfc } = TIMEOUT_PROFILES;
    t.ok(rfc.tcpTimeoutEstablished >= 2 * 3600 + 4 * 60, 'RFC 5382 REQ-5');
    for (const [name, seconds] of Object.entries(rfc))
      if (/^tcpTimeout(Syn|Fin|CloseWait|Last|Time)/.test(name))
        t.ok(seconds >= 240, `RFC 5382 REQ-5: ${name}`);
    t.ok(rfc.tcpTimeoutClose >= 240, 'RFC 7857 section 2.2');
    t.ok(Math.min(rfc.udpTimeout, rfc.udpTimeoutStream) >= 300, 'RFC 4787 REQ-5');
  },
);

t.test('what is given one by one wins over the profile', async (t) => {
  const words = timeoutsOf('rfc', { udpTimeout: 7, tcpTimeoutEstablished: 100 });
  t.equal(words[TIMEOUT.UDP], 7);
  t.equal(words[TIMEOUT.UDP_STREAM], 300);
  t.equal(words[TIMEOUT.TCP + TCP_STATE.ESTABLISHED], 100);
  t.equal(words[TIMEOUT.TCP_UNACKNOWLEDGED], 100, 'never longer than an answered one');
  t.equal(timeoutsOf('linux')[TIMEOUT.TCP_UNACKNOWLEDGED], LINUX_TIMEOUT_SEC.tcpTimeoutUnacknowledged);
});

const { INIT, INIT_ACK, COOKIE_ECHO, COOKIE_ACK, DATA, SHUTDOWN, SHUTDOWN_ACK, SHUTDOWN_COMPLETE } =
  SCTP_CHUNK;
const { ABORT, HEARTBEAT, HEARTBEAT_ACK } = SCTP_CHUNK;
const SET_UP = [INIT, -INIT_ACK, COOKIE_ECHO, -COOKIE_ACK];
/** Chunks of the endpoint are negative. */
const associations: [name: string, chunks: number[], state: keyof typeof SCTP_STATE][] = [
  ['an INIT', [INIT], 'COOKIE_WAIT'],
  ['an INIT answered', SET_UP.slice(0, 2), 'COOKIE_WAIT'],
  ['a cookie', SET_UP.slice(0, 3), 'COOKIE_ECHOED'],
  ['the handshake', SET_UP, 'ESTABLISHED'],
  ['data', [...SET_UP, DATA, -3], 'ESTABLISHED'],
  ['a restart', [...SET_UP, INIT], 'ESTABLISHED'],
  ['picked up in mid-stream', [3], 'ESTABLISHED'],
  ['a shutdown of the client', [...SET_UP, SHUTDOWN], 'SHUTDOWN_SENT'],
  ['a shutdown of the endpoint', [...SET_UP, -SHUTDOWN], 'SHUTDOWN_RECD'],
  ['a shutdown acknowledged', [...SET_UP, SHUTDOWN, -SHUTDOWN_ACK], 'SHUTDOWN_ACK_SENT'],
  ['a shutdown completed', [...SET_UP, SHUTDOWN, -SHUTDOWN_ACK, SHUTDOWN_COMPLETE], 'CLOSED'],
  ['an abort', [...SET_UP, -ABORT], 'CLOSED'],
  ['begun again', [...SET_UP, -ABORT, INIT], 'COOKIE_WAIT'],
  ['a heartbeat', [HEARTBEAT], 'HEARTBEAT_SENT'],
  ['a heartbeat answered', [HEARTBEAT, -HEARTBEAT_ACK], 'ESTABLISHED'],
  ['a chunk that nobody knows', [...SET_UP, 0xc1], 'ESTABLISHED'],
];
for (const [name, chunks, state] of associations) {
  t.test(`SCTP: ${name} is ${state}`, async (t) => {
    const after = chunks.reduce(
      (before, chunk) => nextSctpState(before, chunk < 0 ? 1 : 0, Math.abs(chunk)),
      SCTP_STATE.NONE as number,
    );
    t.equal(after, SCTP_STATE[state]);
  });
}

const VIP = '10.96.0.10:80';
const CLIENT = '10.0.1.2:1000';

/** Seconds after which the flow of the packets is gone. */
function lifeOf(specs: (PacketSpec & { answer?: true })[], options = {}): number {
  const service = ['10.244.0.9:80'];
  const plane = new TestDataplane(
    { [`${VIP}/tcp`]: service, [`${VIP}/udp`]: service, [`${VIP}/sctp`]: service },
    options,
  );
  let there: { to: string; from: string } | undefined;
  for (const { answer, ...spec } of specs) {
    const out = plane.forward(answer ? { ...spec, from: there!.to, to: there!.from } : spec);
    there ??= out;
  }
  const { entries } = plane.cx.flows[0];
  return entries[1] - plane.cx.nowSec;
}

const from = { from: CLIENT, to: VIP };
t.test('the workers keep flows by the words that they are given', shows('RFC 5382 REQ-5'), async (t) => {
  const syn: PacketSpec = { ...from, flags: ['SYN'] };
  const ack: PacketSpec = { ...from, flags: ['ACK'] };
  const answer = (flags: NonNullable<PacketSpec['flags']>) => ({ ...from, flags, answer: true as const });
  const rfc = { timeouts: timeoutsOf('rfc') };
  t.equal(lifeOf([syn]), 120);
  t.equal(lifeOf([syn], rfc), 240);
  t.equal(lifeOf([syn, answer(['SYN', 'ACK'])]), 60);
  t.equal(lifeOf([syn, answer(['SYN', 'ACK']), ack]), 432_000);
  t.equal(lifeOf([syn, answer(['SYN', 'ACK']), ack], rfc), 7440);
  t.equal(lifeOf([ack]), 300, 'picked up, and not answered yet');
  t.equal(lifeOf([ack, answer(['ACK'])]), 432_000);
  t.equal(lifeOf([ack, answer(['RST'])]), 10);
  t.equal(lifeOf([ack, answer(['RST'])], rfc), 240);
  t.equal(lifeOf([{ ...from, protocol: 'udp' }]), 30);
  t.equal(lifeOf([{ ...from, protocol: 'udp' }], rfc), 300);
  const sctp = (chunk: number): PacketSpec => ({
    ...from,
    protocol: 'sctp',
    payload: Buffer.of(chunk, 0, 0, 4),
  });
  t.equal(lifeOf([sctp(INIT)]), 3);
  t.equal(
    lifeOf([
      sctp(INIT),
      { ...sctp(INIT_ACK), answer: true },
      sctp(COOKIE_ECHO),
      { ...sctp(COOKIE_ACK), answer: true },
    ]),
    210,
  );
});

const REPLY = { answer: true } as const;
const syn: PacketSpec = { ...from, flags: ['SYN'] };
const ack: PacketSpec = { ...from, flags: ['ACK'] };
const data: PacketSpec = { ...from, flags: ['PSH', 'ACK'], payload: Buffer.from('x') };
const SHAKEN = [syn, { ...syn, ...REPLY, flags: ['SYN', 'ACK'] as ['SYN', 'ACK'] }, ack];
const DAYS_5 = 432_000;

const owed: [what: string, specs: (PacketSpec & { answer?: true })[], seconds: number][] = [
  ['data of the client', [...SHAKEN, data], 300],
  ['data of the client, sent again', [...SHAKEN, data, data, data], 300],
  ['data of the endpoint', [...SHAKEN, { ...data, ...REPLY }], 300],
  ['data that is acknowledged', [...SHAKEN, data, { ...ack, ...REPLY }], DAYS_5],
  ['data that is answered by data', [...SHAKEN, data, { ...data, ...REPLY }], 300],
  ['an answer that is acknowledged', [...SHAKEN, data, { ...data, ...REPLY }, ack], DAYS_5],
  ['an ACK behind data of the same side', [...SHAKEN, data, ack], 300],
  ['a keep-alive', [...SHAKEN, ack], DAYS_5],
  ['a segment that says nothing of ACK', [...SHAKEN, data, { ...ack, ...REPLY, flags: [] }], 300],
  ['a half-closed connection', [...SHAKEN, { ...ack, flags: ['FIN', 'ACK'] }, { ...ack, ...REPLY }], 3600],
  [
    'data over a half-closed connection',
    [...SHAKEN, { ...ack, flags: ['FIN', 'ACK'] }, { ...ack, ...REPLY }, { ...data, ...REPLY }],
    300,
  ],
];
for (const [what, specs, seconds] of owed) {
  t.test(`${what} keeps a connection for ${seconds} s (tcp_timeout_unacknowledged)`, async (t) => {
    t.equal(lifeOf(specs, { timeouts: timeoutsOf('linux', { tcpTimeoutCloseWait: 3600 }) }), seconds);
  });
}

t.test('with profile rfc a connection that waits for an ACK is kept like any other', async (t) => {
  t.equal(lifeOf([...SHAKEN, data], { timeouts: timeoutsOf('rfc') }), 7440);
});

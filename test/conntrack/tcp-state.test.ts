/** Scripts of segments as an observer sees them: "> SYN" from the client, "< SYN ACK" from the endpoint. */
import t from 'tap';
import { nextTcpState, TCP_STATE, tcpMayBegin, tcpReopens } from '../../src/conntrack/tcp-state.js';
import { TCP_TIMEOUT_SEC } from '../../src/conntrack/timeouts.js';
import { TCP_FLAG } from '../../src/wire/tcp.js';

const scripts: { name: string; segments: string[]; state: keyof typeof TCP_STATE }[] = [
  { name: 'an unanswered SYN', segments: ['> SYN'], state: 'SYN_SENT' },
  { name: 'a SYN sent again', segments: ['> SYN', '> SYN'], state: 'SYN_SENT' },
  { name: 'a SYN answered', segments: ['> SYN', '< SYN ACK'], state: 'SYN_RECV' },
  { name: 'the handshake', segments: ['> SYN', '< SYN ACK', '> ACK'], state: 'ESTABLISHED' },
  {
    name: 'data both ways',
    segments: ['> SYN', '< SYN ACK', '> ACK', '> PSH ACK', '< PSH ACK'],
    state: 'ESTABLISHED',
  },
  { name: 'a connection picked up in mid-stream', segments: ['> ACK'], state: 'ESTABLISHED' },
  { name: 'the client closes', segments: ['> ACK', '> FIN ACK'], state: 'FIN_WAIT' },
  { name: 'the endpoint closes', segments: ['> ACK', '< FIN ACK'], state: 'FIN_WAIT' },
  { name: 'a half-closed connection', segments: ['> ACK', '> FIN ACK', '< ACK'], state: 'CLOSE_WAIT' },
  { name: 'both have closed', segments: ['> ACK', '> FIN ACK', '< ACK', '< FIN ACK'], state: 'LAST_ACK' },
  { name: 'FIN crossed with FIN', segments: ['> ACK', '> FIN ACK', '< FIN ACK'], state: 'LAST_ACK' },
  { name: 'the last ACK', segments: ['> ACK', '> FIN ACK', '< FIN ACK', '> ACK'], state: 'TIME_WAIT' },
  { name: 'a refused connection', segments: ['> SYN', '< RST ACK'], state: 'CLOSE' },
  { name: 'a reset', segments: ['> ACK', '< RST'], state: 'CLOSE' },
  { name: 'a reset by the client', segments: ['> ACK', '> RST ACK'], state: 'CLOSE' },
  { name: 'segments behind a reset', segments: ['> ACK', '< RST', '> ACK', '< FIN ACK'], state: 'CLOSE' },
  { name: 'a new connection over a closed one', segments: ['> ACK', '< RST', '> SYN'], state: 'SYN_SENT' },
];

for (const { name, segments, state } of scripts) {
  t.test(`${name} (${segments.join(', ')}) is ${state}`, async (t) => {
    const after = segments.reduce((before, text) => {
      const [arrow, ...flags] = text.split(' ');
      const bits = flags.reduce((sum, flag) => sum | TCP_FLAG[flag as keyof typeof TCP_FLAG], 0);
      return nextTcpState(before, arrow === '>' ? 0 : 1, bits);
    }, TCP_STATE.NONE as number);
    t.equal(after, TCP_STATE[state]);
  });
}

t.test('only a SYN or a plain ACK may begin a flow, whatever else is set', async (t) => {
  for (let flags = 0; flags < 256; flags++) {
    const { SYN, ACK, FIN, RST } = TCP_FLAG;
    const syn = (flags & (SYN | ACK | RST)) === SYN;
    const ack = (flags & (SYN | ACK | FIN | RST)) === ACK;
    t.equal(tcpMayBegin(flags), syn || ack, `flags ${flags.toString(2)}`);
  }
});

t.test('a SYN of the client reopens a flow in TIME_WAIT and CLOSE only', async (t) => {
  for (const [name, state] of Object.entries(TCP_STATE)) {
    t.equal(tcpReopens(state, 0, TCP_FLAG.SYN), name === 'TIME_WAIT' || name === 'CLOSE', name);
    t.equal(tcpReopens(state, 1, TCP_FLAG.SYN), false, `${name}, from the endpoint`);
    t.equal(tcpReopens(state, 0, TCP_FLAG.SYN | TCP_FLAG.ACK), false, `${name}, SYN-ACK`);
  }
});

t.test('every state that a flow can be in has a timeout', async (t) => {
  for (const [name, state] of Object.entries(TCP_STATE))
    if (state !== 0) t.ok(TCP_TIMEOUT_SEC[state] > 0, name);
});

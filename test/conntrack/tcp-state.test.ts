/** Scripts of segments as an observer sees them: "> SYN" from the client, "< SYN ACK" from the endpoint. */
import fc from 'fast-check';
import t from 'tap';
import {
  nextTcpState,
  TCP_MARK,
  TCP_STATE,
  TCP_STATE_COUNT,
  tcpMayBegin,
  tcpReopens,
  tcpStateOf,
} from '../../src/conntrack/tcp-state.js';
import { TIMEOUT, timeoutsOf } from '../../src/conntrack/timeouts.js';
import { TCP_FLAG } from '../../src/wire/tcp.js';
import { holds } from '../support/property.js';
import { shows } from '../support/requirements.js';
import { type Observed, observe, SEGMENTS, type Segment, UNSEEN } from '../support/tcp-observer.js';

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
  { name: 'a SYN-ACK sent again', segments: ['> SYN', '< SYN ACK', '< SYN ACK'], state: 'SYN_RECV' },
  { name: 'a SYN sent again too late', segments: ['> SYN', '< SYN ACK', '> SYN'], state: 'SYN_RECV' },
  {
    name: 'an endpoint that answers the late SYN with an ACK',
    segments: ['> SYN', '< SYN ACK', '> SYN', '< ACK'],
    state: 'SYN_RECV',
  },
  { name: 'a SYN-ACK of the client', segments: ['> SYN', '> SYN ACK'], state: 'SYN_SENT' },
  { name: 'keep-alives', segments: ['> ACK', '< ACK', '> ACK', '< ACK'], state: 'ESTABLISHED' },
  { name: 'a late SYN-ACK', segments: ['> SYN', '< SYN ACK', '> ACK', '< SYN ACK'], state: 'ESTABLISHED' },
  { name: 'a FIN before the handshake', segments: ['> SYN', '> FIN ACK'], state: 'SYN_SENT' },
  {
    name: 'a FIN right behind the handshake',
    segments: ['> SYN', '< SYN ACK', '> FIN ACK'],
    state: 'FIN_WAIT',
  },
  { name: 'simultaneous open: SYN crossed with SYN', segments: ['> SYN', '< SYN'], state: 'SYN_SENT2' },
  {
    name: 'simultaneous open: SYNs sent again',
    segments: ['> SYN', '< SYN', '> SYN', '< SYN'],
    state: 'SYN_SENT2',
  },
  { name: 'simultaneous open: half', segments: ['> SYN', '< SYN', '> SYN ACK'], state: 'SYN_RECV' },
  {
    name: 'simultaneous open: both SYN-ACKs',
    segments: ['> SYN', '< SYN', '> SYN ACK', '< SYN ACK'],
    state: 'SYN_RECV',
  },
  {
    name: 'simultaneous open: done by the endpoint',
    segments: ['> SYN', '< SYN', '> SYN ACK', '< ACK'],
    state: 'ESTABLISHED',
  },
  {
    name: 'simultaneous open: done by the client',
    segments: ['> SYN', '< SYN', '< SYN ACK', '> ACK'],
    state: 'ESTABLISHED',
  },
  { name: 'simultaneous open: refused', segments: ['> SYN', '< SYN', '> RST'], state: 'CLOSE' },
  { name: 'a SYN over a connection that lives', segments: ['> ACK', '> SYN'], state: 'ESTABLISHED' },
  { name: 'a SYN over one: challenged', segments: ['> ACK', '> SYN', '< ACK'], state: 'ESTABLISHED' },
  {
    name: 'a SYN over one that closes: challenged, and so not the last ACK',
    segments: ['> ACK', '> FIN ACK', '< FIN ACK', '> SYN', '< ACK'],
    state: 'LAST_ACK',
  },
  {
    name: 'a SYN over one that the endpoint has forgotten: accepted',
    segments: ['> ACK', '> FIN ACK', '> SYN', '< SYN ACK'],
    state: 'SYN_RECV',
  },
  {
    name: 'a SYN over one, challenged and reset by the client, which begins anew',
    segments: ['> ACK', '> SYN', '< ACK', '> RST', '> SYN'],
    state: 'SYN_SENT',
  },
  { name: 'a SYN over TIME_WAIT', segments: [...'FFA'].map(closing).concat('> SYN'), state: 'SYN_SENT' },
  {
    name: 'a SYN of the endpoint over TIME_WAIT, answered',
    segments: [...'FFA'].map(closing).concat('< SYN', '> SYN ACK', '< ACK'),
    state: 'ESTABLISHED',
  },
  { name: 'a last ACK sent again', segments: [...'FFA'].map(closing).concat('> ACK'), state: 'TIME_WAIT' },
  { name: 'a FIN sent again', segments: [...'FFA'].map(closing).concat('< FIN ACK'), state: 'TIME_WAIT' },
  { name: 'an RST in TIME_WAIT', segments: [...'FFA'].map(closing).concat('< RST'), state: 'CLOSE' },
  { name: 'an RST of nothing', segments: ['> RST'], state: 'NONE' },
  { name: 'a forged RST: its sender goes on', segments: ['> ACK', '< RST', '< ACK'], state: 'ESTABLISHED' },
  { name: 'a forged RST of the client', segments: ['> ACK', '> RST', '> PSH ACK'], state: 'ESTABLISHED' },
  { name: 'no flags at all', segments: ['> ACK', '> FIN ACK', '<'], state: 'FIN_WAIT' },
  { name: 'a SYN with FIN begins nothing', segments: ['> SYN FIN'], state: 'NONE' },
  { name: 'a SYN with RST ends nothing', segments: ['> ACK', '> SYN RST'], state: 'ESTABLISHED' },
  { name: 'a SYN with FIN is no answer', segments: ['> SYN', '< SYN FIN ACK'], state: 'SYN_SENT' },
  { name: 'a FIN without ACK closes nothing', segments: ['> ACK', '> FIN'], state: 'ESTABLISHED' },
  { name: 'every flag at once', segments: ['> ACK', '> FIN SYN RST PSH ACK URG'], state: 'ESTABLISHED' },
];

/** A picked-up connection that is closed by the client, then by the endpoint, then acknowledged. */
function closing(_: string, i: number): string {
  return ['> FIN ACK', '< FIN ACK', '> ACK'][i];
}

const bitsOf = (flags: string[]): number =>
  flags.reduce((sum, flag) => sum | TCP_FLAG[flag as keyof typeof TCP_FLAG], 0);

for (const { name, segments, state } of scripts) {
  t.test(`${name} (${segments.join(', ')}) is ${state}`, async (t) => {
    const begin: number =
      segments.length > 0 && /^. FIN/.test(segments[0]) ? TCP_STATE.ESTABLISHED : TCP_STATE.NONE;
    const after = segments.reduce((before, text) => {
      const [arrow, ...flags] = text.split(' ');
      return nextTcpState(before, arrow === '>' ? 0 : 1, bitsOf(flags));
    }, begin);
    t.equal(tcpStateOf(after), TCP_STATE[state]);
  });
}

const FROM = ['client', 'endpoint'] as const;
const FLAGS: Record<Segment, number> = {
  SYN: TCP_FLAG.SYN,
  'SYN ACK': TCP_FLAG.SYN | TCP_FLAG.ACK,
  ACK: TCP_FLAG.ACK,
  FIN: TCP_FLAG.FIN | TCP_FLAG.ACK,
  RST: TCP_FLAG.RST,
  OTHER: TCP_FLAG.PSH,
};
const isOne = (byte: number, twin: Observed): boolean =>
  TCP_STATE[twin.state as keyof typeof TCP_STATE] === tcpStateOf(byte);

t.test(
  'every sequence of up to five segments leaves the state that the interpreter comes to',
  shows('RFC 5382 REQ-2', 'RFC 7857 section 2'),
  async (t) => {
    let sequences = 0;
    const walk = (byte: number, twin: Observed, left: number): boolean => {
      sequences++;
      if (!isOne(byte, twin)) return false;
      if (left === 0) return true;
      return FROM.every((from, direction) =>
        SEGMENTS.every((segment) =>
          walk(nextTcpState(byte, direction, FLAGS[segment]), observe(twin, from, segment), left - 1),
        ),
      );
    };
    t.ok(walk(TCP_STATE.NONE, UNSEEN, 5));
    t.equal(sequences, 1 + 12 + 12 ** 2 + 12 ** 3 + 12 ** 4 + 12 ** 5);
  },
);

t.test('and so does every longer one: whatever the two can come to, they come to together', async (t) => {
  const seen = new Map<string, [number, Observed]>([['', [TCP_STATE.NONE, UNSEEN]]]);
  for (const [byte, twin] of seen.values()) {
    for (const [direction, from] of FROM.entries()) {
      for (const segment of SEGMENTS) {
        const next = nextTcpState(byte, direction, FLAGS[segment]);
        const observed = observe(twin, from, segment);
        if (!isOne(next, observed)) t.fail(`${JSON.stringify(twin)}, ${from} ${segment}`);
        const key = `${next} ${JSON.stringify(observed)}`;
        if (!seen.has(key)) seen.set(key, [next, observed]);
      }
    }
  }
  t.comment(`${seen.size} pairs`);
  const bytes = new Set([...seen.values()].map(([byte]) => byte));
  t.equal(bytes.size, 16, 'ten states, six of them with a mark too');
});

t.test('random flag bytes: a state that exists, with a timeout, and the same for both', async () => {
  const timeouts = timeoutsOf('linux');
  const segment = fc.tuple(fc.nat(1), fc.nat(255));
  holds(
    fc.property(fc.array(segment, { maxLength: 200 }), (segments) => {
      let byte: number = TCP_STATE.NONE;
      let twin = UNSEEN;
      for (const [direction, flags] of segments) {
        byte = nextTcpState(byte, direction, flags);
        twin = observe(twin, FROM[direction], segmentOf(flags));
        if (!isOne(byte, twin) || timeouts[TIMEOUT.TCP + byte] <= 0) return false;
      }
      return true;
    }),
  );
});

/** What each combination is, flag by flag; one that is not listed has no meaning in TCP. */
const MEANING: Record<string, Segment> = {
  SYN: 'SYN',
  'SYN URG': 'SYN',
  'SYN ACK': 'SYN ACK',
  RST: 'RST',
  'RST ACK': 'RST',
  'FIN ACK': 'FIN',
  'FIN ACK URG': 'FIN',
  ACK: 'ACK',
  'ACK URG': 'ACK',
};

function segmentOf(flags: number): Segment {
  const names = (['FIN', 'SYN', 'RST', 'ACK', 'URG'] as const).filter((name) => flags & TCP_FLAG[name]);
  return MEANING[names.join(' ')] ?? 'OTHER';
}

t.test('a byte of a damaged file leads to a byte that has a timeout', async (t) => {
  const timeouts = timeoutsOf('linux');
  for (let state = 0; state < 256; state++)
    for (const flags of [0, 2, 16, 17, 18, 4]) {
      const next = nextTcpState(state, state & 1, flags);
      if (!(next < TCP_STATE_COUNT) || !(timeouts[TIMEOUT.TCP + next] > 0)) t.fail(`${state}`);
    }
});

t.test('only a SYN or a plain ACK may begin a flow, URG, PSH and ECN aside', async (t) => {
  for (let flags = 0; flags < 256; flags++) {
    const segment = segmentOf(flags);
    t.equal(tcpMayBegin(flags), segment === 'SYN' || segment === 'ACK', `flags ${flags.toString(2)}`);
  }
});

t.test('a SYN of the client reopens a flow in TIME_WAIT and CLOSE only', async (t) => {
  for (const [name, state] of Object.entries(TCP_STATE)) {
    t.equal(tcpReopens(state, 0, TCP_FLAG.SYN), name === 'TIME_WAIT' || name === 'CLOSE', name);
    t.equal(tcpReopens(state | TCP_MARK, 0, TCP_FLAG.SYN), name === 'CLOSE', `${name}, marked`);
    t.equal(tcpReopens(state, 1, TCP_FLAG.SYN), false, `${name}, from the endpoint`);
    t.equal(tcpReopens(state, 0, TCP_FLAG.SYN | TCP_FLAG.ACK), false, `${name}, SYN-ACK`);
  }
});

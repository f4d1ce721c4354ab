/**
 * The slow, obvious twin of src/conntrack/tcp-state.ts: what an observer between client and endpoint knows of a connection,
 * as an object, and one question after the other for each segment.
 */
export type Segment = 'SYN' | 'SYN ACK' | 'ACK' | 'FIN' | 'RST' | 'OTHER';
export const SEGMENTS: readonly Segment[] = ['SYN', 'SYN ACK', 'ACK', 'FIN', 'RST', 'OTHER'];

export interface Observed {
  state: string;
  /** Both sides have sent a SYN. */
  simultaneous: boolean;
  /** The last segment was a SYN of the client over a connection that was not over. */
  synOver: boolean;
  /** Who sent the RST, if one was the end. */
  resetBy: 'client' | 'endpoint' | null;
}

export const UNSEEN: Observed = { state: 'NONE', simultaneous: false, synOver: false, resetBy: null };

const OPEN = ['ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT', 'LAST_ACK'];

export function observe(before: Observed, from: 'client' | 'endpoint', segment: Segment): Observed {
  const { state } = before;
  const now = (next: string, more: Partial<Observed> = {}): Observed => ({ ...UNSEEN, state: next, ...more });
  const ignored = before;
  switch (segment) {
    case 'RST':
      return state === 'NONE' ? ignored : now('CLOSE', { resetBy: from });
    case 'SYN':
      if (from === 'client') {
        if (['NONE', 'SYN_SENT', 'TIME_WAIT', 'CLOSE'].includes(state)) return now('SYN_SENT');
        return OPEN.includes(state) ? now(state, { synOver: true }) : ignored;
      }
      return ['SYN_SENT', 'SYN_SENT2', 'TIME_WAIT'].includes(state) ? now('SYN_SENT2') : ignored;
    case 'SYN ACK':
      if (state === 'SYN_SENT2') return now('SYN_RECV', { simultaneous: true });
      if (from === 'client') return ignored;
      return state === 'SYN_SENT' || before.synOver ? now('SYN_RECV') : ignored;
    case 'FIN':
      if (state === 'SYN_RECV' || state === 'ESTABLISHED') return now('FIN_WAIT');
      return OPEN.includes(state) ? now('LAST_ACK') : ignored;
    case 'ACK':
      if (state === 'NONE') return from === 'client' ? now('ESTABLISHED') : ignored;
      if (state === 'SYN_RECV')
        return from === 'client' || before.simultaneous ? now('ESTABLISHED') : ignored;
      if (state === 'CLOSE') return from === before.resetBy ? now('ESTABLISHED') : ignored;
      if (state === 'ESTABLISHED') return now('ESTABLISHED');
      if (state === 'FIN_WAIT' || state === 'CLOSE_WAIT') return now('CLOSE_WAIT');
      if (state === 'LAST_ACK') {
        const isChallenge = before.synOver && from === 'endpoint';
        return now(isChallenge ? 'LAST_ACK' : 'TIME_WAIT');
      }
      return ignored;
    case 'OTHER':
      return ignored;
  }
}

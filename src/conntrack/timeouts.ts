/**
 * How long a flow lives after its last packet. Seconds under the names of nf_conntrack's sysctls
 * (Documentation/networking/nf_conntrack-sysctl.rst) become one array of words that a worker reads by index for every
 * packet: it knows neither profiles nor options.
 */
import { SCTP_STATE, SCTP_STATE_COUNT } from './sctp-state.js';
import { TCP_MARK, TCP_STATE, TCP_STATE_COUNT } from './tcp-state.js';

/** Where each timeout stands in the array of a worker. */
export const TIMEOUT = {
  /** + the state byte. */
  TCP: 0,
  /** At most, while one side owes the other an answer. */
  TCP_UNACKNOWLEDGED: TCP_STATE_COUNT,
  /** + SCTP_STATE. */
  SCTP: TCP_STATE_COUNT + 1,
  UDP: TCP_STATE_COUNT + 1 + SCTP_STATE_COUNT,
  UDP_STREAM: TCP_STATE_COUNT + 2 + SCTP_STATE_COUNT,
  COUNT: TCP_STATE_COUNT + 3 + SCTP_STATE_COUNT,
} as const;

/** nf_conntrack's defaults; those for ICMP and other protocols have no flows to apply to here. */
export const LINUX_TIMEOUT_SEC = {
  tcpTimeoutSynSent: 120,
  tcpTimeoutSynRecv: 60,
  tcpTimeoutEstablished: 432_000,
  tcpTimeoutFinWait: 120,
  tcpTimeoutCloseWait: 60,
  tcpTimeoutLastAck: 30,
  tcpTimeoutTimeWait: 120,
  tcpTimeoutClose: 10,
  /**
   * While data is not acknowledged, and for a connection that was picked up and whose other side has not been heard. A segment
   * that is sent again and again is one that nobody acknowledges, so max_retrans (300 too) adds nothing.
   */
  tcpTimeoutUnacknowledged: 300,
  udpTimeout: 30,
  udpTimeoutStream: 120,
  sctpTimeoutClosed: 10,
  sctpTimeoutCookieWait: 3,
  sctpTimeoutCookieEchoed: 3,
  /** 432,000 before Linux 6.2. */
  sctpTimeoutEstablished: 210,
  /** 300 ms there; time here goes by seconds. */
  sctpTimeoutShutdownSent: 3,
  sctpTimeoutShutdownRecd: 3,
  sctpTimeoutShutdownAckSent: 3,
  sctpTimeoutHeartbeatSent: 30,
} as const;

export type TimeoutName = keyof typeof LINUX_TIMEOUT_SEC;
export type TimeoutsSec = Readonly<Record<TimeoutName, number>>;

/** RFC 5382 REQ-5: 2 h 4 min, and 4 min while a connection opens or closes; RFC 7857 section 2.2: also after an RST. */
const TCP_ESTABLISHED_SEC = 7440;
const TCP_TRANSITORY_SEC = 240;

const RFC_TIMEOUT_SEC: TimeoutsSec = {
  ...LINUX_TIMEOUT_SEC,
  tcpTimeoutSynSent: TCP_TRANSITORY_SEC,
  tcpTimeoutSynRecv: TCP_TRANSITORY_SEC,
  tcpTimeoutEstablished: TCP_ESTABLISHED_SEC,
  tcpTimeoutFinWait: TCP_TRANSITORY_SEC,
  tcpTimeoutCloseWait: TCP_TRANSITORY_SEC,
  tcpTimeoutLastAck: TCP_TRANSITORY_SEC,
  tcpTimeoutTimeWait: TCP_TRANSITORY_SEC,
  tcpTimeoutClose: TCP_TRANSITORY_SEC,
  tcpTimeoutUnacknowledged: TCP_ESTABLISHED_SEC, // REQ-5 makes no exception
  udpTimeout: 300, // RFC 4787 REQ-5
  udpTimeoutStream: 300,
};

export const TIMEOUT_PROFILES = { linux: LINUX_TIMEOUT_SEC, rfc: RFC_TIMEOUT_SEC } as const;
export type TimeoutProfile = keyof typeof TIMEOUT_PROFILES;

/** @param given what is set one by one: it wins over the profile @returns TIMEOUT.COUNT words for the workers */
export function timeoutsOf(profile: TimeoutProfile, given: Partial<TimeoutsSec> = {}): Int32Array {
  const sec: TimeoutsSec = { ...TIMEOUT_PROFILES[profile], ...given };
  // What is not named below is no state: such a flow is one that a damaged file held.
  const words = new Int32Array(TIMEOUT.COUNT).fill(sec.tcpTimeoutClose);
  const tcp = (state: number, seconds: number): void => {
    words[TIMEOUT.TCP + state] = seconds;
    words[TIMEOUT.TCP + (state | TCP_MARK)] = seconds;
  };
  tcp(TCP_STATE.SYN_SENT, sec.tcpTimeoutSynSent);
  tcp(TCP_STATE.SYN_RECV, sec.tcpTimeoutSynRecv);
  tcp(TCP_STATE.ESTABLISHED, sec.tcpTimeoutEstablished);
  tcp(TCP_STATE.FIN_WAIT, sec.tcpTimeoutFinWait);
  tcp(TCP_STATE.CLOSE_WAIT, sec.tcpTimeoutCloseWait);
  tcp(TCP_STATE.LAST_ACK, sec.tcpTimeoutLastAck);
  tcp(TCP_STATE.TIME_WAIT, sec.tcpTimeoutTimeWait);
  tcp(TCP_STATE.CLOSE, sec.tcpTimeoutClose);
  tcp(TCP_STATE.SYN_SENT2, sec.tcpTimeoutSynSent);
  words[TIMEOUT.TCP_UNACKNOWLEDGED] = Math.min(sec.tcpTimeoutEstablished, sec.tcpTimeoutUnacknowledged);
  words[TIMEOUT.SCTP + SCTP_STATE.NONE] = sec.sctpTimeoutClosed;
  words[TIMEOUT.SCTP + SCTP_STATE.CLOSED] = sec.sctpTimeoutClosed;
  words[TIMEOUT.SCTP + SCTP_STATE.COOKIE_WAIT] = sec.sctpTimeoutCookieWait;
  words[TIMEOUT.SCTP + SCTP_STATE.COOKIE_ECHOED] = sec.sctpTimeoutCookieEchoed;
  words[TIMEOUT.SCTP + SCTP_STATE.ESTABLISHED] = sec.sctpTimeoutEstablished;
  words[TIMEOUT.SCTP + SCTP_STATE.SHUTDOWN_SENT] = sec.sctpTimeoutShutdownSent;
  words[TIMEOUT.SCTP + SCTP_STATE.SHUTDOWN_RECD] = sec.sctpTimeoutShutdownRecd;
  words[TIMEOUT.SCTP + SCTP_STATE.SHUTDOWN_ACK_SENT] = sec.sctpTimeoutShutdownAckSent;
  words[TIMEOUT.SCTP + SCTP_STATE.HEARTBEAT_SENT] = sec.sctpTimeoutHeartbeatSent;
  words[TIMEOUT.UDP] = sec.udpTimeout;
  words[TIMEOUT.UDP_STREAM] = sec.udpTimeoutStream;
  return words;
}

/**
 * How long a flow lives after its last packet, in seconds, under the names and with the defaults of
 * nf_conntrack (Documentation/networking/nf_conntrack-sysctl.rst).
 */
import { TCP_STATE, TCP_STATE_COUNT } from './tcp-state.js';

export const TIMEOUT_SEC = {
  tcpTimeoutSynSent: 120,
  tcpTimeoutSynRecv: 60,
  tcpTimeoutEstablished: 432_000,
  tcpTimeoutFinWait: 120,
  tcpTimeoutCloseWait: 60,
  tcpTimeoutLastAck: 30,
  tcpTimeoutTimeWait: 120,
  tcpTimeoutClose: 10,
  udpTimeout: 30,
  udpTimeoutStream: 120,
} as const;

/** The timeout of each TCP state, indexed by TCP_STATE. */
export const TCP_TIMEOUT_SEC = new Int32Array(TCP_STATE_COUNT);
TCP_TIMEOUT_SEC[TCP_STATE.SYN_SENT] = TIMEOUT_SEC.tcpTimeoutSynSent;
TCP_TIMEOUT_SEC[TCP_STATE.SYN_RECV] = TIMEOUT_SEC.tcpTimeoutSynRecv;
TCP_TIMEOUT_SEC[TCP_STATE.ESTABLISHED] = TIMEOUT_SEC.tcpTimeoutEstablished;
TCP_TIMEOUT_SEC[TCP_STATE.FIN_WAIT] = TIMEOUT_SEC.tcpTimeoutFinWait;
TCP_TIMEOUT_SEC[TCP_STATE.CLOSE_WAIT] = TIMEOUT_SEC.tcpTimeoutCloseWait;
TCP_TIMEOUT_SEC[TCP_STATE.LAST_ACK] = TIMEOUT_SEC.tcpTimeoutLastAck;
TCP_TIMEOUT_SEC[TCP_STATE.TIME_WAIT] = TIMEOUT_SEC.tcpTimeoutTimeWait;
TCP_TIMEOUT_SEC[TCP_STATE.CLOSE] = TIMEOUT_SEC.tcpTimeoutClose;

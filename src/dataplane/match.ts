/**
 * Step 3, for a packet of no known flow: which frontend is it for, may it have it, from which set, masqueraded or not,
 * and which endpoint. The order of the questions is kube-proxy's (pkg/proxy/iptables/proxier.go, syncProxyRules).
 */
import { NO_AFFINITY } from '../conntrack/affinity.js';
import {
  ADDRESS_FLAG,
  ENDPOINT,
  ENDPOINT_FLAG,
  FRONTEND,
  FRONTEND_KIND,
  frontendKey,
  HEADER,
  nodePortKey,
  PORT,
  PORT_FLAG,
  TABLE_FLAG,
  wholeAddressKey,
} from '../table/layout.js';
import { NO_FRONTEND } from '../table/service-table.js';
import { dportHalf } from '../wire/byte-order.js';
import { ADDRESS_WORDS, FAMILY } from '../wire/family.js';
import { isAvoided } from './avoid.js';
import { choose, NO_ENDPOINT } from './choose.js';
import type { WorkerContext } from './context.js';
import { RECORD, recordAt, type Slot } from './packet.js';
import { DropReason, Match } from './verdict.js';

/** Asked after `vet`. After Match.Endpoint, the record holds PORT, ENDPOINT and MASQUERADE. */
export function match(cx: WorkerContext, slot: Slot): Match {
  const { table, records } = cx;
  const record = recordAt(slot);
  const family = records[record + RECORD.FAMILY];
  const words = ADDRESS_WORDS[family];
  const dst = record + RECORD.TUPLE + words;
  const dport = dportHalf(records[dst + words]);
  const protocol = records[record + RECORD.PROTOCOL];

  const frontend = table.find(records, dst, words, frontendKey(family, dport, protocol));
  if (frontend !== NO_FRONTEND) return matchFrontend(cx, record, frontend);

  const address = addressFlags(cx, record, dst);
  if (address & ADDRESS_FLAG.LOCAL) {
    const nodePort = table.find(records, dst, 0, nodePortKey(family, dport, protocol));
    if (nodePort !== NO_FRONTEND)
      return matchNodePort(cx, record, nodePort, (address & ADDRESS_FLAG.NODE_PORTS) !== 0);
  }
  if (address & ADDRESS_FLAG.REJECT_UNSERVED) return Match.UnservedPort;
  if (address === 0 && table.inPrefixes(HEADER.SERVICE_PREFIXES, records, dst, words, family)) {
    return Match.UnusedServiceAddress;
  }
  return cx.pools[family].contains(records, dst) ? Match.SnatAddress : Match.NotAService;
}

/** A ClusterIP, an external IP or a load balancer's address. */
function matchFrontend(cx: WorkerContext, record: number, frontend: number): Match {
  const { words, flags } = cx.table;
  const port = words[frontend + FRONTEND.PORT];
  const portFlags = words[port];
  const kind = words[frontend + FRONTEND.KIND];
  const closed = (portFlags & PORT_FLAG.HAS_ENDPOINTS) === 0;
  const refused = kind === FRONTEND_KIND.LOAD_BALANCER && !inSourceRanges(cx, record, port);
  if (refused && (!closed || flags & TABLE_FLAG.RANGES_FIRST)) return Match.SourceRange;
  if (closed) return Match.NoEndpoints;
  if (kind !== FRONTEND_KIND.CLUSTER_IP) return matchExternal(cx, record, port);

  const local = (portFlags & PORT_FLAG.INTERNAL_LOCAL) !== 0;
  const fromOutside = hasDetector(cx, record) && !isFromPod(cx, record);
  return take(cx, record, port, local, fromOutside || (flags & TABLE_FLAG.MASQUERADE_ALL) !== 0);
}

/** @param open whether the address is one that answers on NodePorts */
function matchNodePort(cx: WorkerContext, record: number, nodePort: number, open: boolean): Match {
  const { words, flags } = cx.table;
  const port = words[nodePort + FRONTEND.PORT];
  const portFlags = words[port];
  if (!open && flags & TABLE_FLAG.CLOSED_NODE_PORTS_ON_NODE_PORT_ADDRESSES) return Match.NotAService;
  if ((portFlags & PORT_FLAG.HAS_ENDPOINTS) === 0) return Match.NoEndpoints;
  if (open) return matchExternal(cx, record, port);
  // iptables mode writes its "no local endpoints" rule for every LOCAL address, open or not.
  const noLocal = (portFlags & PORT_FLAG.EXTERNAL_LOCAL) !== 0 && words[port + PORT.LOCAL + 1] === 0;
  return noLocal ? Match.NoLocalEndpoints : Match.NotAService;
}

/** The KUBE-EXT chain: policy Cluster is masqueraded, policy Local keeps the source, with short circuits for insiders. */
function matchExternal(cx: WorkerContext, record: number, port: number): Match {
  if ((cx.table.words[port] & PORT_FLAG.EXTERNAL_LOCAL) === 0) return take(cx, record, port, false, true);
  if (isFromPod(cx, record)) return take(cx, record, port, false, false);
  if (addressFlags(cx, record, record + RECORD.TUPLE) & ADDRESS_FLAG.LOCAL)
    return take(cx, record, port, false, true);
  return take(cx, record, port, true, false);
}

/** Chooses from one of the Service port's sets, the client's last endpoint first if it has affinity. */
function take(cx: WorkerContext, record: number, port: number, local: boolean, masquerade: boolean): Match {
  const { table, records } = cx;
  const set = port + (local ? PORT.LOCAL : PORT.CLUSTER);
  if (table.words[set + 1] === 0) return Match.NoLocalEndpoints;
  // Choosing takes a turn and renews an affinity: not for what is dropped anyhow.
  if (records[record + RECORD.UNFIT] !== DropReason.None) return Match.Unfit;
  const src = record + RECORD.TUPLE;
  const count = ADDRESS_WORDS[records[record + RECORD.FAMILY]];
  const affinitySec = table.words[port + PORT.AFFINITY_SEC];
  const endpoint =
    affinitySec === 0
      ? choose(cx, port, set, src, count)
      : chooseSticky(cx, port, set, src, count, affinitySec);
  if (endpoint === NO_ENDPOINT) return Match.NoEndpoints;
  // It would come back into the device as a new connection, and two such Services would send it to and fro.
  if ((table.words[endpoint + ENDPOINT.FLAGS] & ENDPOINT_FLAG.IS_SERVICE) !== 0)
    return Match.EndpointIsService;

  // Hairpin: an endpoint that reaches itself would answer itself directly, past the proxy.
  const hairpin = isAddress(table.words, endpoint + ENDPOINT.ADDRESS, records, src, count);
  records[record + RECORD.PORT] = port;
  records[record + RECORD.ENDPOINT] = endpoint;
  const keep = !masquerade && !hairpin && repliesComeBack(cx, record, endpoint);
  records[record + RECORD.MASQUERADE] = keep ? 0 : 1;
  return Match.Endpoint;
}

/** Whether an endpoint's replies to this source itself are seen here: those of pods are routed so, but not across a link. */
function repliesComeBack(cx: WorkerContext, record: number, endpoint: number): boolean {
  const { table, records } = cx;
  if ((table.flags & TABLE_FLAG.KEEP_SOURCE_FOR_PODS) === 0) return true;
  const family = records[record + RECORD.FAMILY];
  const count = ADDRESS_WORDS[family];
  const at = endpoint + ENDPOINT.ADDRESS;
  return (
    table.inPrefixes(HEADER.POD_PREFIXES, table.words, at, count, family) &&
    !table.inOnePrefix(HEADER.LINK_PREFIXES, table.words, at, records, record + RECORD.TUPLE, count, family)
  );
}

/** An endpoint that has left the set, also by becoming unready, is forgotten at once and not refreshed. */
function chooseSticky(
  cx: WorkerContext,
  port: number,
  set: number,
  src: number,
  count: number,
  affinitySec: number,
): number {
  const { table, records, affinity } = cx;
  const row = table.words[port + PORT.ROW];
  affinity.lock();
  const id = affinity.recall(row, records, src, count, cx.nowMs, affinitySec);
  // One that failed this very connection is no longer its client's (proxysocket.go: sessionAffinityReset).
  let endpoint = id === NO_AFFINITY || isAvoided(cx, id, false) ? NO_ENDPOINT : findById(cx, set, id);
  if (endpoint === NO_ENDPOINT) endpoint = choose(cx, port, set, src, count);
  if (endpoint !== NO_ENDPOINT) {
    affinity.remember(row, records, src, count, table.words[endpoint + ENDPOINT.ID], cx.nowMs);
  }
  affinity.unlock();
  return endpoint;
}

/** @returns offset of the endpoint of this id in a set, or NO_ENDPOINT */
function findById(cx: WorkerContext, set: number, id: number): number {
  const { table } = cx;
  for (let index = 0; index < table.words[set + 1]; index++) {
    const endpoint = table.endpointAt(set, index);
    if (table.words[endpoint + ENDPOINT.ID] === id) return endpoint;
  }
  return NO_ENDPOINT;
}

function inSourceRanges(cx: WorkerContext, record: number, port: number): boolean {
  const { table, records } = cx;
  if (table.words[port + PORT.RANGES + 1] === 0) return true;
  const family = records[record + RECORD.FAMILY];
  return table.inPrefixes(port + PORT.RANGES, records, record + RECORD.TUPLE, ADDRESS_WORDS[family], family);
}

const hasDetector = (cx: WorkerContext, record: number): boolean =>
  (cx.table.flags & (TABLE_FLAG.DETECT_LOCAL << cx.records[record + RECORD.FAMILY])) !== 0;

function isFromPod(cx: WorkerContext, record: number): boolean {
  const { table, records } = cx;
  const family = records[record + RECORD.FAMILY];
  return table.inPrefixes(HEADER.POD_PREFIXES, records, record + RECORD.TUPLE, ADDRESS_WORDS[family], family);
}

/** Bits of ADDRESS_FLAG of the address at `at` of the records. */
export function addressFlags(cx: WorkerContext, record: number, at: number): number {
  const { table, records } = cx;
  const family = records[record + RECORD.FAMILY];
  const found = table.find(records, at, ADDRESS_WORDS[family], wholeAddressKey(family));
  const known = found === NO_FRONTEND ? 0 : table.words[found + FRONTEND.KIND];
  const loopback = family === FAMILY.V4 && (records[at] & 0xff) === 127; // 127.0.0.0/8
  if (!loopback) return known;
  return (
    known | ADDRESS_FLAG.LOCAL | (table.flags & TABLE_FLAG.LOOPBACK_NODE_PORTS ? ADDRESS_FLAG.NODE_PORTS : 0)
  );
}

function isAddress(a: Int32Array, at: number, b: Int32Array, bt: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (a[at + i] !== b[bt + i]) return false;
  return true;
}

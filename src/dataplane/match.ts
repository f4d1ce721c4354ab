/**
 * Step 3, for a packet of no known flow: which frontend is it for, and which endpoint shall have it.
 */
import type { Random } from '../shared/random.js';
import { frontendKey, WHOLE_ADDRESS } from '../table/layout.js';
import { NO_FRONTEND, type ServiceTable } from '../table/service-table.js';
import { dportHalf } from '../wire/byte-order.js';
import type { WorkerContext } from './context.js';
import { RECORD, recordAt, type Slot } from './packet.js';
import { Match } from './verdict.js';

/** Looks up the destination; after Match.Endpoint, RECORD.ENDPOINT is the chosen endpoint's record. */
export function match(cx: WorkerContext, slot: Slot): Match {
  const { table, records } = cx;
  const record = recordAt(slot);
  const dst = records[record + RECORD.DST];
  const port = dportHalf(records[record + RECORD.PORTS]);

  const frontend = table.find(dst, frontendKey(port, records[record + RECORD.PROTOCOL]));
  if (frontend !== NO_FRONTEND) {
    const count = table.endpointsOf(frontend);
    if (count === 0) return Match.NoEndpoints;
    records[record + RECORD.ENDPOINT] = table.endpointAt(frontend, cascade(table, cx.random, count));
    return Match.Endpoint;
  }
  if (table.find(dst, WHOLE_ADDRESS) !== NO_FRONTEND) return Match.UnservedPort;
  return cx.pool.contains(dst) ? Match.SnatAddress : Match.NotAService;
}

/**
 * kube-proxy's iptables mode: rules tried in order with probability 1/n, 1/(n-1), ..., 1/2, the last one always.
 * Literally one draw a rule, as the kernel's statistic match does (xt_statistic.c), so that the choice follows the
 * printed probabilities to the last bit.
 * @returns an index from 0 to `count` - 1
 */
export function cascade(table: ServiceTable, random: Random, count: number): number {
  for (let remaining = count; remaining > 1; remaining--) {
    if (random.next31() < table.cascadeThreshold(remaining)) return count - remaining;
  }
  return count - 1;
}

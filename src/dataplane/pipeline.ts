/**
 * The packet's way, all of its branching, in the order of the drawing in docs/ARCHITECTURE.md.
 *
 *   parse -> pinFind --hit-----------------------------------> touch -> translate -> Forward
 *      |        |       |- endpoint gone, policy reset; abandoned -> RST   ^
 *      |        |       '- endpoint refused the SYN -> retry with another -+
 *      |        | miss                                                     |
 *      |        '-> vet -> match -- endpoint -> pinCreate -> keepSyn -----'
 *      |                     |-- not a service -> Pass '-- no room -> Drop
 *      |                     |-- unfit, policy, source range, SNAT address -> Drop
 *      |                     '-- no endpoints, unserved port -> Reject
 *      '-- malformed, fragment -> Drop
 */
import { NO_FLOW } from '../conntrack/flow-table.js';
import { COUNTER } from '../table/counters.js';
import { PROTOCOL } from '../wire/ipv4.js';
import { TCP_FLAG } from '../wire/tcp.js';
import type { WorkerContext } from './context.js';
import { match } from './match.js';
import { RECORD, recordAt, type Slot } from './packet.js';
import { parse } from './parse.js';
import { pinCreate, pinEnds, pinFind, refusalOf, touch } from './pin.js';
import { reject } from './reject.js';
import { unreachableFlow } from './related.js';
import { reset } from './reset.js';
import { answered, isAbandoned, keepSyn, unreachable } from './retry.js';
import { translate } from './translate.js';
import { DropReason, Match, Verdict } from './verdict.js';
import { vet } from './vet.js';

/** Decides and rewrites the packet in `slot`, and notes its outcome; a dropped packet's length becomes 0. */
export function process(cx: WorkerContext, slot: Slot): Verdict {
  const malformed = parse(cx, slot);
  if (malformed !== DropReason.None) return drop(cx, slot, malformed);

  let flow = pinFind(cx, slot);
  if (flow !== NO_FLOW) {
    if (answered(cx, slot, flow)) return outcome(cx, slot, COUNTER.RETRIED, Verdict.Forward);
    if (isAbandoned(cx, slot, flow)) return refuse(cx, slot);
    if (pinEnds(cx, slot, flow)) return refuse(cx, slot);
  } else {
    const failedFlow = unreachableFlow(cx, slot);
    if (failedFlow !== NO_FLOW && unreachable(cx, slot, failedFlow)) {
      return outcome(cx, slot, COUNTER.RETRIED, Verdict.Forward);
    }
    const unfit = vet(cx, slot);
    const found = match(cx, slot);
    if (found === Match.NotAService) return outcome(cx, slot, COUNTER.PASSED, Verdict.Pass);
    if (found === Match.SnatAddress) return drop(cx, slot, DropReason.NoFlow);
    if (!isBalanced(cx, slot)) return drop(cx, slot, DropReason.UnsupportedProtocol);
    if (unfit !== DropReason.None) return drop(cx, slot, unfit);
    if (found === Match.EndpointIsService) return drop(cx, slot, DropReason.EndpointIsService);
    if (found === Match.NoLocalEndpoints) return drop(cx, slot, DropReason.NoLocalEndpoints);
    if (found === Match.SourceRange) return drop(cx, slot, DropReason.SourceRange);
    if (found === Match.UnusedServiceAddress) return drop(cx, slot, DropReason.UnusedServiceAddress);
    if (found !== Match.Endpoint) {
      reject(cx, slot);
      return outcome(cx, slot, COUNTER.REJECTED, Verdict.Reject);
    }
    flow = pinCreate(cx, slot);
    if (flow < 0) return drop(cx, slot, refusalOf(flow));
    keepSyn(cx, slot, flow);
  }
  touch(cx, slot, flow);
  translate(cx, slot, flow);
  return outcome(cx, slot, COUNTER.FORWARDED, Verdict.Forward);
}

/** What has flows, and what may be answered with an ICMP error (never an ICMP error itself). */
function isBalanced(cx: WorkerContext, slot: Slot): boolean {
  const protocol = cx.records[recordAt(slot) + RECORD.PROTOCOL];
  return protocol === PROTOCOL.TCP || protocol === PROTOCOL.UDP || protocol === PROTOCOL.SCTP;
}

/** Ends the sender's connection; an RST is never answered with one. */
function refuse(cx: WorkerContext, slot: Slot): Verdict {
  if (cx.records[recordAt(slot) + RECORD.TCP_FLAGS] & TCP_FLAG.RST)
    return drop(cx, slot, DropReason.Abandoned);
  reset(cx, slot);
  return outcome(cx, slot, COUNTER.RESET, Verdict.Reject);
}

function drop(cx: WorkerContext, slot: Slot, reason: DropReason): Verdict {
  cx.slab.lengths[slot] = 0;
  return outcome(cx, slot, COUNTER.DROPPED + reason, Verdict.Drop);
}

/** Noted, not counted yet: whether the kernel takes the packet back is known only in `reinject`. */
function outcome(cx: WorkerContext, slot: Slot, counter: number, verdict: Verdict): Verdict {
  cx.records[recordAt(slot) + RECORD.OUTCOME] = counter;
  return verdict;
}

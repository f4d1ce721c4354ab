/**
 * The packet's way, all of its branching, in the order of the drawing in docs/ARCHITECTURE.md.
 *
 *   parse -> pinFind --hit-----------------------------------> touch -> translate -> Forward
 *      |        |       |- endpoint gone, policy reset; abandoned -> RST   ^
 *      |        |       '- endpoint refused the SYN -> retry with another -+
 *      |        | miss                                                     |
 *      |        |-- ICMP error about a flow -> related -------------> Forward
 *      |        |      '- endpoint of a kept SYN unreachable -> retry ------+
 *      |        |-- another worker's -> HandOff                             |
 *      |        '-> vet -> match -- endpoint -> pinCreate -> keepSyn -----'
 *      |                     |-- not a service -> Pass '-- no room -> Drop, said by ICMP
 *      |                     |-- unfit, policy, source range, SNAT address -> Drop
 *      |                     |-- no endpoints, unserved port -> Reject
 *      |                     '-- ping of a Service's address, if wanted -> echo reply
 *      |-- fragment -- first of its datagram -> pinFind, as a whole packet; its fate is noted
 *      |           |-- of a datagram whose fragments meet at another worker -> HandOff
 *      |           |-- later -> the fate of the first: addresses translated -> Forward; Pass; HandOff; Drop
 *      |           |-- before the first -> Hold, and once more from parse when that has come; no room, too late -> Drop
 *      |           '-- overlap, duplicate, tiny -> Drop
 *      '-- malformed -> Drop
 */
import { NO_FLOW } from '../conntrack/flow-table.js';
import { FATE } from '../conntrack/fragments.js';
import { COUNTER } from '../table/counters.js';
import { ADDRESS_FLAG } from '../table/layout.js';
import { ADDRESS_WORDS } from '../wire/family.js';
import { TCP_FLAG } from '../wire/tcp.js';
import type { WorkerContext } from './context.js';
import { answerEcho, asksForEcho } from './echo.js';
import {
  datagramOf,
  fateOf,
  fitsDatagram,
  flowOfFirst,
  hold,
  isFirst,
  noteFate,
  parseFirst,
  parseFragment,
} from './fragment.js';
import { addressFlags, match } from './match.js';
import { isBalanced, NO_WORKER, ownerOfDatagram, ownerOfPacket } from './owner.js';
import { RECORD, recordAt, type Slot } from './packet.js';
import { parse } from './parse.js';
import { pinCreate, pinEnds, pinFind, refusalOf, touch } from './pin.js';
import { reject, UNREACHABLE } from './reject.js';
import { isIcmpError, isUnreachable, relatedFlow, translateRelated } from './related.js';
import { reset } from './reset.js';
import { answered, isAbandoned, keepSyn, unreachable } from './retry.js';
import { translate, translateAddresses } from './translate.js';
import { DropReason, Match, Verdict } from './verdict.js';
import { vet } from './vet.js';

/** Decides and rewrites the packet in `slot`, and notes its outcome; a dropped packet's length becomes 0. */
export function process(cx: WorkerContext, slot: Slot): Verdict {
  const malformed = parse(cx, slot);
  if (malformed === DropReason.Fragment) return processFragment(cx, slot);
  if (malformed !== DropReason.None) return drop(cx, slot, malformed);
  return processWhole(cx, slot);
}

/** A packet that has its ports: a whole one, or the first fragment of one. */
function processWhole(cx: WorkerContext, slot: Slot): Verdict {
  let flow = pinFind(cx, slot);
  let begins = false;
  if (flow !== NO_FLOW) {
    if (answered(cx, slot, flow)) return outcome(cx, slot, COUNTER.RETRIED, Verdict.Forward);
    if (isAbandoned(cx, slot, flow)) return refuse(cx, slot);
    if (pinEnds(cx, slot, flow)) return refuse(cx, slot);
  } else {
    const related = relatedFlow(cx, slot);
    if (related >= 0) {
      if (isUnreachable(cx, slot, related) && unreachable(cx, slot, related)) {
        return outcome(cx, slot, COUNTER.RETRIED, Verdict.Forward);
      }
      if (isAbandoned(cx, slot, related)) return drop(cx, slot, DropReason.Abandoned);
      translateRelated(cx, slot, related);
      return outcome(cx, slot, COUNTER.FORWARDED, Verdict.Forward);
    }
    const owner = ownerOfPacket(cx, slot);
    if (owner === NO_WORKER) return drop(cx, slot, DropReason.WrongWorker);
    if (owner !== cx.handOff.share.worker) return handOff(cx, slot, owner);
    const unfit = vet(cx, slot);
    const found = match(cx, slot);
    if ((found === Match.NotAService || found === Match.SnatAddress) && isCopy(cx, slot))
      return drop(cx, slot, DropReason.IcmpCopy);
    if (found === Match.NotAService) return outcome(cx, slot, COUNTER.PASSED, Verdict.Pass);
    if (related !== NO_FLOW) return drop(cx, slot, refusalOf(related));
    if (found === Match.SnatAddress) return drop(cx, slot, DropReason.NoFlow);
    if (found === Match.UnservedPort && asksForEcho(cx, slot)) return echo(cx, slot, unfit);
    if (!isBalanced(cx.records[recordAt(slot) + RECORD.PROTOCOL]))
      return drop(cx, slot, DropReason.UnsupportedProtocol);
    if (unfit !== DropReason.None) return drop(cx, slot, unfit);
    if (found === Match.EndpointIsService) return drop(cx, slot, DropReason.EndpointIsService);
    if (found === Match.NoLocalEndpoints) return drop(cx, slot, DropReason.NoLocalEndpoints);
    if (found === Match.SourceRange) return drop(cx, slot, DropReason.SourceRange);
    if (found === Match.UnusedServiceAddress) return drop(cx, slot, DropReason.UnusedServiceAddress);
    if (found !== Match.Endpoint) {
      reject(cx, slot, UNREACHABLE.PORT);
      return outcome(cx, slot, COUNTER.REJECTED, Verdict.Reject);
    }
    flow = pinCreate(cx, slot);
    if (flow < 0) return turnAway(cx, slot, refusalOf(flow));
    keepSyn(cx, slot, flow);
    begins = true;
  }
  touch(cx, slot, flow, begins);
  translate(cx, slot, flow);
  return outcome(cx, slot, COUNTER.FORWARDED, Verdict.Forward);
}

/** A fragment: the first of its datagram decides for all. */
function processFragment(cx: WorkerContext, slot: Slot): Verdict {
  const malformed = parseFragment(cx, slot);
  if (malformed !== DropReason.None) return drop(cx, slot, malformed);
  const meetAt = ownerOfDatagram(cx, slot);
  if (meetAt !== cx.handOff.share.worker) return handOff(cx, slot, meetAt);
  const place = datagramOf(cx);
  const refused = fitsDatagram(cx, place);
  if (refused !== DropReason.None) return drop(cx, slot, refused);

  if (isFirst(cx)) {
    const unusable = parseFirst(cx, slot);
    let verdict: Verdict;
    if (unusable === DropReason.None) verdict = processWhole(cx, slot);
    else if (unusable === DropReason.UnsupportedFragment && isForeign(cx, slot))
      verdict = outcome(cx, slot, COUNTER.PASSED, Verdict.Pass);
    else verdict = drop(cx, slot, unusable);
    noteFate(cx, slot, place);
    return verdict;
  }

  const fate = fateOf(cx, place);
  if (fate >= FATE.ELSEWHERE) return handOff(cx, slot, fate - FATE.ELSEWHERE);
  if (fate === FATE.PASSED) return outcome(cx, slot, COUNTER.PASSED, Verdict.Pass);
  if (fate === FATE.WAITING) {
    if (!hold(cx, slot, place)) return drop(cx, slot, DropReason.FragmentNoRoom);
    return outcome(cx, slot, COUNTER.HELD, Verdict.Hold);
  }
  const flow = flowOfFirst(cx, slot, place);
  if (flow === NO_FLOW) return drop(cx, slot, DropReason.Fragment);
  touch(cx, slot, flow, false);
  translateAddresses(cx, slot, flow);
  return outcome(cx, slot, COUNTER.FORWARDED, Verdict.Forward);
}

/** Neither of a flow of ours nor for a Service. */
const isForeign = (cx: WorkerContext, slot: Slot): boolean =>
  pinFind(cx, slot) === NO_FLOW && match(cx, slot) === Match.NotAService;

/**
 * An ICMP error to the node itself is a copy (src/host/icmp-copies.ts) of one that the kernel has had: no rule brings such in.
 * Passed, it would be delivered and copied again, for ever.
 */
function isCopy(cx: WorkerContext, slot: Slot): boolean {
  if (!isIcmpError(cx, slot)) return false;
  const record = recordAt(slot);
  const dst = record + RECORD.TUPLE + ADDRESS_WORDS[cx.records[record + RECORD.FAMILY]];
  return (addressFlags(cx, record, dst) & ADDRESS_FLAG.LOCAL) !== 0;
}

/** @param unfit what `vet` says of the packet */
function echo(cx: WorkerContext, slot: Slot, unfit: DropReason): Verdict {
  const wrong = unfit === DropReason.None ? answerEcho(cx, slot) : unfit;
  return wrong === DropReason.None
    ? outcome(cx, slot, COUNTER.ECHOED, Verdict.Reject)
    : drop(cx, slot, wrong);
}

/** There is no room for the flow, and its client is told so (RFC 5508 REQ-8). It counts as dropped for that reason. */
function turnAway(cx: WorkerContext, slot: Slot, reason: DropReason): Verdict {
  reject(cx, slot, UNREACHABLE.PROHIBITED);
  return outcome(cx, slot, COUNTER.DROPPED + reason, Verdict.Drop);
}

/** Ends the sender's connection; an RST is never answered with one. */
function refuse(cx: WorkerContext, slot: Slot): Verdict {
  if (cx.records[recordAt(slot) + RECORD.TCP_FLAGS] & TCP_FLAG.RST)
    return drop(cx, slot, DropReason.Abandoned);
  reset(cx, slot);
  return outcome(cx, slot, COUNTER.RESET, Verdict.Reject);
}

/** Gives the packet to another worker, with whom it gets its outcome. */
function handOff(cx: WorkerContext, slot: Slot, owner: number): Verdict {
  if (!cx.handOff.give(cx.slab, slot, owner, cx.hopsLeft[slot] - 1))
    return drop(cx, slot, DropReason.HandOffFull);
  cx.slab.lengths[slot] = 0;
  cx.records[recordAt(slot) + RECORD.OWNER] = owner;
  return outcome(cx, slot, COUNTER.HANDED_OFF, Verdict.HandOff);
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

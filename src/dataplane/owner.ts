/**
 * Whose packet it is, asked for packets of no flow known here: the client's shard decides (conntrack/owner.ts), and the
 * client is the source of what goes to a Service and the destination of everything else. Fragments without ports meet at
 * the owner of their datagram first, who knows where the one with the ports went.
 */

import { KEY } from '../conntrack/fragments.js';
import { datagramShardOf, ownerOf, shardOf, stir, stirWords } from '../conntrack/owner.js';
import { ADDRESS_FLAG, FRONTEND, frontendKey, nodePortKey, wholeAddressKey } from '../table/layout.js';
import { NO_FRONTEND } from '../table/service-table.js';
import { dportHalf, sportHalf } from '../wire/byte-order.js';
import { ADDRESS_WORDS } from '../wire/family.js';
import { PROTOCOL } from '../wire/ipv4.js';
import type { WorkerContext } from './context.js';
import { HOPS_MAX } from './hand-off.js';
import { RECORD, recordAt, type Slot } from './packet.js';

/** Handed over here as the last place to ask, and another worker's by our table. */
export const NO_WORKER = -1;

/**
 * @returns who is to look for the flow of the packet in `slot`: this worker, which has not found it, when nobody else is to be
 *   asked; or NO_WORKER. Asked after `relatedFlow`
 */
export function ownerOfPacket(cx: WorkerContext, slot: Slot): number {
  const { worker, workers } = cx.handOff.share;
  if (workers === 1) return worker;
  const { records } = cx;
  const record = recordAt(slot);
  const protocol = records[record + RECORD.PROTOCOL];
  if (isBalanced(protocol)) {
    return ownerOfTuple(cx, slot, records, record + RECORD.TUPLE, protocol);
  }
  // An ICMP error goes where the packet would go that answers the one it quotes: `relatedFlow` has made its tuple.
  if (records[record + RECORD.QUOTED_L4] === 0) return worker;
  const { reply } = cx.pools[records[record + RECORD.FAMILY]];
  return ownerOfTuple(cx, slot, reply, 0, records[record + RECORD.QUOTED_PROTOCOL]);
}

/** What has flows, and what may be answered with an ICMP error (never an ICMP error itself). */
export const isBalanced = (protocol: number): boolean =>
  protocol === PROTOCOL.TCP || protocol === PROTOCOL.UDP || protocol === PROTOCOL.SCTP;

function ownerOfTuple(
  cx: WorkerContext,
  slot: Slot,
  words: Int32Array,
  tuple: number,
  protocol: number,
): number {
  const { worker, workers } = cx.handOff.share;
  const hopsLeft = cx.hopsLeft[slot];
  const family = cx.records[recordAt(slot) + RECORD.FAMILY];
  const count = ADDRESS_WORDS[family];
  const ports = words[tuple + 2 * count];
  const dst = tuple + count;
  const bySource = ownerOf(shardOf(stirWords(words, tuple, count), sportHalf(ports)), workers);
  const byDestination = ownerOf(shardOf(stirWords(words, dst, count), dportHalf(ports)), workers);
  const client = clientOf(cx, words, dst, family, dportHalf(ports), protocol);
  if (client === Client.Either) {
    if (hopsLeft === HOPS_MAX && worker !== bySource) return bySource;
    return hopsLeft > 0 ? byDestination : worker;
  }
  const owner = client === Client.Source ? bySource : byDestination;
  return owner === worker || hopsLeft > 0 ? owner : NO_WORKER;
}

const Client = { Source: 0, Destination: 1, Either: 2 } as const;
type Client = (typeof Client)[keyof typeof Client];

/**
 * Which end of the packet is the client. What goes to a Service's address comes from one, whatever the port: a port that it has
 * no more may have flows yet. A port of this node that is not served may have been, or is one of the node's own connections.
 */
function clientOf(
  { table }: WorkerContext,
  words: Int32Array,
  dst: number,
  family: number,
  dport: number,
  protocol: number,
): Client {
  const count = ADDRESS_WORDS[family];
  const known = table.find(words, dst, count, wholeAddressKey(family));
  if (known === NO_FRONTEND) return Client.Destination;
  if ((table.words[known + FRONTEND.KIND] & ADDRESS_FLAG.LOCAL) === 0) return Client.Source;
  const isServed =
    table.find(words, dst, count, frontendKey(family, dport, protocol)) !== NO_FRONTEND ||
    table.find(words, dst, 0, nodePortKey(family, dport, protocol)) !== NO_FRONTEND;
  return isServed ? Client.Source : Client.Either;
}

/**
 * Asked after `parseFragment`.
 * @returns the worker where the fragments of the datagram meet; this one for those that were handed on from there
 */
export function ownerOfDatagram(cx: WorkerContext, slot: Slot): number {
  const { worker, workers } = cx.handOff.share;
  if (workers === 1 || cx.hopsLeft[slot] === 0) return worker;
  const { key } = cx.fragments;
  const count = ADDRESS_WORDS[cx.records[recordAt(slot) + RECORD.FAMILY]];
  let sum = 0;
  for (let i = 0; i < count; i++) sum = stir(sum, key[KEY.SRC + i]);
  for (let i = 0; i < count; i++) sum = stir(sum, key[KEY.DST + i]);
  const owner = ownerOf(datagramShardOf(stir(sum, key[KEY.ID])), workers);
  if (owner === worker) cx.hopsLeft[slot] = 1; // to the flow's owner, and from there to nobody
  return owner;
}

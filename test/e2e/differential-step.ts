// One step of a case at one peer: its packets sent, and what came out of them, made comparable.

import { reassemble } from '../support/fragments.js';
import { VNET_BYTES, view } from '../support/packets.js';
import type { FamilyNames, Output, Peer } from './differential-lab.js';
import { isIcmp, type Normal, normalise, quotedPacket } from './differential-normal.js';
import type { Cast, Side, Step } from './differential-script.js';
import { at } from './nodeport-lab.js';

/** Who the client may be: kube-proxy masquerades connections from outside and to oneself, and keeps a pod's source. */
export const CLIENTS = ['outside', 'pod', 'endpoint'] as const;
export type Client = (typeof CLIENTS)[number];

/** Who is who before anything is sent. @param clientPort no other case's, so that none finds flows of another */
export function castOf(names: FamilyNames, from: Client, clientPort: number): Cast {
  const client = names[from];
  const [sourceKept, hairpin] = [from === 'pod', from === 'endpoint'];
  return { ...names, client, clientPort, sourceKept, hairpin, seen: at(client, clientPort), received: {} };
}

export interface Result extends Normal {
  readonly side: Side;
}

/** Sends a step's packets through one peer; notes what the ends see of them. */
export function take(peer: Peer, step: Step, cast: Cast): Result[] {
  const frames = step.frames(cast);
  const outputs = peer.exchange(cast.hairpin ? 'endpoint' : step.at, frames);
  const fragments = outputs.filter(({ frame }) => isFragment(frame));
  const whole = outputs.filter((output) => !fragments.includes(output));
  const results: Result[] = [];
  if (fragments.length > 0) {
    const [{ side }] = fragments as [Output];
    const frame = reassembled(fragments.map((fragment) => fragment.frame));
    if (frame) whole.push({ side, frame });
    else results.push({ side, line: `${side}: not a whole datagram`, hex: '' });
  }
  for (const { side: link, frame } of whole) {
    const side = cast.hairpin && link === 'endpoint' ? hairpinSide(frame, cast) : link;
    const seen = view(frame);
    if (side === 'endpoint' && !seen.icmp) cast.seen = seen.from;
    cast.received[side] = frame;
    results.push({
      side,
      ...normalise(frame, side, cast, seen.icmp !== undefined && !isIcmp(frames[0]!)),
    });
  }
  return results;
}

/** Which of its two sides an endpoint that is its own client gets a packet at. */
function hairpinSide(frame: Uint8Array, { clientPort }: Cast): Side {
  const { to, icmp } = view(frame);
  const own = icmp ? quotedPacket(icmp.quoted).from : to;
  return own.endsWith(`:${clientPort}`) ? 'client' : 'endpoint';
}

function isFragment(frame: Uint8Array): boolean {
  const packet = frame.subarray(VNET_BYTES);
  return packet[0]! >> 4 === 4 ? ((packet[6]! & 0x3f) | packet[7]!) !== 0 : packet[6] === 44;
}

/** Undefined when they are not one whole datagram. */
function reassembled(frames: Uint8Array[]): Uint8Array | undefined {
  try {
    return reassemble(frames);
  } catch {
    return undefined;
  }
}

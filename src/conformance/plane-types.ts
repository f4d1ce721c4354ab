/** What the flows of packet-flows.json are sent through. Nothing here decides anything: plane.ts has the real pipeline. */
import type { Plan } from '../control/compile/plan.js';
import type { ProxyOptions } from '../control/model/proxy-options.js';
import type { Protocol } from '../control/sources/kube-object.js';

export interface Flow {
  readonly sourceIP: string;
  readonly destIP: string;
  readonly protocol: Protocol;
  readonly destPort: number;
}

/** What became of a flow's first packet, read off what came out of the device. */
export type FlowVerdict =
  | {
      readonly verdict: 'DNAT';
      /** "10.244.0.3:8888", "[fd00::3]:8888" */
      readonly endpoint: string;
      /** The source is an address of the SNAT pool. */
      readonly masquerade: boolean;
    }
  | { readonly verdict: 'REJECT' | 'DROP' | 'PASS' };

export interface Sender {
  /** Sends the first packet of a new connection: of earlier ones nothing is remembered, no session affinity either. */
  send(flow: Flow): FlowVerdict;
}

/** @param seed of every random choice */
export type SenderClass = new (plan: Plan, options: ProxyOptions, seed: number) => Sender;

/**
 * The balancing behaviours that are compared. Each is a setting of the production control plane (proxy mode, algorithm,
 * session affinity), and whether flows are pinned: there is no second implementation of any of them.
 */
import type { ProxyMode } from '../../control/model/proxy-options.js';
import type { Algorithm } from '../../control/sources/annotations.js';

export interface Strategy {
  /** One word or two, for tables. */
  readonly name: string;
  /** What it is, in a sentence's end. */
  readonly what: string;
  readonly mode: ProxyMode;
  /** flowpin.dev/algorithm; null: what the mode does. */
  readonly algorithm: Algorithm | null;
  /** sessionAffinity ClientIP. */
  readonly affinity: boolean;
  /**
   * False: the flow is forgotten after each packet, so that every packet is decided on its own; and, as in a balancer without
   * state, endpoints answer their clients directly (direct server return).
   */
  readonly pinned: boolean;
  /** What its choice is made from: chance or a turn for every flow, or the client's address. */
  readonly chooses: 'flows' | 'clients';
  /** Whether it spreads flows evenly by design, so that a spread beyond chance is a fault. */
  readonly even: boolean;
}

export const STRATEGIES = [
  {
    name: 'per-packet',
    what: 'the cascade, drawn anew for every packet: no conntrack',
    mode: 'iptables',
    algorithm: null,
    affinity: false,
    pinned: false,
    chooses: 'flows',
    even: true,
  },
  {
    name: 'random',
    what: 'the cascade once a connection, pinned (kube-proxy iptables)',
    mode: 'iptables',
    algorithm: null,
    affinity: false,
    pinned: true,
    chooses: 'flows',
    even: true,
  },
  {
    name: 'numgen',
    what: 'numgen random mod n, pinned (kube-proxy nftables)',
    mode: 'nftables',
    algorithm: null,
    affinity: false,
    pinned: true,
    chooses: 'flows',
    even: true,
  },
  {
    name: 'rr+retry',
    what: 'round robin, a failed connect tried elsewhere (userspace)',
    mode: 'userspace',
    algorithm: null,
    affinity: false,
    pinned: true,
    chooses: 'flows',
    even: true,
  },
  {
    name: 'ClientIP',
    what: 'sessionAffinity ClientIP: random once a client address',
    mode: 'iptables',
    algorithm: null,
    affinity: true,
    pinned: true,
    chooses: 'clients',
    even: true,
  },
  {
    name: 'hash mod n',
    what: 'hash of the client address modulo n, no flow table',
    mode: 'iptables',
    algorithm: 'sh',
    affinity: false,
    pinned: false,
    chooses: 'clients',
    even: true,
  },
  {
    name: 'Maglev',
    what: 'Maglev hashing, 65,537 entries, no flow table',
    mode: 'iptables',
    algorithm: 'mh',
    affinity: false,
    pinned: false,
    chooses: 'clients',
    even: true,
  },
  {
    name: 'Maglev+table',
    what: 'Maglev hashing, pinned',
    mode: 'iptables',
    algorithm: 'mh',
    affinity: false,
    pinned: true,
    chooses: 'clients',
    even: true,
  },
  {
    name: 'least conn',
    what: 'least connections, pinned (ipvs lc)',
    mode: 'iptables',
    algorithm: 'lc',
    affinity: false,
    pinned: true,
    chooses: 'flows',
    even: false,
  },
] as const satisfies readonly Strategy[];

export type StrategyName = (typeof STRATEGIES)[number]['name'];

export const strategyNamed = (name: StrategyName): Strategy =>
  STRATEGIES.find((strategy) => strategy.name === name) as Strategy;

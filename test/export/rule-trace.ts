/**
 * Follows the first packet of a connection through an exported text, as netfilter would: the nat table, then, when no rule
 * has given it another destination, the filter table. A second reading of the plan, written for the tests: what the rules
 * say has to be what the workers do.
 *
 * Rules that remember (session affinity, connection states) never match a first packet. Chances are all taken, so that every
 * endpoint shows.
 */
import { BlockList, isIPv6 } from 'node:net';
import type { Flow, FlowVerdict, Sender } from '../../src/conformance/plane-types.js';
import type { Plan } from '../../src/control/compile/plan.js';
import { DEFAULT_IPTABLES_EXPORT, iptablesText } from '../../src/control/export/iptables.js';
import type { ProxyOptions } from '../../src/control/model/proxy-options.js';

/** Answers with one of the possible verdicts after the other. */
export class RuleTrace implements Sender {
  readonly #plan: Plan;
  readonly #options: ProxyOptions;
  readonly #verdicts = new Map<Flow, FlowVerdict[]>();

  constructor(plan: Plan, options: ProxyOptions) {
    this.#plan = plan;
    this.#options = options;
  }

  send(flow: Flow): FlowVerdict {
    const verdicts = this.#verdicts.get(flow) ?? this.#verdictsOf(flow);
    this.#verdicts.set(flow, [...verdicts.slice(1), verdicts[0]]);
    return verdicts[0];
  }

  #verdictsOf(flow: Flow): FlowVerdict[] {
    const family = isIPv6(flow.destIP) ? 'IPv6' : 'IPv4';
    const text = iptablesText(this.#plan, this.#options, { ...DEFAULT_IPTABLES_EXPORT, family });
    return verdictsOf(text, flow, [...this.#options.nodeIPs, ...this.#options.loopbackIPs]);
  }
}

/** @param local the addresses that are LOCAL @returns every verdict that the flow may get */
export function verdictsOf(text: string, flow: Flow, local: readonly string[]): FlowVerdict[] {
  const [filter, nat] = text.split(/(?<=^COMMIT\n)/m).map(rulesOf);
  const translated: FlowVerdict[] = [];
  const isDone = walkNat(nat!, 'KUBE-SERVICES', { flow, local, marked: false }, translated);
  // One that a last rule takes is not seen by the filter table any more; one that only chances take may be.
  if (isDone || translated.length > 0) return translated;
  for (const chain of [
    'KUBE-PROXY-FIREWALL',
    'KUBE-NODEPORTS',
    'KUBE-EXTERNAL-SERVICES',
    'KUBE-SERVICES',
    'KUBE-FIREWALL',
  ]) {
    const rule = (filter!.get(chain) ?? []).find((rule) => matches(rule, flow, local));
    if (rule?.target === 'ACCEPT') return [{ verdict: 'PASS' }];
    if (rule?.target === 'DROP' || rule?.target === 'REJECT') return [{ verdict: rule.target }];
  }
  return [{ verdict: 'PASS' }];
}

interface Rule {
  readonly words: readonly string[];
  readonly target: string | null;
  readonly destination: string | null;
}

function rulesOf(table: string): Map<string, Rule[]> {
  const chains = new Map(
    [...table.matchAll(/^:(\S+) - \[0:0\]$/gm)].map(([, name]): [string, Rule[]] => [name!, []]),
  );
  for (const [, chain, rest] of table.matchAll(/^-A (\S+) ?(.*)$/gm)) {
    const words = rest!.replace(/-m comment --comment ("[^"]*"|\S+) ?/, '').split(' ');
    const after = (option: string): string | null => {
      const at = words.indexOf(option);
      return at === -1 ? null : words[at + 1];
    };
    chains.get(chain!)!.push({ words, target: after('-j'), destination: after('--to-destination') });
  }
  return chains;
}

interface Walk {
  readonly flow: Flow;
  readonly local: readonly string[];
  marked: boolean;
}

/** @returns whether the packet has got its verdict, and goes no further */
function walkNat(nat: Map<string, Rule[]>, chain: string, walk: Walk, found: FlowVerdict[]): boolean {
  for (const rule of nat.get(chain)!) {
    if (!matches(rule, walk.flow, walk.local)) continue;
    if (rule.target === null) continue;
    if (rule.target === 'DNAT') {
      found.push({ verdict: 'DNAT', endpoint: rule.destination!, masquerade: walk.marked });
      return true;
    }
    if (rule.target === 'KUBE-MARK-MASQ') walk.marked = true;
    else if (rule.words.includes('--probability')) walkNat(nat, rule.target, { ...walk }, found);
    else if (walkNat(nat, rule.target, walk, found)) return true;
  }
  return false;
}

function matches(
  { words }: Rule,
  { sourceIP, destIP, protocol, destPort }: Flow,
  local: readonly string[],
): boolean {
  for (let at = 0; at < words.length; at++) {
    const isNegated = words[at] === '!';
    if (isNegated) at++;
    const value = words[at + 1] ?? '';
    const holds = (): boolean => {
      switch (words[at]) {
        case '-d':
          return isIn(value, destIP);
        case '-s':
          return isIn(value, sourceIP);
        case '-p':
          return value === protocol.toLowerCase();
        case '--dport':
          return Number(value) === destPort;
        case '--dst-type':
          return isLocal(destIP, local);
        case '--src-type':
          return isLocal(sourceIP, local);
        case '--ctstate':
        case '--rcheck':
          return false;
        default:
          return !isNegated;
      }
    };
    if (holds() === isNegated) return false;
  }
  return true;
}

const isLocal = (ip: string, local: readonly string[]): boolean =>
  local.includes(ip) || ip.startsWith('127.');

function isIn(network: string, ip: string): boolean {
  const [address, length] = network.split('/');
  const family = isIPv6(ip) ? 'ipv6' : 'ipv4';
  if (isIPv6(address!) !== isIPv6(ip)) return false;
  const list = new BlockList();
  list.addSubnet(address!, Number(length ?? (family === 'ipv6' ? 128 : 32)), family);
  return list.check(ip, family);
}

/**
 * packet-flows.json: Services, EndpointSlices and flows with their verdict. Every flow is sent as real packets through the
 * table that is compiled from the objects.
 */
import { type Plan, planOf } from '../control/compile/plan.js';
import { DEFAULT_IPTABLES_EXPORT, iptablesText } from '../control/export/iptables.js';
import type { ProxyOptions } from '../control/model/proxy-options.js';
import type { KubeObject } from '../control/sources/kube-object.js';
import type { Check } from './check.js';
import { ObjectStore, type RawObject } from './objects.js';
import { type CaseConfig, optionsOf } from './options-of.js';
import type { Flow, FlowVerdict, SenderClass } from './plane-types.js';

interface FlowCase extends Flow {
  readonly name: string;
  readonly expect: {
    /** ACCEPT and ACCEPT-NO-MATCH are both a packet that goes on as it is. */
    readonly verdict: 'DNAT' | 'REJECT' | 'DROP' | 'ACCEPT' | 'ACCEPT-NO-MATCH';
    readonly endpoints?: readonly string[];
    readonly masquerade?: boolean;
  };
}

interface PacketFlowsCase {
  readonly id: string;
  readonly config: CaseConfig;
  readonly services?: readonly RawObject[];
  readonly endpointSlices?: readonly RawObject[];
  readonly flows?: readonly FlowCase[];
  /** When the test changes objects; the state starts empty. */
  readonly steps?: readonly {
    readonly upsert?: readonly RawObject[];
    readonly delete?: readonly RawObject[];
    readonly flows?: readonly FlowCase[];
  }[];
  readonly expectLocalnetFirewallRule?: boolean;
}

export const packetFlowChecks = (data: unknown, senderClass: SenderClass): Check[] =>
  (data as readonly PacketFlowsCase[]).flatMap((given) => caseChecks(given, senderClass));

function caseChecks(given: PacketFlowsCase, senderClass: SenderClass): Check[] {
  const {
    id,
    config,
    services = [],
    endpointSlices = [],
    flows = [],
    steps,
    expectLocalnetFirewallRule,
  } = given;
  const options = optionsOf(config);
  const store = new ObjectStore();
  const checks: Check[] = [];
  const listed = steps ?? [{ upsert: [...services, ...endpointSlices], delete: [], flows }];
  for (const [index, step] of listed.entries()) {
    const objects = store
      .upsert(step.upsert ?? [])
      .delete(step.delete ?? [])
      .list();
    const plan = lazily(() => planOf(objects, options));
    const place = steps === undefined ? id : `${id}, step ${index + 1}`;
    for (const flow of step.flows ?? []) {
      checks.push({
        name: `${place}: ${flow.name}`,
        expected: expectedOf(flow.expect),
        actual: () => resultOf(plan(), options, flow, senderClass),
        remarks: store.remarks,
      });
    }
  }
  if (expectLocalnetFirewallRule !== undefined) {
    checks.push({
      name: `${id}: rule against martian packets to 127.0.0.0/8`,
      expected: expectLocalnetFirewallRule,
      actual: () => hasLocalnetRule(store.list(), options, config),
    });
  }
  return checks;
}

export interface FlowResult {
  readonly verdict: string;
  readonly endpoints?: readonly string[];
  readonly masquerade?: boolean;
}

function expectedOf({ verdict, endpoints, masquerade }: FlowCase['expect']): FlowResult {
  if (verdict === 'ACCEPT' || verdict === 'ACCEPT-NO-MATCH') return { verdict: 'PASS' };
  // Nothing is said about the masquerading of what does not pass.
  if (verdict !== 'DNAT') return { verdict };
  return { verdict, endpoints: [...(endpoints ?? [])].sort(), masquerade: masquerade ?? false };
}

/** The flow's endpoints are the union over many connections; it is masqueraded when any of them is. */
export function resultOf(
  plan: Plan,
  options: ProxyOptions,
  flow: Flow,
  senderClass: SenderClass,
): FlowResult {
  const verdicts = new Set<FlowVerdict['verdict']>();
  const endpoints = new Set<string>();
  let masquerade = false;
  const sender = new senderClass(plan, options, 0);
  const count = connectionCount(Math.max(0, ...plan.ports.map((port) => port.endpoints.all.length)));
  for (let index = 0; index < count; index++) {
    const result = sender.send(flow);
    verdicts.add(result.verdict);
    if (result.verdict !== 'DNAT') continue;
    endpoints.add(result.endpoint);
    masquerade ||= result.masquerade;
  }
  const verdict = [...verdicts].sort().join(' or ');
  return verdict === 'DNAT' ? { verdict, endpoints: [...endpoints].sort(), masquerade } : { verdict };
}

const MISS_PROBABILITY_MAX = 1e-9;

/**
 * One of n equally likely endpoints is missed by k connections with a chance of (1 - 1/n)^k < e^(-k/n), any of them with less
 * than n e^(-k/n); that is below p for k = n ln(n/p). Schedulers that take turns need fewer.
 * @param endpointCount at least as many as the flow may go to
 */
const connectionCount = (endpointCount: number): number =>
  endpointCount <= 1 ? 2 : Math.ceil(endpointCount * Math.log(endpointCount / MISS_PROBABILITY_MAX));

function hasLocalnetRule(
  objects: readonly KubeObject[],
  options: ProxyOptions,
  { ipFamily }: CaseConfig,
): boolean {
  const given = { ...DEFAULT_IPTABLES_EXPORT, family: ipFamily ?? 'IPv4' };
  return iptablesText(planOf(objects, options), options, given).includes(
    'block incoming localnet connections',
  );
}

function lazily<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** chain-names.json: what kube-proxy calls the chains of a Service port and of its endpoints. */
import {
  endpointChainName,
  type NftServiceChain,
  nftEndpointChainName,
  nftServiceChainName,
  type ServiceChain,
  serviceChainName,
} from '../control/export/chain-names.js';
import type { ServicePortName } from '../control/model/service-port-name.js';
import { servicePortNameText } from '../control/model/service-port-name.js';
import type { Protocol } from '../control/sources/kube-object.js';
import type { Check } from './check.js';

interface NameEntry {
  readonly namespace: string;
  readonly name: string;
  readonly portName: string;
  readonly protocol: Protocol;
  readonly servicePortName?: string;
}

interface IptablesEntry extends NameEntry {
  readonly chains?: Readonly<Partial<Record<ServiceChain, string>>>;
  readonly endpoints?: readonly { readonly endpoint: string; readonly SEP: string }[];
}

interface NftablesEntry extends NameEntry, Readonly<Partial<Record<NftServiceChain, string>>> {
  readonly endpoints?: readonly {
    readonly endpoint: string;
    readonly chain?: string;
    readonly affinity?: string;
  }[];
}

interface ChainNames {
  readonly iptables?: { readonly entries: readonly IptablesEntry[] };
  readonly nftables?: { readonly entries: readonly NftablesEntry[] };
}

export function chainNameChecks(data: unknown): Check[] {
  const { iptables, nftables } = data as ChainNames;
  return [
    ...(iptables?.entries ?? []).flatMap(iptablesChecks),
    ...(nftables?.entries ?? []).flatMap(nftablesChecks),
  ];
}

function iptablesChecks(entry: IptablesEntry): Check[] {
  const name = nameOf(entry);
  const place = `iptables ${servicePortNameText(name)}/${name.protocol}`;
  const text = entry.servicePortName;
  return [
    ...(text === undefined
      ? []
      : [{ name: `${place}: name`, expected: text, actual: () => servicePortNameText(name) }]),
    ...Object.entries(entry.chains ?? {}).map(([kind, expected]) => ({
      name: `${place}: ${kind}`,
      expected,
      actual: () => serviceChainName(kind as ServiceChain, name),
    })),
    ...(entry.endpoints ?? []).map(({ endpoint, SEP }) => ({
      name: `${place}: SEP of ${endpoint}`,
      expected: SEP,
      actual: () => endpointChainName(name, endpointOf(endpoint)),
    })),
  ];
}

const NFT_KINDS: readonly NftServiceChain[] = ['service', 'local', 'external', 'firewall'];

function nftablesChecks(entry: NftablesEntry): Check[] {
  const name = nameOf(entry);
  const place = `nftables ${servicePortNameText(name)}/${name.protocol}`;
  const services = NFT_KINDS.flatMap((kind) => {
    const expected = entry[kind];
    const actual = (): string => nftServiceChainName(kind, name);
    return expected === undefined ? [] : [{ name: `${place}: ${kind}`, expected, actual }];
  });
  const endpoints = (entry.endpoints ?? []).flatMap(({ endpoint, chain, affinity }) =>
    (
      [
        ['endpoint', chain],
        ['affinity', affinity],
      ] as const
    ).flatMap(([kind, expected]) => {
      const actual = (): string => nftEndpointChainName(kind, name, endpointOf(endpoint));
      return expected === undefined ? [] : [{ name: `${place}: ${kind} ${endpoint}`, expected, actual }];
    }),
  );
  return [...services, ...endpoints];
}

const nameOf = ({ namespace, name, portName, protocol }: NameEntry): ServicePortName => ({
  namespace,
  name,
  port: portName,
  protocol,
});

function endpointOf(text: string): { ip: string; port: number } {
  const at = text.lastIndexOf(':');
  return { ip: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) };
}

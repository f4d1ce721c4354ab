/** `flowpin export`: the compiled Services in the words of others, on stdout. Needs no privilege and changes nothing. */
import { hostname, networkInterfaces } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Plan, planOf } from '../control/compile/plan.js';
import { loadKubeProxyFile } from '../control/config/kube-proxy-file.js';
import type { KubeProxyConfiguration } from '../control/config/schema.js';
import { type NodeFacts, proxyOptionsOf, settingsOf } from '../control/config/settings.js';
import { DEFAULT_IPTABLES_EXPORT, iptablesText } from '../control/export/iptables.js';
import { DEFAULT_NFTABLES_EXPORT, nftablesText } from '../control/export/nftables.js';
import { planJson } from '../control/export/plan-json.js';
import type { ProxyOptions } from '../control/model/proxy-options.js';
import { loadFiles } from '../control/sources/file.js';
import { remarkText } from '../control/sources/origin.js';
import { type Family, parseIp } from '../wire/address.js';
import { filenameOption } from './manifests.js';
import { listOf, type ProxyFlags, withProxyFlags } from './proxy-flags.js';

interface ExportOptions extends ProxyFlags {
  readonly filename: string[];
  readonly nodeAddresses?: readonly string[];
}

interface IptablesOptions extends ExportOptions {
  readonly ipFamily?: Family;
  readonly randomFully?: true;
  readonly nfacct?: true;
}

export function exportCommand(): Command {
  const command = new Command('export')
    .description('print what the given Services compile to, in the form of another tool')
    .addCommand(
      withProxyOptions(new Command('iptables'))
        .description(
          "kube-proxy's rules for them, for `iptables-restore --noflush` or `ip6tables-restore --noflush`",
        )
        .addOption(
          new Option(
            '--ip-family <family>',
            'one family; default: IPv4 where there is an IPv4 Service',
          ).choices(['IPv4', 'IPv6']),
        )
        .option('--random-fully', 'let the kernel choose masquerading ports fully at random')
        .option(
          '--nfacct',
          "with kube-proxy's nfacct counters, which must be there when the text is restored",
        )
        .action(exportIptables)
        .addHelpText('after', EXAMPLES),
    )
    .addCommand(
      withProxyOptions(new Command('nftables'))
        .description("kube-proxy's tables for them, for `nft -f`: they replace the tables `kube-proxy`")
        .action(exportNftables)
        .addHelpText('after', '\nExample:\n  $ flowpin export nftables -f services.yaml | nft --check -f -'),
    )
    .addCommand(
      withProxyOptions(new Command('json'))
        .description('every Service port with its destinations, endpoints, policies and probabilities')
        .action(exportJson),
    );
  return command;
}

const EXAMPLES = `
The text fills kube-proxy's chains. The jumps into them from PREROUTING, OUTPUT, POSTROUTING, INPUT and FORWARD
are no part of it: kube-proxy adds those one by one.

Example:
  $ flowpin export iptables -f services.yaml --cluster-cidr 10.244.0.0/16 --hostname-override node-1`;

function exportIptables(options: IptablesOptions): void {
  const file = configOf(options);
  const { plan, proxyOptions, conntrackTCPLiberal } = load({ proxyMode: 'iptables', ...options }, file);
  const families = plan.ports.map(({ servicePort }) => servicePort.family);
  const family = options.ipFamily ?? (families.length > 0 && !families.includes('IPv4') ? 'IPv6' : 'IPv4');
  const text = iptablesText(plan, proxyOptions, {
    ...DEFAULT_IPTABLES_EXPORT,
    family,
    conntrackTCPLiberal,
    masqueradeBit: file?.iptables?.masqueradeBit ?? DEFAULT_IPTABLES_EXPORT.masqueradeBit,
    randomFully: options.randomFully === true,
    nfacct: options.nfacct === true,
  });
  process.stdout.write(text);
  const others = families.filter((other) => other !== family).length;
  if (others > 0 && options.ipFamily === undefined) {
    const other = family === 'IPv4' ? 'IPv6' : 'IPv4';
    console.error(
      `flowpin: ${others} Service ports of ${other} are not in this text: --ip-family ${other} exports them`,
    );
  }
}

/** A table for each family that Services have. */
function exportNftables(options: ExportOptions): void {
  const file = configOf(options);
  const { plan, proxyOptions } = load({ proxyMode: 'nftables', ...options }, file);
  const families = new Set(plan.ports.map(({ servicePort }) => servicePort.family));
  const { masqueradeBit } = DEFAULT_NFTABLES_EXPORT;
  const text = nftablesText(plan, proxyOptions, {
    families: DEFAULT_NFTABLES_EXPORT.families.filter((family) => families.has(family)),
    masqueradeBit: file?.nftables?.masqueradeBit ?? masqueradeBit,
  });
  process.stdout.write(text);
}

function exportJson(options: ExportOptions): void {
  const { plan, proxyOptions } = load(options, configOf(options));
  console.log(JSON.stringify(planJson(plan, proxyOptions), null, 2));
}

const configOf = ({ config }: ExportOptions): KubeProxyConfiguration | null =>
  config === undefined ? null : loadKubeProxyFile(config);

interface LoadedPlan {
  readonly plan: Plan;
  readonly proxyOptions: ProxyOptions;
  readonly conntrackTCPLiberal: boolean;
}

/** What is set aside is said on stderr, and the rest exported: as `up` would go on with it. */
function load(options: ExportOptions, file: KubeProxyConfiguration | null): LoadedPlan {
  // Elsewhere the mark has no meaning, and a warning would say so.
  const { masqueradeBit: _, ...iptables } = file?.iptables ?? {};
  const { masqueradeBit: __, ...nftables } = file?.nftables ?? {};
  const { settings, warnings } = settingsOf(options, file && { ...file, iptables, nftables });
  const proxyOptions = proxyOptionsOf(settings, nodeOf(options.nodeAddresses), []);
  const loaded = loadFiles(options.filename);
  const plan = planOf(loaded.objects, proxyOptions);
  const setAside = [...loaded.setAside, ...plan.setAside].map((remark) => `set aside: ${remarkText(remark)}`);
  for (const line of [...warnings, ...setAside]) console.error(`flowpin: ${line}`);
  return { plan, proxyOptions, conntrackTCPLiberal: settings.conntrack.tcpBeLiberal };
}

/** @param given another node's addresses, the primary one of each family first */
function nodeOf(given: readonly string[] | undefined): NodeFacts {
  const own = Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).filter(({ internal, scopeid }) => !internal && !scopeid).map(({ address }) => address),
  );
  const addresses = given ?? own;
  const first = (family: Family): string =>
    addresses.find((address) => parseIp(address)?.family === family) ?? '';
  return {
    hostname: hostname(),
    addresses,
    primary: { IPv4: first('IPv4'), IPv6: first('IPv6') },
    links: null,
  };
}

/** The flags of `up` that say how the proxy decides, and whose node it decides for. */
function withProxyOptions(command: Command): Command {
  return withProxyFlags(command.addOption(filenameOption())).option(
    '--node-addresses <ips>',
    'addresses of the node, the primary ones first (default: of this machine)',
    parseAddresses,
  );
}

const parseAddresses = (value: string): readonly string[] =>
  listOf(value).map((part) => {
    const ip = parseIp(part);
    if (ip === null) throw new InvalidArgumentError('must be IP addresses with commas between them');
    return ip.text;
  });

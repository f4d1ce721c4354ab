/** The flags that say how the proxy decides, named as kube-proxy names them; what they mean is decided in control/config. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { FLOW_CAPACITY, FLOW_CAPACITY_MAX } from '../config.js';
import { TIMEOUT_PROFILES } from '../conntrack/timeouts.js';
import { loadKubeProxyFile } from '../control/config/kube-proxy-file.js';
import {
  bindAddress,
  cidrs,
  IPVS_SCHEDULERS,
  MODES,
  nodePortAddress,
  timeoutMs,
} from '../control/config/schema.js';
import { type Flags, type Settings, settingsOf } from '../control/config/settings.js';
import { wholeNumber } from './whole-number.js';

export interface ProxyFlags extends Flags {
  readonly config?: string;
}

/** Adds them to a command. */
export function withProxyFlags(command: Command): Command {
  return command
    .option('--config <file>', 'a KubeProxyConfiguration, as kube-proxy reads it; the flags win')
    .addOption(
      new Option('--mode, --proxy-mode <mode>', 'how endpoints are chosen (default: iptables)').choices(
        MODES,
      ),
    )
    .addOption(new Option('--ipvs-scheduler <name>', 'for mode ipvs (default: rr)').choices(IPVS_SCHEDULERS))
    .option(
      '--cluster-cidr <cidrs>',
      "the pods' addresses, one CIDR of each family: their source is kept (default: none is known, every connection is masqueraded)",
      parsedBy(cidrs),
    )
    .option(
      '--service-cidr <cidrs>',
      'the ClusterIPs: mode nftables drops what goes to an unused one',
      parsedBy(cidrs),
    )
    .option('--masquerade-all', 'masquerade every connection to a ClusterIP')
    .option(
      '--answer-ping',
      "answer ICMP and ICMPv6 echo requests to ClusterIPs and to external addresses that are not this node's own (default: they get no answer, as with kube-proxy's iptables rules)",
    )
    .option('--hostname-override <node>', "this node's name, as endpoints have it (default: the machine's)")
    .option(
      '--node-labels <labels>',
      'labels of this node, such as topology.kubernetes.io/zone=a',
      parseLabels,
    )
    .option(
      '--nodeport-addresses <cidrs>',
      'where NodePorts answer: CIDRs, primary, localhost or all (default: all; nftables: primary)',
      (value: string) => listOf(value).map(parsedBy(nodePortAddress)),
    )
    .option(
      '--conntrack-tcp-be-liberal',
      "for `export`: kube-proxy's rule against INVALID packets is left out; flowpin itself looks at no window, and translates every packet of a flow",
    );
}

/** Adds how flows are kept, for what runs. */
export function withConntrackFlags(command: Command): Command {
  const timeout = (name: string, what: string): Option =>
    new Option(`--conntrack-${name} <duration>`, what).argParser(parsedBy(timeoutMs));
  return command
    .addOption(
      new Option(
        '--conntrack-timeouts <profile>',
        'how long flows are kept: linux, as nf_conntrack does, or rfc, as RFC 5382, 7857 and 4787 ask for; the four durations below win over it (default: linux)',
      ).choices(Object.keys(TIMEOUT_PROFILES)),
    )
    .addOption(
      timeout(
        'tcp-timeout-established',
        "idle TCP connections (default: 24h, rfc: 2h4m; 0: nf_conntrack's 120h)",
      ),
    )
    .addOption(
      timeout('tcp-timeout-close-wait', "half-closed ones (default: 1h, rfc: 4m; 0: nf_conntrack's 60s)"),
    )
    .addOption(timeout('udp-timeout', 'datagrams (default: 30s, rfc: 5m)'))
    .addOption(
      timeout('udp-timeout-stream', 'datagrams both ways for over two seconds (default: 120s, rfc: 5m)'),
    )
    .addOption(
      new Option(
        '--max-flows <number>',
        `flows of each family, up to ${FLOW_CAPACITY_MAX}, rounded up to a power of two (default: ${FLOW_CAPACITY})`,
      ).argParser(wholeNumber(1, FLOW_CAPACITY_MAX)),
    )
    .addOption(
      new Option(
        '--conntrack-max-per-core <number>',
        'flows for every core, where --max-flows is not given; 0: as if not given',
      ).argParser(wholeNumber(0, 2 ** 31 - 1)),
    )
    .addOption(
      new Option('--conntrack-min <number>', 'at least so many, whatever the number of cores').argParser(
        wholeNumber(0, 2 ** 31 - 1),
      ),
    );
}

/** `--healthz-bind-address`, for what runs. */
export const healthzOption = (): Option =>
  new Option(
    '--healthz-bind-address <address>',
    'where /healthz and /livez are answered (default: 0.0.0.0:10256; "": nowhere)',
  ).argParser(parsedBy(bindAddress));

/** @throws Failure when the configuration file is wrong */
export const settingsFrom = (flags: ProxyFlags): { settings: Settings; warnings: string[] } =>
  settingsOf(flags, flags.config === undefined ? null : loadKubeProxyFile(flags.config));

/** What zod schemas share, as far as it is needed here. */
interface Schema<Value> {
  safeParse(
    given: unknown,
  ):
    | { success: true; data: Value }
    | { success: false; error: { readonly issues: readonly { readonly message: string }[] } };
}

const parsedBy =
  <Value>(schema: Schema<Value>) =>
  (given: string): Value => {
    const parsed = schema.safeParse(given);
    if (!parsed.success) throw new InvalidArgumentError(`${parsed.error.issues[0]?.message}.`);
    return parsed.data;
  };

export const listOf = (value: string): string[] => value.split(',').map((part) => part.trim());

function parseLabels(value: string): Readonly<Record<string, string>> {
  const labels = listOf(value).map((part) => /^([^=]+)=([^=]*)$/.exec(part));
  if (labels.includes(null))
    throw new InvalidArgumentError('must be labels such as topology.kubernetes.io/zone=a.');
  return Object.fromEntries(labels.map((label) => [label?.[1] ?? '', label?.[2] ?? '']));
}

/** The flags that say how the proxy decides, named as kube-proxy names them; what they mean is decided in control/config. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { loadKubeProxyFile } from '../control/config/kube-proxy-file.js';
import { bindAddress, cidrs, IPVS_SCHEDULERS, MODES, nodePortAddress } from '../control/config/schema.js';
import { type Flags, type Settings, settingsOf } from '../control/config/settings.js';

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

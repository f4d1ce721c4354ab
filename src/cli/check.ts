/** `flowpin check`: what of the given manifests would be balanced, and what is wrong with the rest. Touches nothing. */
import { hostname } from 'node:os';
import { Command } from 'commander';
import { planOf } from '../control/compile/plan.js';
import { proxyOptionsOf } from '../control/config/settings.js';
import { addressesOf, type ServicePort } from '../control/model/service-port.js';
import { servicePortNameText } from '../control/model/service-port-name.js';
import { loadFiles } from '../control/sources/file.js';
import { remarkText } from '../control/sources/origin.js';
import { EXIT } from '../shared/failure.js';
import { filenameOption } from './manifests.js';
import { type ProxyFlags, settingsFrom, withProxyFlags } from './proxy-flags.js';

interface CheckOptions extends ProxyFlags {
  filename: string[];
  json?: true;
}

/** A Service port that would be balanced, in words. */
interface Accepted {
  readonly servicePort: string;
  readonly protocol: string;
  readonly family: string;
  /** "ADDRESS:PORT", every way to it but the NodePort. */
  readonly destinations: readonly string[];
  /** 0: none. */
  readonly nodePort: number;
  /** Those that may get new flows. */
  readonly endpoints: number;
}

export function checkCommand(): Command {
  return withProxyFlags(
    new Command('check')
      .description(
        'validate manifests: list what would be balanced and what is set aside; exit 1 if anything is',
      )
      .addOption(filenameOption()),
  )
    .option('--json', 'machine-readable output')
    .action(check)
    .addHelpText(
      'after',
      `
Examples:
  $ kubectl get services,endpointslices -A -o yaml | flowpin check -f /dev/stdin
  $ flowpin check -f services.yaml --config /var/lib/kube-proxy/config.conf`,
    );
}

function check(options: CheckOptions): void {
  const { settings, warnings } = settingsFrom(options);
  // Which addresses the node has decides about packets, not about what is accepted.
  const node = { hostname: hostname(), addresses: [], primary: { IPv4: '', IPv6: '' }, links: null };
  const { objects, otherKinds, setAside: unread } = loadFiles(options.filename);
  const plan = planOf(objects, proxyOptionsOf(settings, node, []));
  const setAside = [...unread, ...plan.setAside];
  const { ignored } = plan;
  const accepted = plan.ports.map(
    ({ servicePort, endpoints }): Accepted => ({
      servicePort: servicePortNameText(servicePort.name),
      protocol: servicePort.protocol,
      family: servicePort.family,
      destinations: destinationsOf(servicePort),
      nodePort: servicePort.nodePort,
      endpoints: endpoints.all.length,
    }),
  );
  if (options.json) {
    console.log(JSON.stringify({ accepted, setAside, ignored, otherKinds, warnings }, null, 2));
  } else {
    for (const port of accepted) console.log(`ok         ${acceptedText(port)}`);
    for (const warning of warnings) console.log(`note       ${warning}`);
    for (const remark of ignored) console.log(`ignored    ${remarkText(remark)}`);
    for (const { kind, count } of otherKinds) console.log(`ignored    ${count} ${kind}: not read by a proxy`);
    for (const remark of setAside) console.log(`set aside  ${remarkText(remark)}`);
    console.log(`${accepted.length} Service ports accepted, ${setAside.length} things set aside`);
  }
  if (setAside.length > 0) process.exitCode = EXIT.NO;
}

const destinationsOf = (servicePort: ServicePort): string[] =>
  addressesOf(servicePort).map((address) =>
    address.includes(':') ? `[${address}]:${servicePort.port}` : `${address}:${servicePort.port}`,
  );

function acceptedText({ servicePort, protocol, destinations, nodePort, endpoints }: Accepted): string {
  const places = [...destinations, ...(nodePort === 0 ? [] : [`NodePort ${nodePort}`])];
  const count = endpoints === 1 ? '1 endpoint' : `${endpoints} endpoints`;
  return `${servicePort} ${places.join(', ')}/${protocol} -> ${count}`;
}

/** `flowpin check`: what of the given manifests would be balanced, and what is wrong with the rest. Touches nothing. */
import { Command } from 'commander';
import { isBalanced } from '../control/compile/compile.js';
import { type Frontend, frontendsOf } from '../control/compile/frontends.js';
import { servicePortNameText } from '../control/model/service-port-name.js';
import { loadFiles } from '../control/sources/file.js';
import { remarkText } from '../control/sources/origin.js';
import { EXIT } from '../shared/failure.js';
import { filenameOption } from './manifests.js';

interface CheckOptions {
  filename: string[];
  json?: true;
}

export function checkCommand(): Command {
  return new Command('check')
    .description(
      'validate manifests: list what would be balanced and what is set aside; exit 1 if anything is',
    )
    .addOption(filenameOption())
    .option('--json', 'machine-readable output')
    .action(check)
    .addHelpText(
      'after',
      '\nExample:\n  $ kubectl get services,endpointslices -A -o yaml | flowpin check -f /dev/stdin',
    );
}

function check({ filename, json }: CheckOptions): void {
  const loaded = loadFiles(filename);
  const { frontends, setAside, ignored } = frontendsOf(loaded);
  const accepted = frontends.filter(isBalanced);
  const notBalanced = frontends.filter((frontend) => !isBalanced(frontend));
  const { otherKinds } = loaded;
  if (json) {
    console.log(JSON.stringify({ accepted, notBalanced, setAside, ignored, otherKinds }, null, 2));
  } else {
    for (const frontend of accepted) console.log(`ok         ${frontendText(frontend)}`);
    for (const frontend of notBalanced)
      console.log(`not yet    ${frontendText(frontend)}: only IPv4 TCP and UDP are balanced`);
    for (const remark of ignored) console.log(`ignored    ${remarkText(remark)}`);
    for (const { kind, count } of otherKinds) console.log(`ignored    ${count} ${kind}: not read by a proxy`);
    for (const remark of setAside) console.log(`set aside  ${remarkText(remark)}`);
    console.log(`${accepted.length} frontends accepted, ${setAside.length} things set aside`);
  }
  if (setAside.length > 0) process.exitCode = EXIT.NO;
}

function frontendText({ servicePort, address, family, port, protocol, endpoints }: Frontend): string {
  const destination = family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  const count = endpoints.length === 1 ? '1 endpoint' : `${endpoints.length} endpoints`;
  return `${servicePortNameText(servicePort)} ${destination}/${protocol} -> ${count}`;
}

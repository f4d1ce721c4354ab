/** dumps/index.json and dumps/*.txt: objects, and the text that kube-proxy hands to iptables-restore for them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Plan, planOf } from '../control/compile/plan.js';
import { serviceChainName } from '../control/export/chain-names.js';
import { DEFAULT_IPTABLES_EXPORT, iptablesText, type PartialSync } from '../control/export/iptables.js';
import type { KubeObject } from '../control/sources/kube-object.js';
import type { Check } from './check.js';
import { ObjectStore, type RawObject } from './objects.js';
import { type CaseConfig, optionsOf } from './options-of.js';

interface Dump {
  readonly file: string;
  /** Absent: as the version of kube-proxy has it. Texts of one without nfacct are named "2023-...". */
  readonly nfacct?: boolean;
  /** false: only what changed since the text before is written. */
  readonly fullSync?: boolean;
  readonly randomFully?: boolean;
  readonly conntrackTCPLiberal?: boolean;
  readonly config: CaseConfig;
  readonly services?: readonly RawObject[];
  readonly endpointSlices?: readonly RawObject[];
}

/**
 * @param directory where index.json is
 * @returns also which texts in it the index says nothing of
 */
export function dumpChecks(index: unknown, directory: string): { checks: Check[]; unknown: string[] } {
  const dumps = index as readonly Dump[];
  const listed = new Set(['index.json', ...dumps.map(({ file }) => file)]);
  return {
    checks: dumps.map((dump) => checkOf(dump, join(directory, dump.file))),
    unknown: readdirSync(directory)
      .filter((name) => !listed.has(name))
      .sort(),
  };
}

function checkOf(dump: Dump, path: string): Check {
  const name = dump.file;
  if (!existsSync(path)) {
    const missing = (): never => {
      throw new Error('the file is missing');
    };
    return { name, expected: 'a file with the text', actual: missing };
  }
  const expected = readFileSync(path, 'utf8');
  const store = new ObjectStore().upsert([...(dump.services ?? []), ...(dump.endpointSlices ?? [])]);
  return { name, expected, actual: () => textOf(dump, store.list(), expected), remarks: store.remarks };
}

function textOf(dump: Dump, objects: readonly KubeObject[], expected: string): string {
  const { config, nfacct, fullSync, randomFully, conntrackTCPLiberal } = dump;
  const options = optionsOf(config);
  const plan = planOf(objects, options);
  return iptablesText(plan, options, {
    ...DEFAULT_IPTABLES_EXPORT,
    family: config.ipFamily ?? 'IPv4',
    nfacct: nfacct ?? !dump.file.startsWith('2023-'),
    randomFully: randomFully ?? false,
    conntrackTCPLiberal: conntrackTCPLiberal ?? false,
    partial: partialOf(plan, fullSync ?? true, expected),
  });
}

/**
 * What changed since the text before is not among the data: a partial text is taken at its word about which Services it is about
 * and which chains are gone. That the exporter finds out both by itself is tested in test/export.
 */
function partialOf(plan: Plan, isFullSync: boolean, expected: string): PartialSync | null {
  const gone = [...expected.matchAll(/^-X (\S+)$/gm)].flatMap(([, chain]) => chain ?? []);
  if (isFullSync && gone.length === 0) return null;
  const isThere = (chain: string): boolean => expected.includes(`:${chain} `);
  const changed = plan.ports
    .map(({ servicePort }) => servicePort.name)
    .filter(
      (name) =>
        isFullSync ||
        (['SVC', 'SVL', 'EXT', 'FW'] as const).some((kind) => isThere(serviceChainName(kind, name))),
    )
    .map(({ namespace, name }) => `${namespace}/${name}`);
  return { changed: new Set(changed), gone };
}

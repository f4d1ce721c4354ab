/**
 * The text that `iptables-restore --noflush` reads, one table at a time.
 *
 * kube-proxy writes its rules Service port by Service port, in the random order of a Go map. The text here has the one
 * order that its own tests bring every text into (proxier_test.go, sortIPTablesRules): KUBE-NODEPORTS and KUBE-SERVICES first,
 * the other chains by name, in each chain the rules of a Service together and the Services by namespace/name. Order within a
 * Service, which decides what a packet meets, is that of kube-proxy; no two Services' rules match the same packet.
 */

export class RestoreTable {
  readonly #name: string;
  readonly #rules = new Map<string, Rule[]>();
  readonly #deleted = new Set<string>();

  constructor(name: string) {
    this.#name = name;
  }

  /** Makes the chain, or empties it. */
  declare(chain: string): void {
    if (!this.#rules.has(chain)) this.#rules.set(chain, []);
  }

  /**
   * @param comment null: none
   * @param rest matches and target, written after the comment
   */
  append(chain: string, comment: string | null, ...rest: readonly (string | readonly string[])[]): void {
    const rules = this.#rules.get(chain);
    if (rules === undefined) throw new Error(`a rule for ${chain}, which is not declared`);
    const shown = comment === null ? [] : ['-m', 'comment', '--comment', quoted(comment)];
    rules.push({ service: serviceOf(comment), text: ['-A', chain, ...shown, ...rest.flat()].join(' ') });
  }

  /** Deletes the chain after emptying it, which iptables asks for. */
  delete(chain: string): void {
    this.declare(chain);
    this.#deleted.add(chain);
  }

  /** The chains, without those that are deleted. */
  chains(): string[] {
    return [...this.#rules.keys()].filter((chain) => !this.#deleted.has(chain));
  }

  text(): string {
    const chains = [...this.#rules].sort(([a], [b]) => compare(rank(a), rank(b)) || compare(a, b));
    const lines = [
      `*${this.#name}`,
      ...chains.map(([chain]) => `:${chain} - [0:0]`),
      ...chains.flatMap(([, rules]) => byService(rules).map(({ text }) => text)),
      ...chains.filter(([chain]) => this.#deleted.has(chain)).map(([chain]) => `-X ${chain}`),
      'COMMIT',
    ];
    return `${lines.join('\n')}\n`;
  }
}

interface Rule {
  /** "namespace/name"; null: the rule is about no Service. */
  readonly service: string | null;
  readonly text: string;
}

/** Stable. Rules about no Service keep their place at the end: KUBE-SERVICES ends with the jump to KUBE-NODEPORTS. */
const byService = (rules: readonly Rule[]): Rule[] => [
  ...rules
    .filter(({ service }) => service !== null)
    .sort((a, b) => compare(a.service ?? '', b.service ?? '')),
  ...rules.filter(({ service }) => service === null),
];

const rank = (chain: string): number => (chain === 'KUBE-NODEPORTS' ? 0 : chain === 'KUBE-SERVICES' ? 1 : 2);

/** A comment about a Service starts with its name; names have no blank, and only the name of a Service has a slash. */
const serviceOf = (comment: string | null): string | null =>
  /^([^\s:/]+\/[^\s:/]+)/.exec(comment ?? '')?.[1] ?? null;

const quoted = (comment: string): string => (comment.includes(' ') ? `"${comment}"` : comment);

const compare = <Value extends string | number>(a: Value, b: Value): number => (a < b ? -1 : a > b ? 1 : 0);

// A host of the lab: a named network namespace (`ip netns`) and the programs that run in it.

import { type LabProcess, type Outcome, run, type StartOptions, start } from './process.js';

/** What a host is made of. `addresses` and `gateways` correspond one to one: each gateway gets a default route. */
export interface HostSpec {
  readonly name: string;
  /** Address with prefix length, as `ip addr add` takes it: 10.0.1.2/24. */
  readonly addresses: readonly string[];
  /** The router's address on the same link: 10.0.1.1. */
  readonly gateways: readonly string[];
}

export class Host {
  readonly name: string;
  private readonly started: LabProcess[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /**
   * Starts a program in this host's network. `nsenter` replaces itself with the program, so signals sent to the child
   * reach the program, and its exit code is the child's.
   */
  spawn(command: string, args: readonly string[], options: StartOptions = {}): LabProcess {
    const process = start('nsenter', this.inside(command, args), options);
    this.started.push(process);
    return process;
  }

  /** Runs a program in this host's network to its end; killed after `timeoutMs` (10 s when not given). */
  run(
    command: string,
    args: readonly string[],
    options: StartOptions & { readonly timeoutMs?: number } = {},
  ): Promise<Outcome> {
    return run('nsenter', this.inside(command, args), options);
  }

  /** Ends what {@link spawn} started and is still running, in reverse order: SIGTERM, then SIGKILL after 2 s. */
  async close(): Promise<void> {
    for (const process of this.started.splice(0).reverse()) await process.stop('SIGTERM', 2000);
  }

  private inside(command: string, args: readonly string[]): string[] {
    return [`--net=/run/netns/${this.name}`, '--', command, ...args];
  }
}

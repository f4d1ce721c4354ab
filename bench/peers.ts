// What a user would pick instead of flowpin, and the limits it is held against. Each is set up in a lab's proxy namespace
// for the Service of lab.ts, and then carries the same clients' traffic.

import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { flowpinArgs } from '../src/lab/flowpin-up.js';
import type { LabProcess } from '../src/lab/process.js';
import { run } from '../src/lab/process.js';
import { onPath } from '../src/lab/sandbox.js';
import { CLIENT, type Lab, ready, SERVER, SNAT, TCP_PORTS, VIP } from './lab.js';
import { program, script } from './reference.js';

export const PEERS = ['flowpin', 'c-loop', 'iptables', 'nftables', 'haproxy', 'node-pipe'] as const;
export type Peer = (typeof PEERS)[number];

/** A peer at work in its lab. */
export interface Running {
  readonly peer: Peer;
  readonly lab: Lab;
  /** The proxy, where it is a process. */
  readonly process: LabProcess | null;
}

/** Those that end TCP connections and carry nothing else. */
export const carriesUdp = (peer: Peer): boolean => peer !== 'haproxy' && peer !== 'node-pipe';

const TOOL_OF: { readonly [peer in Peer]?: string } = {
  iptables: 'iptables-restore',
  nftables: 'nft',
  haproxy: 'haproxy',
};

/** Why a peer cannot be measured on this machine, or null. */
export function peerUnavailable(peer: Peer): string | null {
  const tool = TOOL_OF[peer];
  return tool === undefined || onPath(tool)
    ? null
    : `${tool} is not installed: scripts/bench-setup installs it`;
}

/**
 * @param manifest path of the manifest with the Service
 * @param flags further arguments for `flowpin up`
 */
export async function startPeer(
  peer: Peer,
  lab: Lab,
  manifest: string,
  flags: readonly string[] = [],
): Promise<Running> {
  return { peer, lab, process: await START[peer](lab, manifest, flags) };
}

type Start = (lab: Lab, manifest: string, flags: readonly string[]) => Promise<LabProcess | null>;

/** The largest that is measured, 100,000 Services, has 100,000 routes. */
const READY_MS = 120_000;
/** Rules that take longer are not loaded in time for anybody. */
export const LOAD_MS = 60_000;

const START: { readonly [peer in Peer]: Start } = {
  flowpin: (lab, manifest, flags) => {
    const stateDir = `/run/flowpin-bench/${lab.name}`;
    const args = flowpinArgs(
      ...['up', '-f', manifest, '--state-dir', stateDir, '--healthz-bind-address', '', ...flags],
    );
    return ready(lab.proxy.spawn(process.execPath, args), /^ready/, READY_MS);
  },

  'c-loop': async (lab) => {
    const device = [
      'tuntap add dev tun0 mode tun vnet_hdr',
      'link set tun0 up',
      `route add ${VIP}/32 dev tun0`,
      `route add ${SNAT}/32 dev tun0`,
    ];
    await must(lab, 'ip', ['-batch', '-'], device.join('\n'));
    return ready(lab.proxy.spawn(program('c-loop'), ['tun0', CLIENT, VIP, SNAT, SERVER]));
  },

  iptables: async (lab, manifest) => {
    const rules = await exported('iptables', lab, manifest);
    await appendFile(rules, JUMPS);
    await must(lab, 'iptables-restore', ['--noflush', rules]);
    return null;
  },

  nftables: async (lab, manifest) => {
    await must(lab, 'nft', ['-f', await exported('nftables', lab, manifest)]);
    return null;
  },

  haproxy: async (lab) => {
    await must(lab, 'ip', ['address', 'add', `${VIP}/32`, 'dev', 'lo']);
    const file = join('/run', `${lab.name}.haproxy.cfg`);
    await writeFile(file, HAPROXY);
    const proxy = lab.proxy.spawn('haproxy', ['-db', '-f', file]);
    await listening(lab, proxy);
    return proxy;
  },

  'node-pipe': async (lab) => {
    await must(lab, 'ip', ['address', 'add', `${VIP}/32`, 'dev', 'lo']);
    const args = [script('reference/node-pipe'), VIP, SERVER, ...TCP_PORTS.map(String)];
    return ready(lab.proxy.spawn(process.execPath, args));
  },
};

/**
 * kube-proxy's rules for the manifest, masqueraded as flowpin does without --cluster-cidr.
 * @returns path of the file they are in
 */
async function exported(form: 'iptables' | 'nftables', lab: Lab, manifest: string): Promise<string> {
  const file = join('/run', `${lab.name}.${form}`);
  const node = ['--node-addresses', '10.0.1.1,10.244.0.1'];
  const args = flowpinArgs('export', form, '-f', manifest, '--masquerade-all', ...node);
  const redirected = ['-c', '"$@" > "$0"', file, process.execPath, ...args];
  const { code, stderr } = await run('sh', redirected, { timeoutMs: LOAD_MS });
  if (code !== 0) throw new Error(`flowpin export ${form} failed: ${stderr.trim()}`);
  return file;
}

/** What kube-proxy adds one by one beside its text (pkg/proxy/iptables/proxier.go, iptablesJumpChains). */
const JUMPS = `*filter
-A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
-A FORWARD -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
COMMIT
*nat
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
COMMIT
`;

const HAPROXY = `global
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${TCP_PORTS.map((port) => `listen p${port}\n  bind ${VIP}:${port} backlog 4096\n  server s1 ${SERVER}:${port}\n`).join('')}`;

/** HAProxy says nothing when it listens. */
async function listening(lab: Lab, proxy: LabProcess): Promise<void> {
  for (let tries = 0; tries < 100 && proxy.running; tries++) {
    const { stdout } = await lab.proxy.run('ss', ['-Hltn']);
    if (TCP_PORTS.every((port) => stdout.includes(`${VIP}:${port}`))) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`haproxy does not listen${proxy.lastWords()}`);
}

/** Runs a command in the proxy's namespace; rejects with what it said. */
async function must(lab: Lab, command: string, args: readonly string[], input?: string): Promise<void> {
  const options = { timeoutMs: LOAD_MS, ...(input === undefined ? {} : { input }) };
  const { code, stderr } = await lab.proxy.run(command, args, options);
  if (code === 137) throw new Error(`${command} took more than ${LOAD_MS / 1000} s`);
  if (code !== 0) throw new Error(`${command} failed: ${stderr.trim().split('\n').slice(-3).join(' ')}`);
}

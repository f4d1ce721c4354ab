/** Flags, file and defaults -> settings -> what decides about packets. */
import t from 'tap';
import { flowCapacityOf, flowTimeoutsOf } from '../../src/config.js';
import { TCP_STATE } from '../../src/conntrack/tcp-state.js';
import { TIMEOUT } from '../../src/conntrack/timeouts.js';
import { readKubeProxyConfiguration } from '../../src/control/config/kube-proxy-file.js';
import { type Flags, type NodeFacts, proxyOptionsOf, settingsOf } from '../../src/control/config/settings.js';

const HEAD = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

const NODE: NodeFacts = {
  hostname: 'Node-1',
  addresses: ['192.168.0.2', '10.244.0.1', '2001:db8::2'],
  primary: { IPv4: '192.168.0.2', IPv6: '2001:db8::2' },
  links: null,
};

function resolve(text: string, flags: Flags = {}, own: readonly string[] = []) {
  const { settings, warnings } = settingsOf(
    flags,
    text === '' ? null : readKubeProxyConfiguration('config.conf', HEAD + text),
  );
  return { settings, warnings, options: proxyOptionsOf(settings, NODE, own) };
}

t.test('without anything: as kube-proxy by default, and everything masqueraded', async (t) => {
  const { options, warnings } = resolve('');
  t.strictSame(warnings, []);
  t.match(options, {
    mode: 'iptables',
    nodeName: 'node-1',
    nodeIP: '192.168.0.2',
    nodeIPs: NODE.addresses,
    nodePortAddresses: null,
    localhostNodePorts: true,
    links: null,
    rejectUnserved: true,
  });
});

t.test('flags win over the file', async (t) => {
  const text =
    'mode: ipvs\nclusterCIDR: 10.1.0.0/16\nhostnameOverride: a\nnodePortAddresses: [10.0.0.0/8]\nipvs: {scheduler: lc}\nhealthzBindAddress: 127.0.0.1:1\n';
  const flags: Flags = {
    proxyMode: 'nftables',
    clusterCidr: ['10.2.0.0/16'],
    hostnameOverride: 'B',
    nodeportAddresses: ['all'],
    ipvsScheduler: 'sh',
    masqueradeAll: true,
    answerPing: true,
    healthzBindAddress: null,
    nodeLabels: { zone: 'a' },
    serviceCidr: ['10.96.0.0/12'],
  };
  t.match(resolve(text).options, {
    mode: 'ipvs',
    clusterCIDRs: ['10.1.0.0/16'],
    nodeName: 'a',
    ipvsScheduler: 'lc',
    links: null,
    answerPing: false,
  });
  const { options, settings } = resolve(text, flags);
  t.match(options, {
    mode: 'nftables',
    clusterCIDRs: ['10.2.0.0/16'],
    nodeName: 'b',
    nodePortAddresses: null,
    ipvsScheduler: 'sh',
    masqueradeAll: true,
    answerPing: true,
    nodeLabels: { zone: 'a' },
    serviceCIDRs: ['10.96.0.0/12'],
  });
  t.equal(settings.healthzBindAddress, null);
});

t.test('masqueradeAll and the periods are those of the mode', async (t) => {
  const text =
    'iptables: {masqueradeAll: true, minSyncPeriod: 1s, syncPeriod: 2s}\nnftables: {masqueradeAll: false, minSyncPeriod: 3s, syncPeriod: 4s}\nipvs: {minSyncPeriod: 5s, syncPeriod: 6s}\n';
  t.match(resolve(`mode: iptables\n${text}`).settings, {
    masqueradeAll: true,
    minSyncPeriodMs: 1000,
    syncPeriodMs: 2000,
  });
  t.match(resolve(`mode: nftables\n${text}`).settings, {
    masqueradeAll: false,
    minSyncPeriodMs: 3000,
    syncPeriodMs: 4000,
  });
  t.match(resolve(`mode: ipvs\n${text}`).settings, {
    masqueradeAll: true,
    minSyncPeriodMs: 5000,
    syncPeriodMs: 6000,
  });
  t.match(resolve(`mode: userspace\n${text}`).settings, { masqueradeAll: true, minSyncPeriodMs: 1000 });
});

t.test('fields without meaning are in one warning; those of other modes are not', async (t) => {
  const text =
    'metricsBindAddress: 127.0.0.1:10249\noomScoreAdj: -999\nfeatureGates: {Other: true, PreferSameTrafficDistribution: false}\nipvs: {strictARP: true}\niptables: {masqueradeBit: 14}\n';
  t.strictSame(resolve(text).warnings, [
    'set in the configuration and without meaning here: featureGates.Other, metricsBindAddress, iptables.masqueradeBit, oomScoreAdj',
  ]);
  t.strictSame(resolve(text).options.featureGates, { Other: true, PreferSameTrafficDistribution: false });
  t.match(resolve(`mode: ipvs\n${text}`).warnings, [/ipvs.strictARP/]);
  t.strictSame(resolve('conntrack: {udpTimeout: 5s, tcpBeLiberal: true}\n').warnings, []);
});

for (const [how, why] of [
  ['NodeCIDR', 'needs the podCIDR of the Node object'],
  ['BridgeInterface', 'goes by the device that a packet came from'],
  ['InterfaceNamePrefix', 'goes by the device that a packet came from'],
] as const) {
  t.test(`detectLocalMode ${how}: what is done instead is said`, async (t) => {
    const { options, warnings } = resolve(`detectLocalMode: ${how}\nclusterCIDR: 10.244.0.0/16\n`);
    t.strictSame(options.clusterCIDRs, [], 'as in kube-proxy, which does not use clusterCIDR then');
    t.match(warnings, [
      new RegExp(`detectLocalMode ${how} ${why}.*every connection is masqueraded; --cluster-cidr`),
    ]);
    const flagged = resolve(`detectLocalMode: ${how}\n`, { clusterCidr: ['10.244.0.0/16'] });
    t.strictSame(flagged.warnings, []);
    t.strictSame(flagged.options.clusterCIDRs, ['10.244.0.0/16']);
  });
}

t.test('dual-stack clusterCIDR', async (t) => {
  t.strictSame(resolve('clusterCIDR: 10.244.0.0/16,fd00:244::/48\n').options.clusterCIDRs, [
    '10.244.0.0/16',
    'fd00:244::/48',
  ]);
});

const NODE_PORTS: readonly (readonly [
  words: string,
  mode: string,
  cidrs: readonly string[] | null,
  localhost: boolean,
])[] = [
  ['[]', 'iptables', null, true],
  ['[]', 'userspace', null, true],
  ['[]', 'ipvs', null, false],
  ['[]', 'nftables', ['192.168.0.2/32', '2001:db8::2/128'], false],
  ['[all]', 'nftables', null, false],
  ['[primary]', 'iptables', ['192.168.0.2/32', '2001:db8::2/128'], false],
  ['[primary, localhost]', 'iptables', ['192.168.0.2/32', '2001:db8::2/128', '127.0.0.0/8', '::1/128'], true],
  ['[10.244.0.0/16]', 'iptables', ['10.244.0.0/16', '::/0'], false],
  ['["2001:db8::/64"]', 'iptables', ['2001:db8::/64', '0.0.0.0/0'], true],
  ['[127.0.0.1/32, "::/0"]', 'iptables', ['127.0.0.1/32', '::/0'], true],
];
for (const [words, mode, cidrs, localhost] of NODE_PORTS) {
  t.test(`nodePortAddresses ${words} in mode ${mode}`, async (t) => {
    const { options } = resolve(`mode: ${mode}\nnodePortAddresses: ${words}\n`);
    t.strictSame(options.nodePortAddresses, cidrs);
    t.equal(options.localhostNodePorts, localhost, 'on 127.0.0.1');
  });
}

t.test('localhostNodePorts: false is heard', async (t) => {
  t.equal(resolve('iptables: {localhostNodePorts: false}\n').options.localhostNodePorts, false);
});

t.test('bindAddress is the primary address, and tells the family of the health server', async (t) => {
  t.equal(resolve('bindAddress: 10.244.0.1\n').options.nodeIP, '10.244.0.1');
  t.equal(resolve('bindAddress: 0.0.0.0\n').options.nodeIP, '192.168.0.2');
  t.strictSame(resolve('bindAddress: "::"\n').settings.healthzBindAddress, { host: '::', port: 10256 });
});

t.test("the device's own addresses are LOCAL too", async (t) => {
  t.strictSame(resolve('', {}, ['198.18.0.1']).options.nodeIPs, [...NODE.addresses, '198.18.0.1']);
});

t.test('conntrack limits give the size of the flow tables', async (t) => {
  const capacity = (text: string): number => flowCapacityOf(resolve(text).settings.conntrack, 1);
  t.equal(capacity(''), 1 << 18);
  t.equal(capacity('conntrack: {maxPerCore: 0, min: 1000000}\n'), 1 << 18, '0: left as it is');
  t.equal(capacity('conntrack: {maxPerCore: 1, min: 1000000}\n'), 1 << 20);
  t.equal(capacity('conntrack: {min: 1}\n'), 1 << 12, 'not smaller than is of use');

  const flagged = (flags: Flags, workers = 1): number =>
    flowCapacityOf(resolve('conntrack: {min: 1000000}\n', flags).settings.conntrack, workers);
  t.equal(flagged({ maxFlows: 4_000_000 }), 1 << 22, '--max-flows wins over both');
  t.equal(flagged({ maxFlows: 4_000_000, conntrackMin: 1, conntrackMaxPerCore: 1 }, 4), 1 << 20, 'a worker');
  t.equal(flagged({ conntrackMin: 20_000 }), 1 << 15, '--conntrack-min wins over the file');
  t.equal(flagged({ conntrackMaxPerCore: 0 }), 1 << 18, '0: left as it is');
});

t.test('timeouts: an option wins over the file, the file over the profile', async (t) => {
  const secondsOf = (text: string, flags: Flags = {}): number[] => {
    const words = flowTimeoutsOf(resolve(text, flags).settings.conntrack);
    const { ESTABLISHED, CLOSE_WAIT, CLOSE } = TCP_STATE;
    return [
      words[ESTABLISHED],
      words[CLOSE_WAIT],
      words[CLOSE],
      words[TIMEOUT.UDP],
      words[TIMEOUT.UDP_STREAM],
    ];
  };
  t.strictSame(secondsOf(''), [86_400, 3600, 10, 30, 120], 'as on a node that kube-proxy has set up');
  t.strictSame(secondsOf('', { conntrackTimeouts: 'rfc' }), [7440, 240, 240, 300, 300]);
  const text =
    'conntrack: {tcpEstablishedTimeout: 1h, tcpCloseWaitTimeout: 0s, udpTimeout: 5s, udpStreamTimeout: 1500ms}\n';
  t.strictSame(secondsOf(text), [3600, 60, 10, 5, 2], "0: nf_conntrack's own");
  t.strictSame(secondsOf(text, { conntrackTimeouts: 'rfc' }), [3600, 240, 240, 5, 2]);
  const flags: Flags = {
    conntrackTcpTimeoutEstablished: 0,
    conntrackTcpTimeoutCloseWait: 7000,
    conntrackUdpTimeout: 8000,
    conntrackUdpTimeoutStream: 9000,
  };
  t.strictSame(secondsOf(text, flags), [432_000, 7, 10, 8, 9]);
  t.strictSame(secondsOf(text, { conntrackUdpTimeout: 1e15 }).at(3), 315_360_000, 'fits a word');
});

t.test("the host's links are known to what decides, where they are known", async (t) => {
  const { settings } = resolve('');
  t.equal(proxyOptionsOf(settings, NODE, []).links, null);
  t.strictSame(proxyOptionsOf(settings, { ...NODE, links: ['10.244.0.0/24'] }, []).links, ['10.244.0.0/24']);
});

/** KubeProxyConfiguration files: read as they are, with every mistake's line. */
import t from 'tap';
import { parseDurationMs } from '../../src/control/config/duration.js';
import { readKubeProxyConfiguration } from '../../src/control/config/kube-proxy-file.js';
import { parseBindAddress } from '../../src/control/config/schema.js';
import { settingsOf } from '../../src/control/config/settings.js';
import { nearest } from '../../src/control/config/suggestion.js';
import { Failure } from '../../src/shared/failure.js';

const HEAD = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';
const read = (text: string) => readKubeProxyConfiguration('config.conf', text);

/** What kubeadm writes: every field, most of them with their zero values. */
const KUBEADM = `
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
`;

t.test("kubeadm's file, of which only the kubeconfig has no meaning here", async (t) => {
  const { settings, warnings } = settingsOf({}, read(KUBEADM));
  t.strictSame(warnings, ['set in the configuration and without meaning here: clientConnection']);
  t.match(settings, {
    mode: 'iptables',
    ipvsScheduler: 'rr',
    clusterCIDRs: ['10.244.0.0/16'],
    masqueradeAll: false,
    nodePortAddresses: null,
    localhostNodePorts: true,
    bindAddress: '',
    healthzBindAddress: { host: '0.0.0.0', port: 10256 },
    syncPeriodMs: 30_000,
    minSyncPeriodMs: 0,
  });
});

t.test('it may stand between other documents, as kubeadm keeps it', async (t) => {
  const text = `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n---\n${HEAD}mode: ipvs\n`;
  t.equal(read(text).mode, 'ipvs');
  t.throws(() => read(`${HEAD}---\n${HEAD}`), /must hold one KubeProxyConfiguration .*, not 2/);
  t.throws(() => read('kind: A\n---\nkind: B\n'), /must hold one KubeProxyConfiguration .*, not 0/);
});

const MISTAKES: readonly (readonly [name: string, text: string, message: RegExp])[] = [
  [
    'a misspelt field',
    'iptables:\n  masqueradAll: true\n',
    /^config.conf:4: iptables.masqueradAll: is no field; did you mean iptables.masqueradeAll\?$/,
  ],
  [
    'a field with other capitals',
    'hostnameoverride: a\n',
    /config.conf:3: hostnameoverride: is no field; did you mean hostnameOverride\?/,
  ],
  [
    'a field in the wrong place',
    'masqueradeAll: true\n',
    /did you mean iptables.masqueradeAll or nftables.masqueradeAll\?/,
  ],
  ['a field like none', 'colour: red\n', /colour: is no field$/],
  [
    'a mode that is none',
    'mode: kernelspace\n',
    /mode: must be iptables, nftables, userspace or ipvs, not "kernelspace"/,
  ],
  ['a scheduler that is none', 'ipvs: {scheduler: dh}\n', /ipvs.scheduler: must be rr, .* or nq, not "dh"/],
  [
    'a number for a duration',
    'iptables:\n  syncPeriod: 30\n',
    /config.conf:4: iptables.syncPeriod: must be a duration such as "30s" or "1h0m0s", not 30/,
  ],
  ['a negative duration', 'iptables: {syncPeriod: -1s}\n', /must not be negative, not "-1s"/],
  ['an address for a CIDR', 'clusterCIDR: 10.244.0.0\n', /clusterCIDR: must be a CIDR such as/],
  ['a name for an address', 'bindAddress: node-1\n', /bindAddress: must be an IP address/],
  [
    'a port without colon',
    'healthzBindAddress: "10256"\n',
    /healthzBindAddress: must be an address and port such as "0.0.0.0:10256"/,
  ],
  [
    'a port out of range',
    'healthzBindAddress: 0.0.0.0:70000\n',
    /healthzBindAddress: must be an address and port/,
  ],
  [
    'text for yes or no',
    'bindAddressHardFail: "yes"\n',
    /bindAddressHardFail: must be true or false, not "yes"/,
  ],
  ['a list for a mapping', 'iptables: []\n', /iptables: must be a mapping of fields, not a list/],
  [
    'a word that is no CIDR',
    'nodePortAddresses:\n- primary\n- secondary\n',
    /config.conf:5: nodePortAddresses\[1\]: must be a CIDR, or "primary", "localhost" or "all", not "secondary"/,
  ],
  [
    'a bit out of range',
    'iptables: {masqueradeBit: 32}\n',
    /masqueradeBit: must be a whole number from 0 to 31, not 32/,
  ],
  ['a syntax error', 'mode: [\n', /config.conf:\d: not YAML/],
];

for (const [name, text, message] of MISTAKES) {
  t.test(`${name} is an error with its line`, async (t) => {
    t.throws(() => read(HEAD + text), message);
    t.throws(() => read(HEAD + text), Failure);
  });
}

t.test('every mistake is named, not the first one only', async (t) => {
  t.throws(() => read(`${HEAD}mode: x\ncolour: red\nsize: 3\n`), /mode: .*\n.*colour: .*\n.*size: /);
});

t.test('another version is an error', async (t) => {
  t.throws(
    () => read(HEAD.replace('v1alpha1', 'v1beta1')),
    /apiVersion: must be kubeproxy.config.k8s.io\/v1alpha1, not/,
  );
});

t.test('durations as Go reads them', async (t) => {
  const table: Record<string, number | null> = {
    '0': 0,
    '0s': 0,
    '30s': 30_000,
    '1h0m0s': 3_600_000,
    '1.5h': 5_400_000,
    '.5s': 500,
    '2h22m': 8_520_000,
    '250ms': 250,
    '1us': 0.001,
    '1µs': 0.001,
    '-1s': -1000,
    '': null,
    '30': null,
    s: null,
    '1d': null,
    '1 s': null,
    '1s ': null,
  };
  for (const [text, ms] of Object.entries(table)) t.equal(parseDurationMs(text), ms, JSON.stringify(text));
});

t.test('addresses to listen on', async (t) => {
  t.strictSame(parseBindAddress('127.0.0.1:80'), { host: '127.0.0.1', port: 80 });
  t.strictSame(parseBindAddress('[::1]:80'), { host: '::1', port: 80 });
  t.strictSame(parseBindAddress(':80'), { host: '0.0.0.0', port: 80 });
  t.strictSame(parseBindAddress('10.0.0.1'), { host: '10.0.0.1', port: 10256 });
  t.equal(parseBindAddress(''), null);
  for (const wrong of ['a:1', '1.2.3.4:', '[::1]', '[1.2.3.4', '1.2.3.4:99999'])
    t.equal(parseBindAddress(wrong), undefined, wrong);
});

t.test('suggestions are near, or none', async (t) => {
  t.equal(nearest('hostnameOveride', ['hostnameOverride', 'mode']), 'hostnameOverride');
  t.equal(nearest('mod', ['hostnameOverride', 'mode']), 'mode');
  t.equal(nearest('xyz', ['hostnameOverride', 'mode']), null);
});

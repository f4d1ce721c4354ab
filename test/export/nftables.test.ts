/** kube-proxy's nftables table. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import t from 'tap';
import { nftEndpointChainName, nftServiceChainName } from '../../src/control/export/chain-names.js';
import { DEFAULT_NFTABLES_EXPORT, nftablesText } from '../../src/control/export/nftables.js';
import type { ProxyOptions } from '../../src/control/model/proxy-options.js';
import { holds } from '../support/property.js';
import { anyService, OPTIONS, objectsFor, planFor, service, slice } from './support.js';

const NFT_OPTIONS: ProxyOptions = {
  ...OPTIONS,
  mode: 'nftables',
  nodePortAddresses: ['198.51.100.7/32', '2001:db8:7::7/128'],
  serviceCIDRs: ['10.96.0.0/16'],
};

const textFor = (objects: readonly object[], options: Partial<ProxyOptions> = {}): string => {
  const all = { ...NFT_OPTIONS, ...options };
  return nftablesText(planFor(objects, all), all, DEFAULT_NFTABLES_EXPORT);
};

const NAME = { namespace: 'shop', name: 'web', port: 'http', protocol: 'TCP' } as const;
const PORTS = [{ name: 'http', port: 80, nodePort: 30080 }];
const SERVICE = nftServiceChainName('service', NAME);
const LOCAL = nftServiceChainName('local', NAME);
const EXTERNAL = nftServiceChainName('external', NAME);
const FIREWALL = nftServiceChainName('firewall', NAME);
const HERE = { ip: '10.32.0.1', port: 80 };
const ENDPOINT = nftEndpointChainName('endpoint', NAME, HERE);
const AFFINITY = nftEndpointChainName('affinity', NAME, HERE);

const loadBalancer = (spec: object): object =>
  service('web', { type: 'LoadBalancer', clusterIP: '10.96.0.10', ports: PORTS, ...spec }, ['192.0.2.80']);
const ENDPOINTS = slice('web', [{ name: 'http', port: 80 }], ['10.32.0.1@here', '10.32.1.1']);

/** The rules of a chain, or the elements of a set or map, in the IPv4 table. */
const about = (text: string, name: string): string[] =>
  text
    .split('\n')
    .map((line) => /^add (?:rule|element) ip kube-proxy (.*)$/.exec(line)?.[1] ?? '')
    .filter((line) => line.startsWith(`${name} `))
    .map((line) => line.slice(name.length + 1));

/** In a network namespace of its own: nothing of the host's rules is read or changed. */
const nft = (args: readonly string[], input: string) =>
  spawnSync('unshare', ['--net', ...args], { input, encoding: 'utf8' });

const { status, error, stderr } = nft(['nft', '--check', '-f', '-'], 'add table ip flowpin-test\n');
const skip =
  status === 0 ? false : `nft does not work here: ${(error?.message ?? stderr).trim().split('\n')[0]}`;

t.test('one of everything', async (t) => {
  const spec = {
    externalTrafficPolicy: 'Local',
    loadBalancerSourceRanges: ['203.0.113.0/25'],
    sessionAffinity: 'ClientIP',
  };
  const text = textFor([loadBalancer(spec), ENDPOINTS]);
  t.same(about(text, 'service-ips'), [
    `{ 10.96.0.10 . tcp . 80 : goto ${SERVICE} }`,
    `{ 192.0.2.80 . tcp . 80 : goto ${EXTERNAL} }`,
  ]);
  t.same(about(text, 'service-nodeports'), [`{ tcp . 30080 : goto ${EXTERNAL} }`]);
  t.same(about(text, 'nodeport-ips'), ['{ 198.51.100.7 }']);
  t.same(about(text, EXTERNAL), [
    `ip saddr 10.32.0.0/12 goto ${SERVICE} comment "short-circuit pod traffic"`,
    'fib saddr type local jump mark-for-masquerade comment "masquerade local traffic"',
    `fib saddr type local goto ${SERVICE} comment "short-circuit local traffic"`,
    `goto ${LOCAL}`,
  ]);
  t.same(about(text, FIREWALL), ['ip saddr != { 203.0.113.0/25 } drop']);
  t.same(about(text, LOCAL), [
    `ip saddr @${AFFINITY} goto ${ENDPOINT}`,
    `numgen random mod 1 vmap { 0 : goto ${ENDPOINT} }`,
  ]);
  t.equal(
    about(text, SERVICE)[0],
    'ip daddr 10.96.0.10 tcp dport 80 ip saddr != 10.32.0.0/12 jump mark-for-masquerade',
  );
  t.same(about(text, ENDPOINT), [
    'ip saddr 10.32.0.1 jump mark-for-masquerade',
    `update @${AFFINITY} { ip saddr }`,
    'meta l4proto tcp dnat to 10.32.0.1:80',
  ]);
  t.match(
    text,
    `add set ip kube-proxy ${AFFINITY} { type ipv4_addr ; flags dynamic,timeout ; timeout 10800s ; }`,
  );
});

t.test('refusals', async (t) => {
  const none = textFor([loadBalancer({})]);
  t.same(about(none, 'no-endpoint-services'), [
    '{ 10.96.0.10 . tcp . 80 comment "shop/web:http" : goto reject-chain }',
    '{ 192.0.2.80 . tcp . 80 comment "shop/web:http" : goto reject-chain }',
  ]);
  const elsewhere = textFor([
    loadBalancer({ externalTrafficPolicy: 'Local' }),
    slice('web', [{ name: 'http', port: 80 }], ['10.32.1.1']),
  ]);
  t.same(about(elsewhere, 'no-endpoint-nodeports'), ['{ tcp . 30080 comment "shop/web:http" : drop }']);
  t.match(about(none, 'cluster-ips-check'), [
    /@cluster-ips reject /,
    /ip daddr \{ 10\.96\.0\.0\/16 \} drop /,
  ]);
});

t.test('who is masqueraded on the way to a ClusterIP', async (t) => {
  const rule = (options: Partial<ProxyOptions>): string | undefined =>
    about(textFor([loadBalancer({}), ENDPOINTS], options), SERVICE)[0];
  t.equal(rule({ masqueradeAll: true }), 'ip daddr 10.96.0.10 tcp dport 80 jump mark-for-masquerade');
  t.match(rule({ clusterCIDRs: [] }), /^numgen/);
});

t.test('source ranges that overlap', { skip }, async (t) => {
  const ranges = ['198.51.100.0/24', '198.51.100.0/25', '192.0.2.0/24'];
  const text = textFor([loadBalancer({ loadBalancerSourceRanges: ranges }), ENDPOINTS]);
  t.same(about(text, FIREWALL), [`ip saddr != { ${[...ranges, '192.0.2.80'].join(', ')} } drop`]);
  const { status, stderr } = nft(['nft', '--check', '-f', '-'], text);
  t.equal(status, 0, stderr);
});

t.test('NodePorts on every address', async (t) => {
  const text = textFor([loadBalancer({}), ENDPOINTS], { nodePortAddresses: null });
  t.ok(
    about(text, 'services').includes(
      'fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports',
    ),
  );
  t.notMatch(text, /ip kube-proxy nodeport-ips/);
});

t.test('nft takes the text, and again when it is there already', { skip }, async (t) => {
  const ipv6 = [
    service('six', { type: 'NodePort', clusterIP: 'fd00:96::10', ports: PORTS, sessionAffinity: 'ClientIP' }),
    slice('six', [{ name: 'http', port: 80 }], ['fd00:32::1@here', 'fd00:32::2']),
  ];
  holds(
    fc.property(
      fc.array(anyService, { maxLength: 4 }),
      fc.constantFrom(null, NFT_OPTIONS.nodePortAddresses),
      (services, nodePortAddresses) => {
        const text = textFor([...objectsFor(services), ...ipv6], { nodePortAddresses });
        const { status, stderr } = nft(['nft', '-f', '-'], text + text);
        if (status !== 0) throw new Error(stderr);
      },
    ),
    20,
  );
  t.pass();
});

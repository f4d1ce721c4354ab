/** What `up` would change on a host, as the commands that a person would type. */
import t from 'tap';
import type { ProxyOptions } from '../../src/control/model/proxy-options.js';
import { undoAtStop } from '../../src/host/applied-changes.js';
import { type Change, commandText } from '../../src/host/change.js';
import type { FamilyFacts, HostFacts } from '../../src/host/facts.js';
import { planHost } from '../../src/host/plan.js';
import { snatPoolAt } from '../../src/host/snat-pool.js';
import { EXIT, Failure } from '../../src/shared/failure.js';
import { OPTIONS, planOfValues, service, slice } from '../control/support.js';

const snatPools = ['198.18.0.0/24', 'fd00:198:18::/120'].map(snatPoolAt);

/** A host on which nobody has changed anything. */
const PLAIN: FamilyFacts = {
  forwarding: true,
  lostByForwarding: [],
  acceptRa: [],
  localPref: 0,
  tables: [19818, 19819],
};
const HOST: HostFacts = { IPv4: PLAIN, IPv6: PLAIN };

function changesFor(
  values: readonly unknown[],
  options: Partial<ProxyOptions> = {},
  facts: HostFacts = HOST,
): Change[] {
  const all = { ...OPTIONS, ...options };
  return planHost({ tun: 'tun0', snatPools }, planOfValues(values, options), all, facts);
}

const commands = (changes: readonly Change[]): string[] => changes.map(({ apply }) => commandText(apply));
const undo = (changes: readonly Change[]): string[] => undoAtStop(changes).map(commandText);

/** Behind what every plan begins with. */
const DEVICE = [
  'ip tuntap add dev tun0 mode tun multi_queue vnet_hdr',
  'ip link set dev tun0 addrgenmode none',
  'ip link set dev tun0 up',
];
const IPV4 = [
  'ip address add 198.18.0.1/32 dev tun0',
  'sysctl -w net.ipv4.conf.tun0.rp_filter=2',
  'sysctl -w net.ipv4.conf.tun0.accept_local=1',
  'ip route add 198.18.0.0/24 dev tun0',
];
const IPV6 = [
  'ip -6 address add fd00:198:18::1/128 dev tun0 nodad',
  'ip -6 route add fd00:198:18::/120 dev tun0',
];

const port = (extra: object = {}): object => ({ name: 'http', port: 80, protocol: 'TCP', ...extra });
const clusterIP = service('web', { clusterIP: '10.96.0.10', ports: [port()] });

t.test('a ClusterIP takes a route, and nothing of the other family', async (t) => {
  t.strictSame(commands(changesFor([clusterIP])), [
    ...DEVICE,
    ...IPV4,
    'ip route add 10.96.0.10/32 dev tun0 src 198.18.0.1',
  ]);
  t.strictSame(undo(changesFor([clusterIP])), ['ip tuntap del dev tun0 mode tun multi_queue']);
});

t.test('an IPv6 ClusterIP, and nothing of IPv4', async (t) => {
  const changes = changesFor([service('web', { clusterIP: 'fd00:96::10', ports: [port()] })]);
  t.strictSame(commands(changes), [
    ...DEVICE,
    ...IPV6,
    'ip -6 route add fd00:96::10/128 dev tun0 src fd00:198:18::1',
  ]);
});

t.test('without Services there is the device', async (t) => {
  t.strictSame(commands(changesFor([])), DEVICE);
});

t.test('a kernel without IPv6 is not asked for it', async (t) => {
  const values = [service('web', { clusterIP: 'fd00:96::10', ports: [port()] })];
  t.strictSame(commands(changesFor(values, {}, { IPv4: PLAIN, IPv6: null })), DEVICE);
});

t.test(
  'external IPs and load-balancer VIPs are routed from the node address, an address of the node is not',
  async (t) => {
    const external = service('web', {
      type: 'ClusterIP',
      clusterIP: '10.96.0.10',
      externalIPs: ['192.0.2.10', '192.168.0.2'],
      ports: [port()],
    });
    const changes = changesFor([external], { nodeIPs: ['192.168.0.2', '198.18.0.1'] });
    t.strictSame(commands(changes).slice(7), [
      'ip route add 10.96.0.10/32 dev tun0 src 198.18.0.1',
      'ip route add 192.0.2.10/32 dev tun0 src 192.168.0.2',
      'ip rule add pref 100 lookup local',
      'ip rule del pref 0 lookup local',
      'ip rule add pref 40 iif tun0 goto 100',
      'ip route add 192.168.0.2/32 dev tun0 src 192.168.0.2 table 19818',
      'ip rule add pref 42 ipproto 6 dport 1-65534 goto 100',
      'ip rule add pref 43 ipproto 6 lookup 19818',
      'ip rule add pref 41 to 192.168.0.2 ipproto 6 dport 80 lookup 19818',
    ]);
  },
);

const nodePort = service('np', {
  type: 'NodePort',
  clusterIP: '10.96.0.11',
  clusterIPs: ['10.96.0.11', 'fd00:96::11'],
  ports: [
    port({ nodePort: 30080 }),
    port({ name: 'b', port: 81, nodePort: 30081 }),
    port({ name: 'c', port: 82, nodePort: 30083 }),
    port({ name: 'd', port: 80, nodePort: 30080, protocol: 'UDP' }),
    port({ name: 'e', port: 80, nodePort: 30080, protocol: 'SCTP' }),
  ],
});

t.test(
  'NodePorts: neighbours share a rule, both families, loopback in IPv4 where it is wanted',
  async (t) => {
    const changes = changesFor([nodePort], {
      nodeIPs: ['192.168.0.2', '10.244.0.1', '2001:db8::2', '198.18.0.1', 'fd00:198:18::1'],
      localhostNodePorts: true,
    });
    const ofRules = commands(changes).filter((text) => / rule | table |route_localnet/.test(text));
    t.strictSame(ofRules, [
      'ip rule add pref 100 lookup local',
      'ip rule del pref 0 lookup local',
      'ip rule add pref 40 iif tun0 goto 100',
      'sysctl -w net.ipv4.conf.tun0.route_localnet=1',
      'ip route add 192.168.0.2/32 dev tun0 src 192.168.0.2 table 19818',
      'ip route add 10.244.0.1/32 dev tun0 src 192.168.0.2 table 19818',
      'ip route add 127.0.0.0/8 dev tun0 src 192.168.0.2 table 19818',
      'ip rule add pref 42 ipproto 6 dport 1-65534 goto 100',
      'ip rule add pref 43 ipproto 6 lookup 19818',
      'ip rule add pref 42 ipproto 17 dport 1-65534 goto 100',
      'ip rule add pref 43 ipproto 17 lookup 19818',
      'ip rule add pref 41 ipproto 6 dport 30080-30081 lookup 19818',
      'ip rule add pref 41 ipproto 6 dport 30083 lookup 19818',
      'ip rule add pref 41 ipproto 17 dport 30080 lookup 19818',
      'ip rule add pref 41 ipproto 132 dport 30080 lookup 19818',
      'ip -6 rule add pref 100 lookup local',
      'ip -6 rule del pref 0 lookup local',
      'ip -6 rule add pref 40 iif tun0 goto 100',
      'ip -6 route add 2001:db8::2/128 dev tun0 src 2001:db8::2 table 19818',
      'ip -6 rule add pref 42 ipproto 6 dport 1-65534 goto 100',
      'ip -6 rule add pref 43 ipproto 6 lookup 19818',
      'ip -6 rule add pref 42 ipproto 17 dport 1-65534 goto 100',
      'ip -6 rule add pref 43 ipproto 17 lookup 19818',
      'ip -6 rule add pref 41 ipproto 6 dport 30080-30081 lookup 19818',
      'ip -6 rule add pref 41 ipproto 6 dport 30083 lookup 19818',
      'ip -6 rule add pref 41 ipproto 17 dport 30080 lookup 19818',
      'ip -6 rule add pref 41 ipproto 132 dport 30080 lookup 19818',
    ]);
  },
);

t.test('NodePorts only on the addresses that the configuration names', async (t) => {
  const changes = changesFor([nodePort], {
    nodeIPs: ['192.168.0.2', '10.244.0.1', '2001:db8::2'],
    nodePortAddresses: ['10.244.0.0/16', '2001:db9::/64'],
  });
  const routes = commands(changes).filter((text) => text.includes(' table '));
  t.strictSame(routes, ['ip route add 10.244.0.1/32 dev tun0 src 192.168.0.2 table 19818']);
  t.notMatch(commands(changes).join('\n'), 'ip -6 rule', 'none of IPv6: nothing is moved there');
});

t.test('with pod CIDRs, replies of flows whose source was kept come back', async (t) => {
  const local = service('web', {
    type: 'NodePort',
    externalTrafficPolicy: 'Local',
    clusterIP: '10.96.0.10',
    ports: [port({ nodePort: 30080 })],
  });
  const endpoints = slice('web', 'web-1', {
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [
      { addresses: ['10.244.0.3'], nodeName: 'here' },
      { addresses: ['10.244.1.2'], nodeName: 'there' },
      { addresses: ['192.168.0.2'], nodeName: 'here' }, // a pod in the host's network
    ],
  });
  const changes = changesFor([local, endpoints], { clusterCIDRs: ['10.244.0.0/16', 'fd00:244::/32'] });
  t.strictSame(commands(changes).slice(-6), [
    'ip rule add pref 104 nop',
    'ip rule add pref 101 iif tun0 goto 104',
    'ip rule add pref 102 iif lo goto 104',
    'ip route add default dev tun0 table 19819',
    'ip rule add pref 103 from 10.244.0.0/16 to 10.244.0.0/16 lookup 19819',
    'ip rule add pref 103 from 10.244.0.3 ipproto 6 sport 8080 lookup 19819',
  ]);
});

t.test('rules that Cilium has moved already stay where they are', async (t) => {
  const facts = { IPv4: { ...PLAIN, localPref: 200 }, IPv6: null };
  const changes = changesFor([nodePort], { clusterCIDRs: ['10.244.0.0/16'] }, facts);
  const rules = commands(changes).filter((text) => text.includes(' rule '));
  t.notMatch(rules.join('\n'), 'lookup local');
  t.match(rules[0], 'pref 40 iif tun0 goto 200');
  t.match(rules.at(-1), 'pref 203 from');
});

t.test('policy routing that leaves no room is said, with what to do', async (t) => {
  const facts = { IPv4: { ...PLAIN, localPref: 10 }, IPv6: null };
  t.throws(() => changesFor([nodePort], {}, facts), new Failure(EXIT.HOST, ''));
  t.throws(() => changesFor([nodePort], {}, facts), /preference 10 .*behind 43/);
  t.doesNotThrow(() => changesFor([clusterIP], {}, facts), 'a ClusterIP needs none');
});

t.test('forwarding comes on, and what that changes besides is put back after it is off', async (t) => {
  const facts: HostFacts = {
    IPv4: { ...PLAIN, forwarding: false, lostByForwarding: [['net.ipv4.conf.all.accept_redirects', '0']] },
    IPv6: {
      ...PLAIN,
      forwarding: false,
      lostByForwarding: [['net.ipv6.conf.br0.forwarding', '1']],
      acceptRa: ['eth0', 'eth0.7'],
    },
  };
  const changes = changesFor([nodePort], {}, facts);
  const sysctls = (texts: string[]): string[] =>
    texts.filter((text) => text.startsWith('sysctl') && !text.includes('tun0'));
  t.strictSame(sysctls(commands(changes)), [
    'sysctl -w net.ipv4.conf.all.accept_redirects=0',
    'sysctl -w net.ipv4.ip_forward=1',
    'sysctl -w net.ipv6.conf.br0.forwarding=1',
    'sysctl -w net.ipv6.conf.eth0.accept_ra=2',
    'sysctl -w net.ipv6.conf.eth0/7.accept_ra=2',
    'sysctl -w net.ipv6.conf.all.forwarding=1',
  ]);
  t.strictSame(sysctls(undo(changes)), [
    'sysctl -w net.ipv6.conf.all.forwarding=0',
    'sysctl -w net.ipv6.conf.eth0/7.accept_ra=1',
    'sysctl -w net.ipv6.conf.eth0.accept_ra=1',
    'sysctl -w net.ipv6.conf.br0.forwarding=1',
    'sysctl -w net.ipv4.ip_forward=0',
    'sysctl -w net.ipv4.conf.all.accept_redirects=0',
  ]);
});

t.test('the table local is looked up at every moment, coming and going', async (t) => {
  const changes = changesFor([nodePort], {
    nodeIPs: ['192.168.0.2', '2001:db8::2'],
    clusterCIDRs: ['10.244.0.0/16'],
  });
  for (const family of ['ip', 'ip -6']) {
    const prefs = new Set([0]);
    const follow = (text: string): void => {
      const [, verb, pref] = /^(?:ip|ip -6) rule (add|del) pref (\d+) lookup local$/.exec(text) ?? [];
      if (!text.startsWith(`${family} rule`) || pref === undefined) return;
      if (verb === 'add') prefs.add(Number(pref));
      else prefs.delete(Number(pref));
      t.ok(prefs.size > 0, `${text}: still there at ${[...prefs]}`);
    };
    for (const text of commands(changes)) follow(text);
    t.strictSame([...prefs], [100]);
    for (const text of undo(changes)) follow(text);
    t.strictSame([...prefs], [0], 'where it was');
  }
});

t.test('every rule is taken back, in the opposite order', async (t) => {
  const changes = changesFor([nodePort], { clusterCIDRs: ['10.244.0.0/16'] });
  const rules = commands(changes).filter((text) => text.includes(' rule '));
  const opposite = (text: string): string =>
    text.includes('rule add') ? text.replace('rule add', 'rule del') : text.replace('rule del', 'rule add');
  t.strictSame(
    undo(changes).filter((text) => text.includes(' rule ')),
    rules.map(opposite).reverse(),
  );
});

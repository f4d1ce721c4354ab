/** kube-proxy's rules, case by case. The texts of its own tests are compared in test/conformance. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import t from 'tap';
import { Planner } from '../../src/control/compile/plan.js';
import { endpointChainName, serviceChainName } from '../../src/control/export/chain-names.js';
import { DEFAULT_IPTABLES_EXPORT, iptablesText, serviceChainsOf } from '../../src/control/export/iptables.js';
import { holds } from '../support/property.js';
import {
  anyService,
  chainsIn,
  OPTIONS,
  objectsFor,
  objectsOf,
  planFor,
  rulesIn,
  service,
  slice,
  textFor,
} from './support.js';

const HTTP = [{ name: 'http', port: 80 }];
const WEB_NAME = { namespace: 'shop', name: 'web', port: 'http', protocol: 'TCP' } as const;
const WEB = service('web', { clusterIP: '10.96.0.10', ports: HTTP });
const WEB_SLICE = slice('web', HTTP, ['10.32.0.1@here', '10.32.1.1']);
const SVC = serviceChainName('SVC', WEB_NAME);
const SVL = serviceChainName('SVL', WEB_NAME);
const EXT = serviceChainName('EXT', WEB_NAME);
const FW = serviceChainName('FW', WEB_NAME);
const SEP_HERE = endpointChainName(WEB_NAME, { ip: '10.32.0.1', port: 80 });
const SEP_THERE = endpointChainName(WEB_NAME, { ip: '10.32.1.1', port: 80 });

/** A Service of every kind of destination. */
const loadBalancer = (spec: object = {}): object =>
  service(
    'web',
    {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.10',
      externalIPs: ['203.0.113.9'],
      ports: [{ name: 'http', port: 80, nodePort: 30080 }],
      ...spec,
    },
    ['192.0.2.80'],
  );

t.test('a whole text: one ClusterIP with two endpoints', async (t) => {
  t.equal(
    textFor([WEB, WEB_SLICE]),
    `*filter
:KUBE-NODEPORTS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:KUBE-NODEPORTS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
${[SEP_HERE, SEP_THERE]
  .sort()
  .map((chain) => `:${chain} - [0:0]\n`)
  .join('')}:${SVC} - [0:0]
-A KUBE-SERVICES -m comment --comment "shop/web:http cluster IP" -m tcp -p tcp -d 10.96.0.10 --dport 80 -j ${SVC}
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KUBE-NODEPORTS
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE
${[
  { chain: SEP_HERE, ip: '10.32.0.1' },
  { chain: SEP_THERE, ip: '10.32.1.1' },
]
  .sort((a, b) => (a.chain < b.chain ? -1 : 1))
  .map(
    ({ chain, ip }) => `-A ${chain} -m comment --comment shop/web:http -s ${ip} -j KUBE-MARK-MASQ
-A ${chain} -m comment --comment shop/web:http -m tcp -p tcp -j DNAT --to-destination ${ip}:80
`,
  )
  .join(
    '',
  )}-A ${SVC} -m comment --comment "shop/web:http cluster IP" -m tcp -p tcp -d 10.96.0.10 --dport 80 ! -s 10.32.0.0/12 -j KUBE-MARK-MASQ
-A ${SVC} -m comment --comment "shop/web:http -> 10.32.0.1:80" -m statistic --mode random --probability 0.5000000000 -j ${SEP_HERE}
-A ${SVC} -m comment --comment "shop/web:http -> 10.32.1.1:80" -j ${SEP_THERE}
COMMIT
`,
  );
});

t.test('who is masqueraded on the way to a ClusterIP', async (t) => {
  const masquerade = (options: Parameters<typeof textFor>[1]): string | undefined =>
    rulesIn(textFor([WEB, WEB_SLICE], options), 'nat', SVC).find((rule) => rule.endsWith('KUBE-MARK-MASQ'));
  t.match(masquerade({}), /--dport 80 ! -s 10\.32\.0\.0\/12 -j KUBE-MARK-MASQ$/, 'who is no pod');
  t.match(masquerade({ masqueradeAll: true }), /--dport 80 -j KUBE-MARK-MASQ$/, 'everybody');
  t.equal(masquerade({ clusterCIDRs: [] }), undefined, 'nobody, when pods are not known');
});

t.test('no endpoints anywhere: every destination is refused', async (t) => {
  const text = textFor([loadBalancer({ externalTrafficPolicy: 'Local', healthCheckNodePort: 30999 })]);
  const refused = (where: string): string =>
    `-m comment --comment "shop/web:http has no endpoints" ${where} -j REJECT`;
  t.same(rulesIn(text, 'filter', 'KUBE-SERVICES'), [
    `-A KUBE-SERVICES ${refused('-m tcp -p tcp -d 10.96.0.10 --dport 80')}`,
  ]);
  t.same(rulesIn(text, 'filter', 'KUBE-EXTERNAL-SERVICES'), [
    `-A KUBE-EXTERNAL-SERVICES ${refused('-m tcp -p tcp -d 203.0.113.9 --dport 80')}`,
    `-A KUBE-EXTERNAL-SERVICES ${refused('-m tcp -p tcp -d 192.0.2.80 --dport 80')}`,
    `-A KUBE-EXTERNAL-SERVICES ${refused('-m addrtype --dst-type LOCAL -m tcp -p tcp --dport 30080')}`,
  ]);
  t.same(
    rulesIn(text, 'filter', 'KUBE-NODEPORTS'),
    [
      '-A KUBE-NODEPORTS -m comment --comment "shop/web:http health check node port" -m tcp -p tcp --dport 30999 -j ACCEPT',
    ],
    'but the health check answers',
  );
  t.same(
    chainsIn(text).filter((chain) => chain.includes('-SVC-') || chain.includes('-EXT-')),
    [],
  );
});

t.test('externalTrafficPolicy Local', async (t) => {
  const local = loadBalancer({ externalTrafficPolicy: 'Local' });
  const external = 'for shop/web:http external destinations';
  const shortCircuit = [
    `-A ${EXT} -m comment --comment "pod traffic ${external}" -s 10.32.0.0/12 -j ${SVC}`,
    `-A ${EXT} -m comment --comment "masquerade LOCAL traffic ${external}" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
    `-A ${EXT} -m comment --comment "route LOCAL traffic ${external}" -m addrtype --src-type LOCAL -j ${SVC}`,
  ];
  await t.test('with an endpoint here', async (t) => {
    const text = textFor([local, WEB_SLICE]);
    t.same(rulesIn(text, 'nat', EXT), [...shortCircuit, `-A ${EXT} -j ${SVL}`]);
    t.same(rulesIn(text, 'nat', SVL), [
      `-A ${SVL} -m comment --comment "shop/web:http -> 10.32.0.1:80" -j ${SEP_HERE}`,
    ]);
    t.same(rulesIn(text, 'filter', 'KUBE-EXTERNAL-SERVICES'), []);
  });
  await t.test('with endpoints elsewhere only', async (t) => {
    const text = textFor([local, slice('web', HTTP, ['10.32.1.1'])]);
    t.same(rulesIn(text, 'nat', EXT), shortCircuit);
    t.notOk(chainsIn(text).includes(SVL));
    t.match(
      rulesIn(text, 'filter', 'KUBE-EXTERNAL-SERVICES')[2],
      /has no local endpoints".*--dport 30080 -j DROP$/,
    );
  });
  await t.test('without a local detector pods get no special way', async (t) => {
    t.same(rulesIn(textFor([local, WEB_SLICE], { clusterCIDRs: [] }), 'nat', EXT).length, 3);
  });
});

t.test('internalTrafficPolicy Local', async (t) => {
  const local = service('web', { clusterIP: '10.96.0.10', ports: HTTP, internalTrafficPolicy: 'Local' });
  const text = textFor([local, WEB_SLICE]);
  t.match(rulesIn(text, 'nat', 'KUBE-SERVICES')[0], new RegExp(`-j ${SVL}$`));
  t.match(rulesIn(text, 'nat', SVL)[0], /! -s 10\.32\.0\.0\/12 -j KUBE-MARK-MASQ$/);
  t.notOk(chainsIn(text).includes(SVC), 'nothing goes to the other endpoints');
  t.notOk(chainsIn(text).includes(SEP_THERE));
  t.match(rulesIn(textFor([local, slice('web', HTTP, ['10.32.1.1'])]), 'filter', 'KUBE-SERVICES'), [
    /"shop\/web:http has no local endpoints" -m tcp -p tcp -d 10\.96\.0\.10 --dport 80 -j DROP$/,
  ]);
});

t.test('loadBalancerSourceRanges', async (t) => {
  const text = (ranges: readonly string[]): string =>
    textFor([loadBalancer({ loadBalancerSourceRanges: ranges }), WEB_SLICE]);
  const through = (source: string): string =>
    `-A ${FW} -m comment --comment "shop/web:http loadbalancer IP" -s ${source} -j ${EXT}`;
  const rest = `-A ${FW} -m comment --comment "other traffic to shop/web:http will be dropped by KUBE-PROXY-FIREWALL"`;
  t.same(rulesIn(text([' 203.0.113.0/25']), 'nat', FW), [through('203.0.113.0/25'), rest]);
  t.same(
    rulesIn(text(['203.0.113.0/25', '198.51.100.0/24']), 'nat', FW),
    [through('203.0.113.0/25'), through('198.51.100.0/24'), through('192.0.2.80'), rest],
    'the node is inside: so is what it sends from the VIP',
  );
  t.same(rulesIn(text(['203.0.113.0/25']), 'filter', 'KUBE-PROXY-FIREWALL'), [
    `-A KUBE-PROXY-FIREWALL -m comment --comment "shop/web:http traffic not accepted by ${FW}" -m tcp -p tcp -d 192.0.2.80 --dport 80 -j DROP`,
  ]);
  const services = rulesIn(text(['203.0.113.0/25']), 'nat', 'KUBE-SERVICES');
  t.match(services[1], new RegExp(`external IP" .* -j ${EXT}$`), 'external IPs are not asked');
  t.match(services[2], new RegExp(`loadbalancer IP" .* -j ${FW}$`));
});

t.test('session affinity: who was there before goes there again', async (t) => {
  const sticky = service('web', {
    clusterIP: '10.96.0.10',
    ports: HTTP,
    sessionAffinity: 'ClientIP',
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } },
  });
  const text = textFor([sticky, WEB_SLICE]);
  t.match(rulesIn(text, 'nat', SVC), [
    /KUBE-MARK-MASQ$/,
    new RegExp(
      `10\\.32\\.0\\.1:80" -m recent --name ${SEP_HERE} --rcheck --seconds 600 --reap -j ${SEP_HERE}$`,
    ),
    new RegExp(
      `10\\.32\\.1\\.1:80" -m recent --name ${SEP_THERE} --rcheck --seconds 600 --reap -j ${SEP_THERE}$`,
    ),
    new RegExp(`--probability 0.5000000000 -j ${SEP_HERE}$`),
    new RegExp(`-j ${SEP_THERE}$`),
  ]);
  t.match(
    rulesIn(text, 'nat', SEP_HERE)[1],
    new RegExp(`-m recent --name ${SEP_HERE} --set -m tcp -p tcp -j DNAT`),
  );
});

t.test('terminating endpoints serve when none is ready', async (t) => {
  const text = textFor([WEB, slice('web', HTTP, ['~10.32.0.1', '~10.32.1.1'])]);
  t.equal(rulesIn(text, 'nat', SVC).length, 3);
  t.ok(chainsIn(text).includes(SEP_HERE));
});

t.test('UDP and SCTP on one port', async (t) => {
  const ports = [
    { name: 'u', port: 53, protocol: 'UDP' },
    { name: 's', port: 53, protocol: 'SCTP' },
  ];
  const text = textFor([
    service('dns', { clusterIP: '10.96.0.53', ports }),
    slice('dns', ports, ['10.32.0.5']),
  ]);
  t.match(rulesIn(text, 'nat', 'KUBE-SERVICES'), [
    /-m sctp -p sctp -d 10\.96\.0\.53/,
    /-m udp -p udp/,
    /NODEPORTS/,
  ]);
  const sep = endpointChainName(
    { namespace: 'shop', name: 'dns', port: 'u', protocol: 'UDP' },
    { ip: '10.32.0.5', port: 53 },
  );
  t.match(rulesIn(text, 'nat', sep)[1], /-m udp -p udp -j DNAT --to-destination 10\.32\.0\.5:53$/);
});

t.test('IPv6', async (t) => {
  const ports = [{ name: 'http', port: 80, nodePort: 30080 }];
  const objects = [
    service('web', { type: 'NodePort', clusterIP: 'fd00:96::10', ports }),
    slice('web', HTTP, ['fd00:32::1']),
  ];
  const text = textFor(objects, { localhostNodePorts: true }, { family: 'IPv6', nfacct: true });
  const sep = endpointChainName(WEB_NAME, { ip: 'fd00:32::1', port: 80 });
  t.match(rulesIn(text, 'nat', sep), [/ -s fd00:32::1 -j/, / --to-destination \[fd00:32::1\]:80$/]);
  t.match(rulesIn(text, 'nat', SVC)[0], /! -s fd00:32::\/48 -j KUBE-MARK-MASQ$/);
  t.match(rulesIn(text, 'nat', 'KUBE-SERVICES').at(-1), /--dst-type LOCAL ! -d ::1\/128 -j KUBE-NODEPORTS$/);
  t.equal(rulesIn(text, 'nat', 'KUBE-NODEPORTS').length, 1, 'no NodePorts on ::1, so none to count');
  t.notOk(chainsIn(text).includes('KUBE-FIREWALL'));
  t.same(
    serviceChainsOf(planFor(objects), OPTIONS, DEFAULT_IPTABLES_EXPORT),
    [],
    'and none of it is in the text for IPv4',
  );
});

t.test('where NodePorts answer', async (t) => {
  const last = (options: Parameters<typeof textFor>[1]): string[] =>
    rulesIn(textFor([loadBalancer(), WEB_SLICE], options), 'nat', 'KUBE-SERVICES')
      .filter((rule) => rule.includes('must be the last rule'))
      .map((rule) => rule.slice(rule.lastIndexOf('" ') + 2));
  const nodeIPs = ['198.51.100.7', '10.1.2.3', '2001:db8:7::7'];
  t.same(last({ localhostNodePorts: true }), ['-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS']);
  t.same(last({}), ['-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KUBE-NODEPORTS']);
  t.same(last({ nodePortAddresses: ['10.0.0.0/8'], nodeIPs }), ['-d 10.1.2.3 -j KUBE-NODEPORTS']);
  t.same(last({ nodePortAddresses: ['198.51.100.0/24', '127.0.0.0/8'], nodeIPs, localhostNodePorts: true }), [
    '-d 198.51.100.7 -j KUBE-NODEPORTS',
    '-d 127.0.0.1 -j KUBE-NODEPORTS',
  ]);
  t.same(last({ nodePortAddresses: ['127.0.0.0/8'], nodeIPs }), [], 'loopback is not served');
  t.same(last({ nodePortAddresses: ['0.0.0.0/0'] }), last({}), 'everything');
  t.same(last({ nodePortAddresses: ['fd00::/8'] }), last({}), 'only the other family is restricted');
});

t.test('nfacct, random ports, a liberal conntrack, another mark', async (t) => {
  const given = { nfacct: true, randomFully: true, conntrackTCPLiberal: true, masqueradeBit: 3 };
  const text = textFor([loadBalancer(), WEB_SLICE], { localhostNodePorts: true }, given);
  t.match(rulesIn(text, 'nat', 'KUBE-NODEPORTS'), [
    / -d 127\.0\.0\.0\/8 --dport 30080 -m nfacct --nfacct-name localhost_nps_accepted_pkts -j KUBE-EXT-/,
    / -m tcp -p tcp --dport 30080 -j KUBE-EXT-/,
  ]);
  t.match(rulesIn(text, 'nat', 'KUBE-POSTROUTING')[2], /-j MASQUERADE --random-fully$/);
  t.match(rulesIn(text, 'nat', 'KUBE-MARK-MASQ'), ['-A KUBE-MARK-MASQ -j MARK --or-mark 0x8']);
  t.equal(rulesIn(text, 'filter', 'KUBE-FORWARD').length, 2, 'INVALID packets are not dropped');
  t.equal(rulesIn(text, 'filter', 'KUBE-FIREWALL').length, 1);
});

t.test('many endpoints: no comments on them', async (t) => {
  const addresses = Array.from({ length: 1001 }, (_, index) => `10.33.${index >> 8}.${index & 255}`);
  const rules = (count: number): string[] =>
    rulesIn(textFor([WEB, slice('web', HTTP, addresses.slice(0, count))]), 'nat', SVC);
  t.match(rules(1000)[1], /--comment "shop\/web:http -> 10\.33\.0\.0:80"/);
  t.match(rules(1001)[1], /^-A \S+ -m statistic /);
  t.match(rules(1001)[0], /--comment "shop\/web:http cluster IP"/, 'the others keep theirs');
});

t.test('after a change only the Services that changed are written', async (t) => {
  const dns = [service('dns', { clusterIP: '10.96.0.53', ports: HTTP }), slice('dns', HTTP, ['10.32.0.5'])];
  const planner = new Planner(OPTIONS);
  planner.state.replace(objectsOf([WEB, WEB_SLICE, ...dns]));
  const before = serviceChainsOf(planner.plan(), OPTIONS, DEFAULT_IPTABLES_EXPORT);

  planner.state.replace(objectsOf([WEB, slice('web', HTTP, ['10.32.0.1@here']), ...dns]));
  const { updatedServices: changed } = planner.state.applyChanges();
  const plan = planner.plan();
  const gone = before.filter(
    (chain) => !serviceChainsOf(plan, OPTIONS, DEFAULT_IPTABLES_EXPORT).includes(chain),
  );
  const text = iptablesText(plan, OPTIONS, { ...DEFAULT_IPTABLES_EXPORT, partial: { changed, gone } });

  t.same([...changed], ['shop/web']);
  t.same(gone, [SEP_THERE]);
  t.equal(rulesIn(text, 'nat', 'KUBE-SERVICES').length, 3, 'the shared chains are whole');
  t.same(
    chainsIn(text).filter((chain) => /-(SVC|SEP)-/.test(chain)),
    [...[SEP_HERE, SEP_THERE].sort(), SVC],
  );
  t.ok(text.endsWith(`-X ${SEP_THERE}\nCOMMIT\n`), 'what is gone is emptied and deleted');
});

t.test(
  'every chain that is jumped to is declared, every chain of a Service is jumped to, none is empty',
  async (t) => {
    holds(
      fc.property(fc.array(anyService, { maxLength: 5 }), (services) => {
        for (const table of textFor(objectsFor(services)).split(/(?<=^COMMIT\n)/m)) {
          const declared = chainsIn(table);
          const jumps = [...table.matchAll(/ -j (KUBE-\S+)$/gm)].map(([, chain]) => chain);
          for (const chain of jumps)
            if (!declared.includes(chain!)) throw new Error(`${chain} is not declared`);
          for (const chain of declared.filter((name) => /-(SVC|SVL|EXT|FW|SEP)-/.test(name))) {
            if (!jumps.includes(chain)) throw new Error(`nothing jumps to ${chain}`);
            if (!table.includes(`-A ${chain} `)) throw new Error(`${chain} is empty`);
          }
        }
      }),
    );
    t.pass();
  },
);

t.test('the order of the objects does not matter', async (t) => {
  holds(
    fc.property(fc.array(anyService, { maxLength: 4 }), (services) => {
      const objects = objectsFor(services);
      return textFor(objects) === textFor([...objects].reverse());
    }),
  );
  t.pass();
});

/** In a network namespace of its own: nothing of the host's rules is read or changed. */
const restore = (args: readonly string[], input: string) =>
  spawnSync('unshare', ['--net', ...args], { input, encoding: 'utf8' });

for (const [tool, family] of [
  ['iptables-restore', 'IPv4'],
  ['ip6tables-restore', 'IPv6'],
] as const) {
  t.test(`${tool} takes the text`, { skip: whyNot(tool) }, async (t) => {
    const ip =
      family === 'IPv4'
        ? { vip: '10.96.0.10', pod: '10.32.0.1@here' }
        : { vip: 'fd00:96::10', pod: 'fd00:32::1@here' };
    const ports = [{ name: 'http', port: 80, nodePort: 30080 }];
    const objects = [
      service('web', { type: 'NodePort', clusterIP: ip.vip, ports, externalTrafficPolicy: 'Local' }),
      slice('web', HTTP, [ip.pod]),
      service('none', { clusterIP: ip.vip.replace(/0$/, '1'), ports: HTTP }),
    ];
    const { status, stderr } = restore(
      [tool, '--noflush', '--test'],
      textFor(objects, { localhostNodePorts: true }, { family }),
    );
    t.equal(status, 0, stderr);
  });
}

function whyNot(tool: string): string | false {
  const { error, status, stderr } = restore([tool, '--noflush', '--test'], '*nat\nCOMMIT\n*filter\nCOMMIT\n');
  if (error) return `unshare: ${error.message}`;
  return status === 0 ? false : `${tool} does not work here: ${stderr.trim().split('\n')[0]}`;
}

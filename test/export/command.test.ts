/** `flowpin export`, as it is called. */
import t, { type Test } from 'tap';
import { exportCommand } from '../../src/cli/export.js';
import { throwsOnMisuse } from '../../src/cli/misuse.js';
import type { PlanJson } from '../../src/control/export/plan-json.js';
import { rulesIn } from './support.js';

const DUAL_STACK = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:96::10"]
  externalTrafficPolicy: Local
  ports: [{ name: http, port: 80, nodePort: 30080 }]
status: { loadBalancer: { ingress: [{ ip: 192.0.2.80 }] } }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-4, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.32.0.1], nodeName: here }, { addresses: [10.32.1.1], nodeName: there }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-6, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv6
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: ["fd00:32::1"], nodeName: there }]
`;

const CONFIG = `
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 10.32.0.0/12,fd00:32::/48
hostnameOverride: Here
iptables: { masqueradeBit: 3 }
conntrack: { tcpBeLiberal: true }
`;

interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

async function run(t: Test, ...args: string[]): Promise<Output> {
  const stdout = t.capture(process.stdout, 'write');
  const log = t.capture(console, 'log');
  const error = t.capture(console, 'error');
  try {
    const command = exportCommand();
    throwsOnMisuse(command);
    await command.parseAsync(args, { from: 'user' });
  } finally {
    for (const captured of [stdout, log, error]) captured.restore();
  }
  const text = (calls: ReturnType<typeof log>): string => calls.map(({ args }) => String(args[0])).join('\n');
  return { stdout: text(stdout()) + text(log()), stderr: text(error()) };
}

const node = [
  '--hostname-override',
  'here',
  '--node-addresses',
  '198.51.100.7',
  '--cluster-cidr',
  '10.32.0.0/12',
];

t.test('iptables, one family at a time', async (t) => {
  const file = `${t.testdir({ 'web.yaml': DUAL_STACK })}/web.yaml`;
  const ipv4 = await run(t, 'iptables', '-f', file, ...node);
  t.match(rulesIn(ipv4.stdout, 'nat', 'KUBE-SERVICES'), [
    / 10\.96\.0\.10 /,
    / 192\.0\.2\.80 /,
    /must be the last rule/,
  ]);
  t.match(
    ipv4.stderr,
    /^flowpin: 1 Service ports of IPv6 are not in this text: --ip-family IPv6 exports them$/,
  );
  const ipv6 = await run(t, 'iptables', '-f', file, ...node, '--ip-family', 'IPv6', '--random-fully');
  t.match(rulesIn(ipv6.stdout, 'nat', 'KUBE-SERVICES'), [/ fd00:96::10 /, /must be the last rule/]);
  t.match(rulesIn(ipv6.stdout, 'nat', 'KUBE-POSTROUTING')[2], /--random-fully$/);
  t.equal(ipv6.stderr, '');
  t.match(ipv4.stdout, /INVALID/);
  const liberal = await run(t, 'iptables', '-f', file, ...node, '--conntrack-tcp-be-liberal');
  t.notMatch(liberal.stdout, /INVALID/);
});

t.test('a configuration, and a flag that wins', async (t) => {
  const directory = t.testdir({ 'web.yaml': DUAL_STACK, 'config.yaml': CONFIG });
  const args = [
    'iptables',
    '-f',
    `${directory}/web.yaml`,
    '--config',
    `${directory}/config.yaml`,
    '--ip-family',
    'IPv4',
  ];
  const { stdout, stderr } = await run(t, ...args, '--cluster-cidr', '10.47.0.0/16');
  t.equal(stderr, '', 'nothing in it is without meaning here');
  t.match(stdout, / -s 10\.47\.0\.0\/16 -j KUBE-SVC-/);
  t.match(rulesIn(stdout, 'nat', 'KUBE-MARK-MASQ'), [/--or-mark 0x8$/]);
  t.notMatch(stdout, /INVALID/);
  t.match(stdout, /:KUBE-SVL-/, 'the endpoint here is known by the name of the node');
});

t.test('json', async (t) => {
  const file = `${t.testdir({ 'web.yaml': DUAL_STACK })}/web.yaml`;
  const { stdout } = await run(t, 'json', '-f', file, ...node, '--mode', 'iptables');
  const { mode, servicePorts, setAside } = JSON.parse(stdout) as PlanJson;
  t.same({ mode, setAside }, { mode: 'iptables', setAside: [] });
  t.same(servicePorts[0], {
    name: 'shop/web:http',
    family: 'IPv4',
    protocol: 'TCP',
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Local',
    destinations: [
      { kind: 'clusterIP', address: '10.96.0.10:80', policy: 'Cluster', verdict: 'balance' },
      { kind: 'loadBalancerVIP', address: '192.0.2.80:80', policy: 'Local', verdict: 'balance' },
      { kind: 'nodePort', address: ':30080', policy: 'Local', verdict: 'balance' },
    ],
    endpoints: {
      Cluster: [
        { endpoint: '10.32.0.1:8080', nodeName: 'here', probability: 0.5 },
        { endpoint: '10.32.1.1:8080', nodeName: 'there', probability: 0.5 },
      ],
      Local: [{ endpoint: '10.32.0.1:8080', nodeName: 'here', probability: 1 }],
    },
    algorithm: 'random',
  });
  t.match(servicePorts[1], {
    family: 'IPv6',
    destinations: [{ verdict: 'balance' }, { kind: 'nodePort', verdict: 'DROP' }],
    endpoints: { Cluster: [{ endpoint: '[fd00:32::1]:8080' }], Local: [] },
  });
});

t.test('what is set aside is said, and the rest exported', async (t) => {
  const broken = DUAL_STACK.replace('addresses: [10.32.1.1]', 'addresses: [10.32.1.999]');
  const file = `${t.testdir({ 'web.yaml': broken })}/web.yaml`;
  const { stdout, stderr } = await run(t, 'iptables', '-f', file, ...node, '--ip-family', 'IPv4');
  t.match(stderr, /^flowpin: set aside: .*web\.yaml:\d+: EndpointSlice shop\/web-4: .*10\.32\.1\.999/);
  t.match(stdout, /--to-destination 10\.32\.0\.1:8080/);
});

t.test('wrong usage', async (t) => {
  const write = t.capture(process.stderr, 'write');
  for (const args of [
    ['--cluster-cidr', '10.32'],
    ['--node-addresses', 'here'],
    ['--node-labels', 'zone'],
    ['--mode', 'ipfw'],
  ]) {
    await t.rejects(
      run(t, 'iptables', '-f', 'examples/httpenv.yaml', ...args),
      { code: /^commander\./ },
      args.join(' '),
    );
  }
  await t.rejects(run(t, 'iptables'), { code: 'commander.missingMandatoryOptionValue' });
  write.restore();
});

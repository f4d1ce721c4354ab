/** Bad input: named by file, line, field and reason; and whatever else the files hold still loads. */
import { chmodSync } from 'node:fs';
import t from 'tap';
import { loadFiles } from '../../src/control/sources/file.js';
import { endpoints, labels, loadTexts, service, slice, texts } from './support.js';

const GOOD = `apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}\n`;

/** One bad object in JSON (all on line 1), and the remarks without place and label. */
const OBJECTS: readonly { name: string; object: unknown; remarks: readonly string[]; loads?: boolean }[] = [
  {
    name: 'no name',
    object: service('x', {}, { name: undefined }),
    remarks: ['metadata.name: is missing; it must be text'],
  },
  {
    name: 'a name that would not be one line of a log',
    object: service('x\ny', {}),
    remarks: ['metadata.name: must be lower-case letters, digits, "-" and ".", not "x\\ny"'],
  },
  {
    name: 'no spec',
    object: service('x', undefined as never),
    remarks: ['spec: is missing; it must be a mapping of fields'],
  },
  {
    name: 'ports out of range or no numbers',
    object: service('x', {
      clusterIP: '10.96.0.1',
      ports: [
        { name: 'a', port: 0 },
        { name: 'b', port: 65536 },
        { name: 'c', port: 80.5 },
        { name: 'd', port: '80' },
        { name: 'e' },
        80,
      ],
    }),
    remarks: [
      'spec.ports[0].port: must be a port number from 1 to 65535, not 0',
      'spec.ports[1].port: must be a port number from 1 to 65535, not 65536',
      'spec.ports[2].port: must be a port number from 1 to 65535, not 80.5',
      'spec.ports[3].port: must be a port number from 1 to 65535, not "80"',
      'spec.ports[4].port: is missing; it must be a port number from 1 to 65535',
      'spec.ports[5]: must be a mapping of fields, not 80',
    ],
  },
  {
    name: 'ports that are no list',
    object: service('x', { ports: { port: 80 } }),
    remarks: ['spec.ports: must be a list, not a mapping'],
  },
  {
    name: 'an unknown protocol and type',
    object: service('x', { type: 'Clusterip', ports: [{ port: 80, protocol: 'tcp' }] }),
    remarks: [
      'spec.type: must be ClusterIP, NodePort, LoadBalancer or ExternalName, not "Clusterip"',
      'spec.ports[0].protocol: must be TCP, UDP or SCTP, not "tcp"',
    ],
  },
  {
    name: 'two ports of one name',
    object: service('x', {
      ports: [
        { name: 'a', port: 1 },
        { name: 'b', port: 2 },
        { name: 'a', port: 3 },
      ],
    }),
    remarks: [`spec.ports[2].name: must differ from the other ports' names; "a" is taken`],
  },
  {
    name: 'one port twice',
    object: service('x', {
      ports: [
        { name: 'a', port: 1 },
        { name: 'b', port: 1 },
        { name: 'c', port: 1, protocol: 'UDP' },
      ],
    }),
    remarks: ['spec.ports[1].port: must differ from the other ports with this protocol'],
  },
  {
    name: 'a malformed clusterIP',
    object: service('x', { clusterIP: '10.96.0.256' }),
    remarks: ['spec.clusterIP: must be an IP address, not "10.96.0.256"'],
  },
  {
    name: "the host's own clusterIP",
    object: service('x', { clusterIP: '127.0.0.1' }),
    remarks: ['spec.clusterIP: must not be a loopback address, such as "127.0.0.1"'],
  },
  {
    name: 'clusterIPs that contradict',
    object: service('x', { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.2', '10.96.0.3'] }),
    remarks: [
      'spec.clusterIPs[0]: must be the same as spec.clusterIP, "10.96.0.1"',
      'spec.clusterIPs[1]: must not be a second IPv4 address',
    ],
  },
  {
    name: 'node ports out of range',
    object: service('x', {
      clusterIP: '10.96.0.1',
      healthCheckNodePort: -1,
      ports: [{ port: 80, nodePort: 65536 }],
    }),
    remarks: [
      'spec.healthCheckNodePort: must be a port number from 1 to 65535, or 0 for none, not -1',
      'spec.ports[0].nodePort: must be a port number from 1 to 65535, or 0 for none, not 65536',
    ],
  },
  {
    name: 'unknown policies',
    object: service('x', {
      clusterIP: '10.96.0.1',
      externalTrafficPolicy: 'local',
      internalTrafficPolicy: 1,
    }),
    remarks: [
      'spec.externalTrafficPolicy: must be Cluster or Local, not "local"',
      'spec.internalTrafficPolicy: must be Cluster or Local, not 1',
    ],
  },
  {
    name: 'session affinity that is none, or lasts too long',
    object: service('x', {
      clusterIP: '10.96.0.1',
      sessionAffinity: 'Cookie',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 86_401 } },
    }),
    remarks: [
      'spec.sessionAffinity: must be ClientIP or None, not "Cookie"',
      'spec.sessionAffinityConfig.clientIP.timeoutSeconds: must be a number of seconds from 1 to 86400, not 86401',
    ],
  },
  {
    name: 'a malformed source range: without it clients could get in that shall not',
    object: service('x', { clusterIP: '10.96.0.1', loadBalancerSourceRanges: ['10.0.0.0/8', '10.0.0.0/33'] }),
    remarks: [
      'spec.loadBalancerSourceRanges[1]: must be an address with a prefix length, such as "203.0.113.0/24", not "10.0.0.0/33"',
    ],
  },
  {
    name: 'malformed external addresses: only those',
    object: {
      ...service('x', { clusterIP: '10.96.0.1', externalIPs: ['192.0.2.1', '192.0.2.256', '127.0.0.1', 7] }),
      status: { loadBalancer: { ingress: [{ ip: 'lb.example.org' }, { ip: '192.0.2.2' }] } },
    },
    loads: true,
    remarks: [
      'spec.externalIPs[1]: must be an IP address, not "192.0.2.256"',
      'spec.externalIPs[2]: must not be a loopback address, such as "127.0.0.1"',
      'spec.externalIPs[3]: must be an IP address, not 7',
      'status.loadBalancer.ingress[0].ip: must be an IP address, not "lb.example.org"',
    ],
  },
  {
    name: 'a load balancer of a mode that is none',
    object: {
      ...service('x', { clusterIP: '10.96.0.1' }),
      status: { loadBalancer: { ingress: [{ ip: '192.0.2.2', ipMode: 'Direct' }] } },
    },
    remarks: ['status.loadBalancer.ingress[0].ipMode: must be VIP or Proxy, not "Direct"'],
  },
  {
    name: 'annotations of ours that mean nothing: the defaults are used',
    object: service(
      'x',
      { clusterIP: '10.96.0.1' },
      {
        annotations: {
          'flowpin.dev/algorithm': 'fastest',
          'flowpin.dev/weights': '10.244.0.3=2,10.244.1.2=0',
          'flowpin.dev/retry': true,
          'flowpin.dev/on-endpoint-removal': 'drain=30s',
        },
      },
    ),
    loads: true,
    remarks: [
      'metadata.annotations[flowpin.dev/algorithm]: must be one of random, rr, wrr, lc, sed, nq, sh, mh, not "fastest"',
      'metadata.annotations[flowpin.dev/weights]: must be endpoint addresses with weights from 1 to 65535, such as "10.244.0.3=2,10.244.1.2=1", not "10.244.0.3=2,10.244.1.2=0"',
      'metadata.annotations[flowpin.dev/retry]: must be "true" or "false", not true',
      'metadata.annotations[flowpin.dev/on-endpoint-removal]: must be "keep", "reset" or "drain=" with 1 to 86400 seconds, not "drain=30s"',
    ],
  },
  {
    name: 'hints that are none',
    object: slice('x', 'x', { endpoints: [{ addresses: ['10.244.0.1'], hints: { forZones: ['a'] } }] }),
    remarks: ['endpoints[0].hints.forZones[0]: must be a mapping of fields, not "a"'],
  },
  {
    name: 'an EndpointSlice without its label',
    object: slice('x', 'x', { metadata: { name: 'x', labels: { app: 'x' } } }),
    remarks: [
      'metadata.labels[kubernetes.io/service-name]: is missing; it must name, with kubernetes.io/service-name, the Service that the slice belongs to',
    ],
  },
  {
    name: 'an EndpointSlice without labels',
    object: slice('x', 'x', { metadata: { name: 'x' } }),
    remarks: [
      'metadata.labels: is missing; it must name, with kubernetes.io/service-name, the Service that the slice belongs to',
    ],
  },
  {
    name: 'an EndpointSlice of another version',
    object: slice('x', 'x', { apiVersion: 'discovery.k8s.io/v1beta1' }),
    remarks: ['apiVersion: must be discovery.k8s.io/v1, not "discovery.k8s.io/v1beta1"'],
  },
  {
    name: 'a condition that is no condition',
    object: slice('x', 'x', { endpoints: [{ addresses: ['10.244.0.1'], conditions: { ready: 'yes' } }] }),
    remarks: ['endpoints[0].conditions.ready: must be true or false, not "yes"'],
  },
  {
    name: 'malformed addresses in an EndpointSlice: only those endpoints',
    object: slice('x', 'x', {
      endpoints: [
        { addresses: ['10.244.0.1'] },
        { addresses: ['10.244.0.256'] },
        { addresses: ['fd00::1'] },
        { addresses: [10.244] },
        { addresses: [] },
        {},
        { addresses: ['10.244.0.2', '10.244.0'] },
        { addresses: ['169.254.1.1'] },
      ],
    }),
    loads: true,
    remarks: [
      'endpoints[1].addresses[0]: must be an IPv4 address, not "10.244.0.256"',
      'endpoints[2].addresses[0]: must be an IPv4 address, not "fd00::1"',
      'endpoints[3].addresses[0]: must be an IPv4 address, not 10.244',
      'endpoints[4].addresses: must hold an address',
      'endpoints[5].addresses: must hold an address',
      'endpoints[6].addresses[1]: must be an IPv4 address, not "10.244.0"',
      'endpoints[7].addresses[0]: must not be a link-local address, such as "169.254.1.1"',
    ],
  },
  {
    name: 'IPv4 in an IPv6 slice: only that endpoint',
    object: slice('x', 'x', {
      addressType: 'IPv6',
      endpoints: [{ addresses: ['10.244.0.1'] }, { addresses: ['fd00::1'] }],
    }),
    loads: true,
    remarks: ['endpoints[0].addresses[0]: must be an IPv6 address, not "10.244.0.1"'],
  },
  {
    name: 'malformed addresses in Endpoints: only those',
    object: endpoints('x', [
      {
        addresses: [{ ip: '10.244.0.1' }, { ip: 'web-1' }, {}],
        notReadyAddresses: [{ ip: '10.244.0.2/32' }],
        ports: [{ port: 80 }],
      },
    ]),
    loads: true,
    remarks: [
      'subsets[0].addresses[1].ip: must be an IP address, not "web-1"',
      'subsets[0].addresses[2].ip: must be an IP address, not nothing',
      'subsets[0].notReadyAddresses[0].ip: must be an IP address, not "10.244.0.2/32"',
    ],
  },
];

t.test('a bad object is named with field and reason, and the others load', async (t) => {
  for (const { name, object, remarks, loads = false } of OBJECTS) {
    t.test(name, async (t) => {
      const { kind } = object as { kind: string };
      const loaded = loadTexts(t, { 'a.json': JSON.stringify(object), 'b.yaml': GOOD });
      const found = loaded.setAside.map(({ field, reason }) => `${field}: ${reason}`);
      t.same(found, remarks);
      t.ok(
        loaded.setAside.every(
          (remark) => remark.file === 'a.json' && remark.line === 1 && remark.object.startsWith(kind),
        ),
      );
      t.same(
        labels(loaded),
        loads ? [`${kind} default/x`, 'Service default/good'] : ['Service default/good'],
      );
    });
  }
});

/** Whole files; the remarks as they are printed. */
const FILES: readonly {
  name: string;
  files: Record<string, string>;
  remarks: readonly (string | RegExp)[];
  loads?: readonly string[];
}[] = [
  { name: 'an empty file', files: { 'a.yaml': '' }, remarks: ['a.yaml: the file is empty'] },
  {
    name: 'a file of comments',
    files: { 'a.yaml': '# to do\n---\n' },
    remarks: ['a.yaml: the file holds no object'],
  },
  {
    name: 'no Kubernetes object',
    files: { 'a.yaml': 'hello\n---\n- 1\n---\na: 1\n' },
    remarks: [
      'a.yaml:1: must be a Kubernetes object, not "hello"',
      'a.yaml:3: must be a Kubernetes object, not a list',
      'a.yaml:5: apiVersion: is missing; it must be text',
      'a.yaml:5: kind: is missing; it must be text',
    ],
  },
  {
    name: 'a YAML syntax error: the other documents load',
    files: {
      'a.yaml': `kind: Service\nmetadata:\n  name: "web\n---\na: [1, 2\n---\na: b: c\n---\na: *b\n---\n\ta: 1\n---\n${GOOD}`,
    },
    remarks: [
      /^a\.yaml:3: not YAML: Missing closing "quote/,
      /^a\.yaml:5: not YAML: Flow sequence .* must .* end with a \]/,
      /^a\.yaml:7: not YAML: Nested mappings are not allowed/,
      /^a\.yaml:8: not readable as YAML: Unresolved alias/,
      /^a\.yaml:11: not YAML: Tabs are not allowed as indentation/,
    ],
    loads: ['Service default/good'],
  },
  {
    name: 'a YAML syntax error in a List: the other items load',
    files: {
      'a.yaml': `apiVersion: v1\nitems:\n- kind: "Service\n  apiVersion: v1\n- ${GOOD.trim().replaceAll('\n', '\n  ')}\nkind: List\n`,
    },
    remarks: [/^a\.yaml:4: not YAML: Missing closing "quote/],
    loads: ['Service default/good'],
  },
  {
    name: 'a field that is there twice',
    files: { 'a.yaml': `apiVersion: v1\nkind: Service\nspec: {}\nspec: {}\n` },
    remarks: ['a.yaml:4: not YAML: Map keys must be unique'],
  },
  {
    name: 'a YAML List that is half written: kubectl prints its kind last',
    files: { 'a.yaml': `apiVersion: v1\nitems:\n- ${GOOD.trim().replaceAll('\n', '\n  ')}\n` },
    remarks: ['a.yaml:1: kind: is missing; it must be text'],
  },
  {
    name: 'JSON that is half written',
    files: {
      'a.json': JSON.stringify(service('web', { clusterIP: '10.96.0.1', ports: [] }), null, 2).slice(0, -10),
    },
    remarks: ['a.json:9: the file ends in the middle of a JSON object; is it complete?'],
  },
  {
    name: 'JSON with a syntax error: what stands before it loads',
    files: { 'a.json': `${JSON.stringify(service('x', { type: 1 }))}\n{"a": 1,\n"b": 2,\n}` },
    remarks: [
      'a.json:4: not JSON: expected a name in double quotes, found "}"',
      /^a\.json:1: Service default\/x: spec\.type: must be/,
    ],
  },
  {
    name: 'a List whose items are no list, or no objects',
    files: {
      'a.json': '{"kind":"List","apiVersion":"v1","items":{}}',
      'b.json': '{"kind":"List","apiVersion":"v1"}',
      'c.json': '{"kind":"ServiceList","apiVersion":"v1","items":[null, 7]}',
    },
    remarks: [
      'a.json:1: items: must be a list, not a mapping',
      'b.json:1: items: must be a list, not nothing',
      'c.json:1: must be a Kubernetes object, not null',
      'c.json:1: must be a Kubernetes object, not 7',
    ],
  },
  {
    name: 'an object that is defined twice: the first stays',
    files: { 'a.yaml': `\n${GOOD}`, 'b.yaml': `---\n${GOOD}` },
    remarks: ['b.yaml:2: Service default/good: is defined already at a.yaml:2'],
    loads: ['Service default/good'],
  },
  {
    name: 'nesting without end',
    files: {
      'a.json': `{"a": ${'['.repeat(1e5)}${']'.repeat(1e5)},\n"kind": 1, "apiVersion": "v1"}`,
      'b.yaml': `a: ${'['.repeat(1e4)}\n`,
      'c.json': `{"a": ${'['.repeat(1e5)}`,
    },
    remarks: [
      /^a\.json:[12]: kind: must be text, not 1/,
      /^b\.yaml:1: not (readable as )?YAML/,
      /^c\.json:1: /,
    ],
  },
  {
    name: 'aliases that multiply without end',
    files: {
      'a.yaml': `a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n`,
    },
    remarks: [/^a\.yaml:1: not readable as YAML: Excessive alias count/],
  },
];

t.test('a bad file is named with line and reason, and the others load', async (t) => {
  for (const { name, files, remarks, loads = [] } of FILES) {
    t.test(name, async (t) => {
      const loaded = loadTexts(t, { ...files, 'z.yaml': GOOD.replace('good', 'last') });
      t.match(texts(loaded.setAside), remarks);
      t.equal(loaded.setAside.length, remarks.length);
      t.same(labels(loaded), [...loads, 'Service default/last']);
    });
  }
});

t.test('files that cannot be read', async (t) => {
  const directory = t.testdir({
    'a.yaml': GOOD,
    empty: { 'notes.txt': '' },
    dangling: { 'a.yaml': t.fixture('symlink', 'nowhere') },
    'secret.yaml': GOOD,
  });
  chmodSync(`${directory}/secret.yaml`, 0);
  const paths = [
    'nothing.yaml',
    'empty',
    'dangling',
    'a.yaml',
    ...(process.getuid?.() === 0 ? [] : ['secret.yaml']),
  ];
  const { setAside, objects } = loadFiles(paths.map((path) => `${directory}/${path}`));
  t.same(
    texts(setAside).map((text) => text.replace(`${directory}/`, '')),
    [
      'nothing.yaml: no such file or directory',
      'empty: the directory holds no .yaml, .yml or .json file',
      'dangling/a.yaml: no such file or directory',
      ...(process.getuid?.() === 0 ? [] : ['secret.yaml: permission denied']),
    ],
  );
  t.same(labels({ objects }), ['Service default/good']);
});

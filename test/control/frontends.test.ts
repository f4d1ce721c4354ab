/** From Services and their endpoints to frontends, as kube-proxy would have it. */
import t from 'tap';
import { frontendsOf } from '../../src/control/compile/frontends.js';
import { loadFiles } from '../../src/control/sources/file.js';
import { endpoints, frontendTexts, loadTexts, objectsOf, service, slice, texts } from './support.js';

t.test("the seed's Service: one frontend, three endpoints", async (t) => {
  const { frontends, setAside, ignored } = frontendsOf(loadFiles(['examples/httpenv.yaml']));
  t.same({ setAside, ignored }, { setAside: [], ignored: [] });
  t.same(frontends, [
    {
      address: '10.103.145.7',
      family: 'IPv4',
      port: 8888,
      protocol: 'TCP',
      servicePort: { namespace: 'default', name: 'httpenv', port: '', protocol: 'TCP' },
      endpoints: [
        { address: '10.244.0.3', port: 8888 },
        { address: '10.244.1.2', port: 8888 },
        { address: '10.244.2.2', port: 8888 },
      ],
    },
  ]);
});

t.test('the cluster DNS: three ports of one address', async (t) => {
  const { frontends } = frontendsOf(loadFiles(['examples/dns.yaml']));
  t.match(frontends, [
    {
      address: '10.96.0.10',
      port: 53,
      protocol: 'UDP',
      servicePort: { name: 'kube-dns', port: 'dns' },
      endpoints: [{ port: 53 }, { port: 53 }],
    },
    {
      address: '10.96.0.10',
      port: 53,
      protocol: 'TCP',
      servicePort: { port: 'dns-tcp' },
      endpoints: [{ address: '10.244.0.4' }, { address: '10.244.0.5' }],
    },
    {
      address: '10.96.0.10',
      port: 9153,
      protocol: 'TCP',
      servicePort: { port: 'metrics' },
      endpoints: [{ port: 9153 }, { port: 9153 }],
    },
  ]);
});

const WEB = service('web', { clusterIP: '10.96.0.1', ports: [{ port: 80, targetPort: 9999 }] });
const at = (address: string, conditions?: object): object => ({ addresses: [address], conditions });

const CASES: readonly { name: string; objects: readonly object[]; frontends: readonly string[] }[] = [
  {
    name: 'a Service without endpoints has a frontend without endpoints',
    objects: [WEB],
    frontends: ['10.96.0.1:80/TCP default/web -> '],
  },
  {
    name: 'the port number is the one of the slice, not targetPort',
    objects: [WEB, slice('web', 'web-1', { ports: [{ port: 8080 }], endpoints: [at('10.244.0.1')] })],
    frontends: ['10.96.0.1:80/TCP default/web -> 10.244.0.1:8080'],
  },
  {
    name: "ports belong together by name and protocol, with each slice's own number",
    objects: [
      service('dns', {
        clusterIP: '10.96.0.1',
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53 },
          { name: 'sctp', port: 53, protocol: 'SCTP' },
        ],
      }),
      slice('dns', 'dns-1', {
        ports: [
          { name: 'dns', port: 5353, protocol: 'UDP' },
          { name: 'dns-tcp', port: 5354 },
          { name: 'sctp', port: 5355 },
        ],
        endpoints: [at('10.244.0.1')],
      }),
      slice('dns', 'dns-2', {
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'other', port: 1 },
        ],
        endpoints: [at('10.244.0.2')],
      }),
    ],
    frontends: [
      '10.96.0.1:53/UDP default/dns:dns -> 10.244.0.1:5353 10.244.0.2:53',
      '10.96.0.1:53/TCP default/dns:dns-tcp -> 10.244.0.1:5354',
      '10.96.0.1:53/SCTP default/dns:sctp -> ',
    ],
  },
  {
    name: "endpoints of all slices, each once, in kube-proxy's order: as text",
    objects: [
      WEB,
      slice('web', 'web-2', { ports: [{ port: 22 }], endpoints: [at('10.2.2.2'), at('10.2.2.3')] }),
      slice('web', 'web-1', { ports: [{ port: 22 }], endpoints: [at('10.2.2.22'), at('10.2.2.2')] }),
      slice('other', 'web-3', { ports: [{ port: 22 }], endpoints: [at('10.9.9.9')] }),
    ],
    frontends: ['10.96.0.1:80/TCP default/web -> 10.2.2.22:22 10.2.2.2:22 10.2.2.3:22'],
  },
  {
    name: 'only ready endpoints; absent ready means ready',
    objects: [
      WEB,
      slice('web', 'web-1', {
        ports: [{ port: 80 }],
        endpoints: [
          at('10.244.0.1', { ready: true }),
          at('10.244.0.2', { ready: false }),
          at('10.244.0.3', {}),
          at('10.244.0.4'),
          at('10.244.0.5', { ready: null }),
          at('10.244.0.6', { ready: false, serving: true, terminating: true }),
        ],
      }),
    ],
    frontends: ['10.96.0.1:80/TCP default/web -> 10.244.0.1:80 10.244.0.3:80 10.244.0.4:80 10.244.0.5:80'],
  },
  {
    name: 'no ready endpoint: those that terminate and still serve',
    objects: [
      WEB,
      slice('web', 'web-1', {
        ports: [{ port: 80 }],
        endpoints: [
          at('10.244.0.1', { ready: false, serving: true, terminating: true }),
          at('10.244.0.2', { ready: false, serving: false, terminating: true }),
          at('10.244.0.3', { ready: false, serving: true, terminating: false }),
          at('10.244.0.4', { ready: false, terminating: true }),
        ],
      }),
    ],
    frontends: ['10.96.0.1:80/TCP default/web -> 10.244.0.1:80'],
  },
  {
    name: 'Endpoints: several subsets, ports by name, not-ready addresses left out',
    objects: [
      service('web', {
        clusterIP: '10.96.0.1',
        ports: [
          { name: 'http', port: 80 },
          { name: 'https', port: 443 },
        ],
      }),
      endpoints('web', [
        {
          addresses: [{ ip: '10.244.0.1' }],
          notReadyAddresses: [{ ip: '10.244.0.9' }],
          ports: [
            { name: 'http', port: 8080 },
            { name: 'https', port: 8443 },
          ],
        },
        { addresses: [{ ip: '10.244.0.2' }, { ip: '10.244.0.1' }], ports: [{ name: 'http', port: 8081 }] },
      ]),
    ],
    frontends: [
      '10.96.0.1:80/TCP default/web:http -> 10.244.0.1:8080 10.244.0.1:8081 10.244.0.2:8081',
      '10.96.0.1:443/TCP default/web:https -> 10.244.0.1:8443',
    ],
  },
  {
    name: 'EndpointSlices win over Endpoints of the same Service, even when they hold nothing',
    objects: [
      WEB,
      endpoints('web', [{ addresses: [{ ip: '10.244.0.1' }], ports: [{ port: 80 }] }]),
      slice('web', 'web-1', { ports: [{ port: 80 }], endpoints: [] }),
    ],
    frontends: ['10.96.0.1:80/TCP default/web -> '],
  },
  {
    name: 'two families are two frontends, each with the endpoints of its family',
    objects: [
      service('web', {
        clusterIP: '10.96.0.1',
        clusterIPs: ['10.96.0.1', 'fd00:96:0::1'],
        ports: [{ port: 80 }],
      }),
      slice('web', 'web-4', { ports: [{ port: 80 }], endpoints: [at('10.244.0.1')] }),
      slice('web', 'web-6', {
        addressType: 'IPv6',
        ports: [{ port: 80 }],
        endpoints: [at('fd00:244:0::2'), at('fd00:244::1')],
      }),
    ],
    frontends: [
      '10.96.0.1:80/TCP default/web -> 10.244.0.1:80',
      'fd00:96::1:80/TCP default/web -> fd00:244::1:80 fd00:244::2:80',
    ],
  },
  {
    name: 'Endpoints may hold both families',
    objects: [
      service('web', { clusterIPs: ['fd00:96::1'], clusterIP: 'fd00:96::1', ports: [{ port: 80 }] }),
      endpoints('web', [{ addresses: [{ ip: '10.244.0.1' }, { ip: 'fd00:244::1' }], ports: [{ port: 80 }] }]),
    ],
    frontends: ['fd00:96::1:80/TCP default/web -> fd00:244::1:80'],
  },
  {
    name: 'NodePort and LoadBalancer Services have a clusterIP too',
    objects: [
      service('a', { type: 'NodePort', clusterIP: '10.96.0.1', ports: [{ port: 80 }] }),
      service('b', { type: 'LoadBalancer', clusterIP: '10.96.0.2', ports: [{ port: 80 }] }),
    ],
    frontends: ['10.96.0.1:80/TCP default/a -> ', '10.96.0.2:80/TCP default/b -> '],
  },
  {
    name: 'namespaces keep Services of one name apart',
    objects: [
      WEB,
      service('web', { clusterIP: '10.96.0.2', ports: [{ port: 80 }] }, { namespace: 'shop' }),
      slice('web', 'web-1', {
        metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
        ports: [{ port: 80 }],
        endpoints: [at('10.244.0.1')],
      }),
    ],
    frontends: ['10.96.0.1:80/TCP default/web -> ', '10.96.0.2:80/TCP shop/web -> 10.244.0.1:80'],
  },
];

t.test('Services and endpoints become frontends', async (t) => {
  for (const { name, objects, frontends } of CASES) {
    t.same(frontendTexts(objects), frontends, name);
    t.same(frontendTexts([...objects].reverse()), frontends, `${name}, in any order`);
  }
});

t.test('what the proxy has no use for is listed with its reason', async (t) => {
  const { frontends, ignored, setAside } = frontendsOf({
    setAside: [],
    objects: objectsOf([
      service('a', { type: 'ExternalName', externalName: 'example.org', ports: [{ port: 80 }] }),
      service('b', { clusterIP: 'None', clusterIPs: ['None'], ports: [{ port: 80 }] }),
      service('c', { clusterIP: '', ports: [{ port: 80 }] }),
      service('d', { clusterIP: '10.96.0.1' }),
      slice('b', 'b-1', { endpoints: [at('10.244.0.1')] }),
      slice('d', 'd-1', { ports: [{ name: 'a' }, { name: 'b', port: 1 }] }),
      slice('d', 'd-2', { addressType: 'FQDN', endpoints: [at('example.org')] }),
      slice('e', 'e-1', {}),
      endpoints('d', []),
      endpoints('e', []),
      service('f', { clusterIP: '10.96.0.2', ports: [{ port: 80 }] }),
      endpoints('f', [{ addresses: [{ ip: '10.244.0.1' }], ports: [{}] }]),
    ]),
  });
  t.equal(frontends.length, 1);
  t.same(setAside, []);
  t.same(
    texts(ignored).map((text) => text.replace('test.yaml:1: ', '')),
    [
      'Service default/a: type ExternalName is answered by DNS, not by a proxy',
      'Service default/b: headless (clusterIP None): clients connect to the endpoints themselves',
      'Service default/c: no clusterIP is assigned',
      'Service default/d: no ports',
      'EndpointSlice default/d-1: ports[0]: the port has no number',
      'EndpointSlice default/d-2: addressType: host names are not addresses',
      'EndpointSlice default/e-1: there is no Service default/e',
      'Endpoints default/d: the Service has EndpointSlices, which are used instead',
      'Endpoints default/e: there is no Service default/e',
      'Endpoints default/f: subsets[0].ports[0]: the port has no number',
    ],
  );
});

t.test('an address, port and protocol belong to the oldest Service', async (t) => {
  const spec = (port: number): object => ({
    clusterIP: '10.96.0.1',
    ports: [
      { name: 'a', port: 80 },
      { name: 'b', port },
    ],
  });
  const objects = [
    service('new', spec(83), {}),
    service('middle', spec(82), { creationTimestamp: '2024-01-01T00:00:00Z' }),
    service('old', spec(81), { creationTimestamp: '2024-01-01T00:30:00+01:00' }),
  ];
  const text = objects.map((object) => JSON.stringify(object)).join('\n');
  const { frontends, setAside } = frontendsOf(loadTexts(t, { 'a.json': text }));
  t.match(
    frontends,
    [
      { port: 82, servicePort: { name: 'middle' } },
      { port: 83, servicePort: { name: 'new' } },
      { port: 80, servicePort: { name: 'old' } },
      { port: 81, servicePort: { name: 'old' } },
    ],
    'also when its timestamp has another offset; and the other ports still work',
  );
  t.match(texts(setAside), [
    /^.*a\.json:2: Service default\/middle: spec\.ports\[0\]\.port: 10\.96\.0\.1:80\/TCP is taken by Service default\/old \(.*a\.json:3\)$/,
    /Service default\/new: spec\.ports\[0\]\.port: .* is taken by Service default\/old/,
  ]);

  const sameAge = [service('b', spec(81)), service('a', spec(82))];
  t.match(
    frontendsOf({ objects: objectsOf(sameAge), setAside: [] }).frontends[0],
    { port: 80, servicePort: { name: 'a' } },
    'and of two of one age to the first by name',
  );
});

t.test('what loading has set aside is said together with the rest', async (t) => {
  const { frontends, setAside } = frontendsOf(
    loadTexts(t, { 'a.json': JSON.stringify(WEB), 'b.yaml': 'kind: x' }),
  );
  t.equal(frontends.length, 1);
  t.same(texts(setAside), ['b.yaml:1: x: apiVersion: is missing; it must be text']);
});

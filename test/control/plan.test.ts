/** From objects to the plan, as kube-proxy would have it. */
import t from 'tap';
import { ENDPOINTS_MAX, noLocalEndpoints, planOf } from '../../src/control/compile/plan.js';
import { loadFiles } from '../../src/control/sources/file.js';
import { endpoints, loadTexts, OPTIONS, planOfValues, portTexts, service, slice, texts } from './support.js';

t.test("the seed's Service: one port, three endpoints", async (t) => {
  const plan = planOf(loadFiles(['examples/httpenv.yaml']).objects, OPTIONS);
  const { setAside, ignored, healthChecks } = plan;
  t.same({ setAside, ignored, healthChecks }, { setAside: [], ignored: [], healthChecks: [] });
  t.same(portTexts(plan), [
    '10.103.145.7:8888/TCP default/httpenv -> 10.244.0.3:8888 10.244.1.2:8888 10.244.2.2:8888',
  ]);
});

t.test('the cluster DNS: three ports of one address', async (t) => {
  t.same(portTexts(planOf(loadFiles(['examples/dns.yaml']).objects, OPTIONS)), [
    '10.96.0.10:53/UDP kube-system/kube-dns:dns -> 10.244.0.4:53 10.244.0.5:53',
    '10.96.0.10:53/TCP kube-system/kube-dns:dns-tcp -> 10.244.0.4:53 10.244.0.5:53',
    '10.96.0.10:9153/TCP kube-system/kube-dns:metrics -> 10.244.0.4:9153 10.244.0.5:9153',
  ]);
});

const WEB = service('web', { clusterIP: '10.96.0.1', ports: [{ port: 80, targetPort: 9999 }] });
const at = (address: string, conditions?: object): object => ({ addresses: [address], conditions });

const CASES: readonly { name: string; objects: readonly object[]; ports: readonly string[] }[] = [
  {
    name: 'a Service without endpoints is planned without endpoints',
    objects: [WEB],
    ports: ['10.96.0.1:80/TCP default/web -> '],
  },
  {
    name: 'the port number is the one of the slice, not targetPort',
    objects: [WEB, slice('web', 'web-1', { ports: [{ port: 8080 }], endpoints: [at('10.244.0.1')] })],
    ports: ['10.96.0.1:80/TCP default/web -> 10.244.0.1:8080'],
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
    ports: [
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
    ports: ['10.96.0.1:80/TCP default/web -> 10.2.2.22:22 10.2.2.2:22 10.2.2.3:22'],
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
    ports: ['10.96.0.1:80/TCP default/web -> 10.244.0.1:80 10.244.0.3:80 10.244.0.4:80 10.244.0.5:80'],
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
    ports: ['10.96.0.1:80/TCP default/web -> 10.244.0.1:80'],
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
    ports: [
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
    ports: ['10.96.0.1:80/TCP default/web -> '],
  },
  {
    name: 'two families are two ports, each with the endpoints of its family',
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
    ports: [
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
    ports: ['fd00:96::1:80/TCP default/web -> fd00:244::1:80'],
  },
  {
    name: 'NodePort and LoadBalancer Services have a clusterIP too',
    objects: [
      service('a', { type: 'NodePort', clusterIP: '10.96.0.1', ports: [{ port: 80 }] }),
      service('b', { type: 'LoadBalancer', clusterIP: '10.96.0.2', ports: [{ port: 80 }] }),
    ],
    ports: ['10.96.0.1:80/TCP default/a -> ', '10.96.0.2:80/TCP default/b -> '],
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
    ports: ['10.96.0.1:80/TCP default/web -> ', '10.96.0.2:80/TCP shop/web -> 10.244.0.1:80'],
  },
];

t.test('Services and endpoints become a plan', async (t) => {
  for (const { name, objects, ports } of CASES) {
    t.same(portTexts(planOfValues(objects)), ports, name);
    t.same(portTexts(planOfValues([...objects].reverse())), ports, `${name}, in any order`);
  }
});

t.test('what the proxy has no use for is listed with its reason', async (t) => {
  const external = {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.9',
    externalIPs: ['192.0.2.1', 'fd00::1'],
    loadBalancerSourceRanges: ['::/0', '0.0.0.0/0'],
    healthCheckNodePort: 30_000,
    ports: [{ port: 80 }],
  };
  const ingress = [{ ip: '192.0.2.2', ipMode: 'Proxy' }, { ip: 'fd00::2' }, { hostname: 'lb.example.org' }];
  const elsewhere = { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } };
  const { ports, ignored, setAside } = planOfValues([
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
    service('g', { clusterIP: '10.96.0.3', ports: [{ port: 80 }] }, elsewhere),
    service(
      'h',
      { clusterIP: '10.96.0.4', ports: [{ port: 80 }] },
      { labels: { 'service.kubernetes.io/headless': '' } },
    ),
    { ...service('i', external), status: { loadBalancer: { ingress } } },
  ]);
  t.same(portTexts({ ports }), ['10.96.0.2:80/TCP default/f -> ', '10.96.0.9:80/TCP default/i -> ']);
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
      'Service default/g: metadata.labels: label service.kubernetes.io/service-proxy-name: left to the proxy "other"',
      'Service default/h: metadata.labels: label service.kubernetes.io/headless: not for a proxy',
      'Service default/i: spec.externalIPs[1]: the Service has no IPv6 clusterIP',
      'Service default/i: spec.loadBalancerSourceRanges[0]: the Service has no IPv6 clusterIP',
      'Service default/i: status.loadBalancer.ingress[1]: the Service has no IPv6 clusterIP',
      'Service default/i: status.loadBalancer.ingress[0]: ipMode Proxy: the load balancer answers there itself',
      'Service default/i: spec.healthCheckNodePort: only a Service of type LoadBalancer with externalTrafficPolicy Local is asked for its health',
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
  const plan = planOf(loadTexts(t, { 'a.json': text }).objects, OPTIONS);
  t.same(
    portTexts(plan),
    [
      '10.96.0.1:82/TCP default/middle:b -> ',
      '10.96.0.1:83/TCP default/new:b -> ',
      '10.96.0.1:80/TCP default/old:a -> ',
      '10.96.0.1:81/TCP default/old:b -> ',
    ],
    'also when its timestamp has another offset; and the other ports still work',
  );
  t.match(texts(plan.setAside), [
    /^.*a\.json:2: Service default\/middle: spec\.ports\[0\]\.port: 10\.96\.0\.1:80\/TCP is taken by Service default\/old \(.*a\.json:3\)$/,
    /Service default\/new: spec\.ports\[0\]\.port: .* is taken by Service default\/old/,
  ]);

  const sameAge = [service('b', spec(81)), service('a', spec(82))];
  t.match(
    planOfValues(sameAge).ports[0],
    { servicePort: { port: 80, name: { name: 'a' } } },
    'and of two of one age to the first by name',
  );
});

/** What the Service "new" keeps of its destinations next to "old", and what is said of the others. */
const CONFLICTS: readonly {
  name: string;
  old: object;
  oldStatus?: object;
  new: object;
  newStatus?: object;
  keeps: { externalIPs?: readonly string[]; loadBalancerVIPs?: readonly string[]; nodePort?: number } | null;
  said: readonly string[];
}[] = [
  {
    name: 'one nodePort, in both families: the rest of the Service works',
    old: { type: 'NodePort', clusterIPs: ['10.96.0.1', 'fd00::1'], ports: [{ port: 80, nodePort: 30_080 }] },
    new: { type: 'NodePort', clusterIPs: ['10.96.0.2', 'fd00::2'], ports: [{ port: 80, nodePort: 30_080 }] },
    keeps: { nodePort: 0 },
    said: ['spec.ports[0].nodePort: NodePort 30080/TCP is taken by Service default/old (test.yaml:1)'],
  },
  {
    name: 'one nodePort of two protocols: both work',
    old: { type: 'NodePort', clusterIP: '10.96.0.1', ports: [{ port: 80, nodePort: 30_080 }] },
    new: {
      type: 'NodePort',
      clusterIP: '10.96.0.2',
      ports: [{ port: 80, nodePort: 30_080, protocol: 'UDP' }],
    },
    keeps: { nodePort: 30_080 },
    said: [],
  },
  {
    name: 'one externalIP: the other one and the nodePort work',
    old: { clusterIP: '10.96.0.1', externalIPs: ['192.0.2.1'], ports: [{ port: 80 }] },
    new: {
      type: 'NodePort',
      clusterIP: '10.96.0.2',
      externalIPs: ['192.0.2.2', '192.0.2.1'],
      ports: [{ port: 80, nodePort: 30_080 }],
    },
    keeps: { externalIPs: ['192.0.2.2'], nodePort: 30_080 },
    said: ['spec.externalIPs[1]: 192.0.2.1:80/TCP is taken by Service default/old (test.yaml:1)'],
  },
  {
    name: 'one externalIP, another port: both work',
    old: { clusterIP: '10.96.0.1', externalIPs: ['192.0.2.1'], ports: [{ port: 80 }] },
    new: { clusterIP: '10.96.0.2', externalIPs: ['192.0.2.1'], ports: [{ port: 81 }] },
    keeps: { externalIPs: ['192.0.2.1'] },
    said: [],
  },
  {
    name: "a load balancer's address that is another Service's externalIP",
    old: { clusterIP: '10.96.0.1', externalIPs: ['192.0.2.1'], ports: [{ port: 80 }] },
    new: { type: 'LoadBalancer', clusterIP: '10.96.0.2', ports: [{ port: 80 }] },
    newStatus: { loadBalancer: { ingress: [{ hostname: 'lb' }, { ip: '192.0.2.1' }, { ip: '192.0.2.3' }] } },
    keeps: { loadBalancerVIPs: ['192.0.2.3'] },
    said: [
      'status.loadBalancer.ingress[1].ip: 192.0.2.1:80/TCP is taken by Service default/old (test.yaml:1)',
    ],
  },
  {
    name: "an externalIP that is another Service's clusterIP",
    old: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
    new: { clusterIP: '10.96.0.2', externalIPs: ['10.96.0.1'], ports: [{ port: 80 }] },
    keeps: { externalIPs: [] },
    said: ['spec.externalIPs[0]: 10.96.0.1:80/TCP is taken by Service default/old (test.yaml:1)'],
  },
  {
    name: "a clusterIP that is another Service's address: nothing is left of the port",
    old: { type: 'LoadBalancer', clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
    oldStatus: { loadBalancer: { ingress: [{ ip: '10.96.0.2' }] } },
    new: { type: 'NodePort', clusterIP: '10.96.0.2', ports: [{ port: 80, nodePort: 30_080 }] },
    keeps: null,
    said: ['spec.ports[0].port: 10.96.0.2:80/TCP is taken by Service default/old (test.yaml:1)'],
  },
];

t.test('two Services never have one destination: the older one has it', async (t) => {
  for (const { name, old, oldStatus, new: spec, newStatus, keeps, said } of CONFLICTS) {
    const { ports, setAside } = planOfValues([
      { ...service('new', spec), status: newStatus },
      { ...service('old', old, { creationTimestamp: '2024-01-01T00:00:00Z' }), status: oldStatus },
    ]);
    const found = ports.filter(({ servicePort }) => servicePort.name.name === 'new');
    t.equal(found.length === 0, keeps === null, name);
    for (const { servicePort } of found) t.match(servicePort, keeps, name);
    t.same(
      texts(setAside).map((text) => text.replace('test.yaml:1: Service default/new: ', '')),
      said,
      name,
    );
  }
});

t.test('an address that a Service has twice is served once', async (t) => {
  const given = { clusterIP: '10.96.0.1', externalIPs: ['192.0.2.1', '192.0.2.1'], ports: [{ port: 80 }] };
  const status = { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } };
  const { ports, setAside, ignored } = planOfValues([{ ...service('web', given), status }]);
  t.match(ports, [{ servicePort: { externalIPs: ['192.0.2.1'], loadBalancerVIPs: [] } }]);
  t.same(setAside, []);
  t.same(
    texts(ignored).map((text) => text.replace('test.yaml:1: Service default/web: ', '')),
    [
      'spec.externalIPs[1]: 192.0.2.1:80/TCP is served already',
      'status.loadBalancer.ingress[0].ip: 192.0.2.1:80/TCP is served already',
    ],
  );
});

t.test('100,000 endpoints of one Service: the first 65,536 get flows, and the rest is said', async (t) => {
  const addresses = Array.from(
    { length: 100_000 },
    (_, n) => `10.${128 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`,
  );
  const { ports, setAside } = planOfValues([
    WEB,
    slice('web', 'web-1', {
      ports: [{ port: 80 }],
      endpoints: addresses.map((address) => ({ addresses: [address], nodeName: 'here' })),
    }),
    service('other', { clusterIP: '10.96.0.2', ports: [{ port: 80 }] }),
  ]);
  t.equal(ports.length, 2);
  const web = ports.find(({ servicePort }) => servicePort.name.name === 'web');
  t.equal(web?.endpoints.cluster?.length, ENDPOINTS_MAX);
  t.equal(web?.endpoints.all.length, ENDPOINTS_MAX);
  t.same(texts(setAside), [
    'test.yaml:1: Service default/web: spec.ports[0]: has 100000 endpoints, of which only the first 65536 as sorted get flows',
  ]);
});

t.test('a healthCheckNodePort answers with the ready addresses of this node', async (t) => {
  const spec = {
    type: 'LoadBalancer',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 30_000,
    clusterIPs: ['10.96.0.1', 'fd00::1'],
    ports: [
      { name: 'a', port: 80 },
      { name: 'b', port: 81 },
    ],
  };
  const local = (address: string, conditions?: object): object => ({
    addresses: [address],
    nodeName: 'here',
    conditions,
  });
  const ports = [
    { name: 'a', port: 80 },
    { name: 'b', port: 81 },
  ];
  const { healthChecks } = planOfValues([
    service('web', spec),
    slice('web', 'web-4', {
      ports,
      endpoints: [
        local('10.244.0.1'),
        local('10.244.0.2'),
        local('10.244.0.3', { ready: false, serving: true, terminating: true }),
        { addresses: ['10.244.1.1'], nodeName: 'there' },
      ],
    }),
    slice('web', 'web-6', { addressType: 'IPv6', ports, endpoints: [local('fd00:244::1')] }),
    service('none', { ...spec, healthCheckNodePort: 30_001, clusterIPs: ['10.96.0.2'] }),
    service('cluster', { ...spec, clusterIPs: ['10.96.0.3'], externalTrafficPolicy: 'Cluster' }),
  ]);
  t.same(
    healthChecks,
    [
      { service: 'default/none', nodePort: 30_001, localReadyEndpoints: 0 },
      { service: 'default/web', nodePort: 30_000, localReadyEndpoints: 2 },
    ],
    'two ports of one address count once, and the second family not at all',
  );
});

t.test('one healthCheckNodePort of two Services answers for the older one', async (t) => {
  const spec = (clusterIP: string): object => ({
    type: 'LoadBalancer',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 30_000,
    clusterIP,
    ports: [{ port: 80 }],
  });
  const { healthChecks, setAside } = planOfValues([
    service('a', spec('10.96.0.1')),
    service('b', spec('10.96.0.2'), { creationTimestamp: '2024-01-01T00:00:00Z' }),
  ]);
  t.same(healthChecks, [{ service: 'default/b', nodePort: 30_000, localReadyEndpoints: 0 }]);
  t.same(texts(setAside), [
    'test.yaml:1: Service default/a: spec.healthCheckNodePort: healthCheckNodePort 30000 is taken by Service default/b (test.yaml:1)',
  ]);
});

t.test('ports with endpoints, but none on this node for a policy Local, are counted', async (t) => {
  const there = slice('web', 'web-1', {
    ports: [{ port: 80 }],
    endpoints: [{ addresses: ['10.244.1.1'], nodeName: 'there' }],
  });
  const counted = (spec: object, objects: readonly object[] = [there]): object =>
    noLocalEndpoints(
      planOfValues([service('web', { clusterIP: '10.96.0.1', ports: [{ port: 80 }], ...spec }), ...objects])
        .ports,
    );
  const nodePort = { type: 'NodePort', ports: [{ port: 80, nodePort: 30_080 }] };
  t.same(counted({}), { internal: 0, external: 0 });
  t.same(counted({ internalTrafficPolicy: 'Local' }), { internal: 1, external: 0 });
  t.same(counted({ ...nodePort, externalTrafficPolicy: 'Local' }), { internal: 0, external: 1 });
  t.same(counted({ ...nodePort, externalTrafficPolicy: 'Local', internalTrafficPolicy: 'Local' }), {
    internal: 1,
    external: 1,
  });
  t.same(
    counted({ externalTrafficPolicy: 'Local' }),
    { internal: 0, external: 0 },
    'not reachable from outside',
  );
  t.same(
    counted({ internalTrafficPolicy: 'Local' }, []),
    { internal: 0, external: 0 },
    'no endpoints at all',
  );
});

/** Objects that come and go: the maps follow, and what changed is said. */
import t from 'tap';
import { endpointText } from '../../src/control/model/endpoint.js';
import { localReadyEndpoints } from '../../src/control/model/endpoints-map.js';
import { KubeState } from '../../src/control/model/kube-state.js';
import { healthCheckNodePorts } from '../../src/control/model/service-change-tracker.js';
import type { ObjectReference } from '../../src/control/sources/kube-object.js';
import { endpoints, objectsOf, service, slice } from './support.js';

interface Step {
  readonly does: string;
  readonly upsert?: readonly object[];
  readonly delete?: readonly string[];
  /** Services that are not what they were; absent: none. */
  readonly updated?: readonly string[];
  readonly conntrackCleanup?: boolean;
  /** All Service ports, when they are looked at. */
  readonly ports?: readonly string[];
  /** All endpoints, "l" after those of this node, when they are looked at. */
  readonly endpoints?: Readonly<Record<string, string>>;
}

const reference = (label: string): ObjectReference => {
  const [kind = '', name = ''] = label.split(' ');
  return { kind: kind as ObjectReference['kind'], namespace: 'default', name };
};

const run = (name: string, steps: readonly Step[]): void => {
  t.test(name, async (t) => {
    const state = new KubeState('here');
    for (const { does, upsert = [], delete: gone = [], ...expected } of steps) {
      for (const object of objectsOf(upsert)) state.upsert(object);
      for (const label of gone) state.delete(reference(label));
      const update = state.applyChanges();
      t.same([...update.updatedServices].sort(), expected.updated ?? [], `${does}: updated`);
      t.equal(update.conntrackCleanupRequired, expected.conntrackCleanup ?? false, `${does}: stale flows`);
      if (expected.ports)
        t.same([...state.servicePortMap('IPv4').keys()].sort(), expected.ports, `${does}: ports`);
      if (expected.endpoints) t.same(endpointTexts(state), expected.endpoints, `${does}: endpoints`);
    }
  });
};

const endpointTexts = (state: KubeState): Record<string, string> =>
  Object.fromEntries(
    [...state.endpointsMap('IPv4')].map(([key, endpoints]) => [
      key,
      endpoints.map((endpoint) => endpointText(endpoint) + (endpoint.isLocal ? ' l' : '')).join(', '),
    ]),
  );

const web = (spec: object = {}, metadata: object = {}): object =>
  service('web', { clusterIP: '10.96.0.1', ports: [{ name: 'a', port: 80 }], ...spec }, metadata);
const at = (address: string, nodeName?: string, conditions?: object): object => ({
  addresses: [address],
  nodeName,
  conditions,
});
const webSlice = (name: string, given: readonly object[], rest: object = {}): object =>
  slice('web', name, { ports: [{ name: 'a', port: 80 }], endpoints: given, ...rest });
const udp = { ports: [{ name: 'a', port: 53, protocol: 'UDP' }] };

run('Services come, change and go', [
  { does: 'nothing yet', ports: [] },
  { does: 'one is added', upsert: [web()], updated: ['default/web'], ports: ['default/web:a/TCP'] },
  { does: 'the same again', upsert: [web()], ports: ['default/web:a/TCP'] },
  {
    does: 'a port is renamed, one added',
    upsert: [
      web({
        ports: [
          { name: 'b', port: 80 },
          { name: 'c', port: 81 },
        ],
      }),
    ],
    updated: ['default/web'],
    ports: ['default/web:b/TCP', 'default/web:c/TCP'],
  },
  { does: 'another policy', upsert: [web({ internalTrafficPolicy: 'Local' })], updated: ['default/web'] },
  { does: 'no proxy for it', upsert: [web({ clusterIP: 'None' })], updated: ['default/web'], ports: [] },
  { does: 'back again', upsert: [web()], updated: ['default/web'], ports: ['default/web:a/TCP'] },
  {
    does: "another proxy's label",
    upsert: [web({}, { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } })],
    updated: ['default/web'],
    ports: [],
  },
  { does: 'deleted', delete: ['Service web', 'Service never-there'], ports: [] },
  { does: 'added and deleted at once', upsert: [web()], delete: ['Service web'], ports: [] },
]);

run('slices come, change and go', [
  {
    does: 'two slices, a duplicate among them: the local one wins',
    upsert: [webSlice('s1', [at('10.1.0.1'), at('10.1.0.2')]), webSlice('s2', [at('10.1.0.1', 'here')])],
    updated: ['default/web'],
    endpoints: { 'default/web:a/TCP': '10.1.0.1:80 l, 10.1.0.2:80' },
  },
  { does: 'the same again', upsert: [webSlice('s1', [at('10.1.0.1'), at('10.1.0.2')])] },
  {
    does: 'an endpoint moves to the other slice: it is never missing',
    upsert: [webSlice('s1', [at('10.1.0.1')]), webSlice('s2', [at('10.1.0.1', 'here'), at('10.1.0.2')])],
    updated: ['default/web'],
    endpoints: { 'default/web:a/TCP': '10.1.0.1:80 l, 10.1.0.2:80' },
  },
  {
    does: 'a condition changes',
    upsert: [webSlice('s1', [at('10.1.0.1', undefined, { ready: false })])],
    updated: ['default/web'],
  },
  {
    does: 'one slice goes',
    delete: ['EndpointSlice s2'],
    updated: ['default/web'],
    endpoints: { 'default/web:a/TCP': '10.1.0.1:80' },
  },
  {
    does: 'the port has another number',
    upsert: [webSlice('s1', [at('10.1.0.1')], { ports: [{ name: 'a', port: 81 }] })],
    updated: ['default/web'],
    endpoints: { 'default/web:a/TCP': '10.1.0.1:81' },
  },
  {
    does: 'the slice belongs to another Service',
    upsert: [slice('other', 's1', { ports: [{ port: 80 }], endpoints: [at('10.1.0.1')] })],
    updated: ['default/other', 'default/web'],
    endpoints: { 'default/other/TCP': '10.1.0.1:80' },
  },
  {
    does: "another proxy's label",
    upsert: [
      slice('other', 's1', {
        metadata: {
          name: 's1',
          labels: { 'kubernetes.io/service-name': 'other', 'service.kubernetes.io/service-proxy-name': 'x' },
        },
        ports: [{ port: 80 }],
        endpoints: [at('10.1.0.1')],
      }),
    ],
    updated: ['default/other'],
    endpoints: {},
  },
  { does: 'gone', delete: ['EndpointSlice s1'], endpoints: {} },
]);

run('only UDP flows go stale, and whenever the endpoints are others', [
  { does: 'TCP', upsert: [webSlice('s1', [at('10.1.0.1')])], updated: ['default/web'] },
  { does: 'TCP goes', delete: ['EndpointSlice s1'], updated: ['default/web'] },
  {
    does: 'from none to one',
    upsert: [webSlice('s1', [at('10.1.0.1')], udp)],
    updated: ['default/web'],
    conntrackCleanup: true,
  },
  { does: 'the same again', upsert: [webSlice('s1', [at('10.1.0.1')], udp)] },
  {
    does: 'from one to none',
    delete: ['EndpointSlice s1'],
    updated: ['default/web'],
    conntrackCleanup: true,
  },
]);

run('Endpoints stand in for slices as long as there are none', [
  {
    does: 'Endpoints alone',
    upsert: [
      endpoints('web', [
        { addresses: [{ ip: '10.1.0.1', nodeName: 'here' }], ports: [{ name: 'a', port: 80 }] },
      ]),
    ],
    updated: ['default/web'],
    endpoints: { 'default/web:a/TCP': '10.1.0.1:80 l' },
  },
  {
    does: 'a slice is there too',
    upsert: [webSlice('s1', [at('10.1.0.2')])],
    updated: ['default/web'],
    endpoints: { 'default/web:a/TCP': '10.1.0.2:80' },
  },
  {
    does: 'Endpoints change and are not looked at',
    upsert: [endpoints('web', [{ addresses: [{ ip: '10.1.0.3' }], ports: [{ name: 'a', port: 80 }] }])],
  },
  {
    does: 'the slice is gone',
    delete: ['EndpointSlice s1'],
    updated: ['default/web'],
    endpoints: { 'default/web:a/TCP': '10.1.0.3:80' },
  },
  { does: 'all gone', delete: ['Endpoints web'], updated: ['default/web'], endpoints: {} },
]);

t.test('replacing everything changes what is different', async (t) => {
  const state = new KubeState('here');
  const other = service('other', { clusterIP: '10.96.0.2', ports: [{ port: 80 }] });
  const updated = (values: readonly object[]): string[] => {
    state.replace(objectsOf(values));
    return [...state.applyChanges().updatedServices].sort();
  };
  t.same(updated([web(), webSlice('s1', [at('10.1.0.1')]), other]), ['default/other', 'default/web']);
  t.same(updated([other, webSlice('s1', [at('10.1.0.1')]), web()]), []);
  t.same(updated([web(), webSlice('s1', [at('10.1.0.2')])]), ['default/other', 'default/web']);
  t.equal(state.objects.length, 2);
});

t.test('both families are followed', async (t) => {
  const state = new KubeState('here');
  const dual = web({ clusterIPs: ['10.96.0.1', 'fd00::1'] });
  const sixth = webSlice('s6', [at('fd00::2')], { addressType: 'IPv6' });
  for (const object of objectsOf([dual, webSlice('s4', [at('10.1.0.1')]), sixth])) state.upsert(object);
  state.applyChanges();
  t.same([...state.servicePortMap('IPv6').keys()], ['default/web:a/TCP']);
  t.same(
    (['IPv4', 'IPv6'] as const).map((family) =>
      [...state.endpointsMap(family).values()].flat().map(endpointText),
    ),
    [['10.1.0.1:80'], ['[fd00::2]:80']],
  );
});

t.test('healthCheckNodePorts and the endpoints they answer with', async (t) => {
  const state = new KubeState('here');
  const loadBalancer = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 345 };
  const values = [
    web({
      ...loadBalancer,
      ports: [
        { name: 'a', port: 80 },
        { name: 'b', port: 81 },
      ],
    }),
    service('plain', { clusterIP: '10.96.0.2', ports: [{ port: 80 }] }),
    webSlice(
      's1',
      [
        at('10.1.0.1', 'here'),
        at('10.1.0.2', 'here', { ready: false, serving: true, terminating: true }),
        at('10.1.0.3', 'there'),
        at('10.1.0.4'),
      ],
      {
        ports: [
          { name: 'a', port: 80 },
          { name: 'b', port: 81 },
        ],
      },
    ),
    slice('plain', 's2', { ports: [{ port: 80 }], endpoints: [at('10.1.0.9', 'there')] }),
  ];
  for (const object of objectsOf(values)) state.upsert(object);
  state.applyChanges();
  t.same([...healthCheckNodePorts(state.servicePortMap('IPv4'))], [['default/web', 345]]);
  t.same(
    [...localReadyEndpoints(state.endpointsMap('IPv4'))],
    [['default/web', 1]],
    'two ports of one address count once',
  );
});

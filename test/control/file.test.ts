/** What `loadFiles` reads: every form in which kubectl prints Services and their endpoints. */
import t, { type Test } from 'tap';
import { loadFiles } from '../../src/control/sources/file.js';
import { HTTPENV_ENDPOINTS, labels, loadTexts, texts } from './support.js';

const WEB = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
};
const WEB_ENDPOINTS = {
  apiVersion: 'v1',
  kind: 'Endpoints',
  metadata: { name: 'web', namespace: 'shop' },
  subsets: [{ addresses: [{ ip: '10.244.0.1' }], ports: [{ port: 8080 }] }],
};
const WEB_YAML = `apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
spec:
  clusterIP: 10.96.0.1
  ports:
  - port: 80
`;
const WEB_ENDPOINTS_YAML = `apiVersion: v1
kind: Endpoints
metadata: {name: web, namespace: shop}
subsets:
- addresses: [{ip: 10.244.0.1}]
  ports: [{port: 8080}]
`;
const indented = (text: string, by: string): string => text.replace(/^(?=.)/gm, by);
const item = (text: string): string => `- ${indented(text, '  ').trimStart()}`;
const BOTH = ['Service shop/web', 'Endpoints shop/web'];

t.test("the seed's own `kubectl get endpoints httpenv -o yaml` loads", async (t) => {
  const loaded = loadTexts(t, { 'httpenv.yaml': HTTPENV_ENDPOINTS });
  t.same(labels(loaded), ['Endpoints default/httpenv']);
  t.same(loaded.setAside, []);
  const [httpenv] = loaded.objects;
  t.same(httpenv?.kind === 'Endpoints' && httpenv.subsets, [
    {
      addresses: [
        { family: 'IPv4', address: '10.244.0.3', nodeName: 'epam' },
        { family: 'IPv4', address: '10.244.1.2', nodeName: 'epam-m02' },
        { family: 'IPv4', address: '10.244.2.2', nodeName: 'epam-m03' },
      ],
      notReadyAddresses: [],
      ports: [{ name: '', protocol: 'TCP', port: 8888 }],
    },
  ]);
});

t.test('the examples load without a remark', async (t) => {
  const { objects, setAside, otherKinds } = loadFiles(['examples']);
  t.match(labels({ objects }), [
    'Service kube-system/kube-dns',
    /^EndpointSlice kube-system/,
    'Service default/httpenv',
    'Endpoints default/httpenv',
  ]);
  t.same({ setAside, otherKinds }, { setAside: [], otherKinds: [] });
});

const FORMS: Record<string, Record<string, string>> = {
  'multi-document YAML': { 'a.yaml': `${WEB_YAML}---\n${WEB_ENDPOINTS_YAML}` },
  'YAML with empty documents, comments and markers at both ends': {
    'a.yaml': `# both\n---\n${WEB_YAML}---\n---\n# nothing\n---\n${WEB_ENDPOINTS_YAML}...\n`,
  },
  'a document that follows an end marker without opening itself': {
    'a.yaml': `${WEB_YAML}...\n${WEB_ENDPOINTS_YAML}`,
  },
  'a YAML directive': { 'a.yaml': `%YAML 1.1\n---\n${WEB_YAML}---\n${WEB_ENDPOINTS_YAML}` },
  'a YAML List as kubectl prints it': {
    'a.yaml': `apiVersion: v1\nitems:\n${item(WEB_YAML)}${item(WEB_ENDPOINTS_YAML)}kind: List\nmetadata:\n  resourceVersion: ""\n`,
  },
  'a YAML List with indented items and comments': {
    'a.yaml': `kind: List\napiVersion: v1\nitems: # two\n# first\n\n${indented(item(WEB_YAML), '  ')}\n# second\n${indented(item(WEB_ENDPOINTS_YAML), '  ')}`,
  },
  'a YAML List in flow style': {
    'a.yaml': `{kind: List, apiVersion: v1, items: [\n${JSON.stringify(WEB)}, ${JSON.stringify(WEB_ENDPOINTS)}]}`,
  },
  'a YAML List whose items share an anchor': {
    'a.yaml': `apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: &meta {name: web, namespace: shop}\n  spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n- apiVersion: v1\n  kind: Endpoints\n  metadata:\n    <<: *meta\n`,
  },
  'a List in a List': {
    'a.json': JSON.stringify({
      apiVersion: 'v1',
      kind: 'List',
      items: [WEB, { apiVersion: 'v1', kind: 'List', items: [WEB_ENDPOINTS] }],
    }),
  },
  'Windows line ends and a byte order mark': {
    'a.yaml': `\uFEFF${`${WEB_YAML}---\n${WEB_ENDPOINTS_YAML}`.replaceAll('\n', '\r\n')}`,
  },
  'a JSON List': {
    'a.json': JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [WEB, WEB_ENDPOINTS] }, null, 4),
  },
  'JSON objects one after the other': {
    'a.json': `${JSON.stringify(WEB, null, 4)}\n${JSON.stringify(WEB_ENDPOINTS)}\n`,
  },
  'JSON documents in a YAML stream': {
    'a.yaml': `${JSON.stringify(WEB)}\n---\n${JSON.stringify(WEB_ENDPOINTS, null, 2)}\n`,
  },
  'JSON in a file called .yaml': { 'a.yaml': JSON.stringify(WEB), 'b.yml': JSON.stringify(WEB_ENDPOINTS) },
  "the API server's lists, whose items leave their type out": {
    'a.json': JSON.stringify({
      apiVersion: 'v1',
      kind: 'ServiceList',
      items: [{ ...WEB, kind: undefined, apiVersion: undefined }],
    }),
    'b.yaml': `apiVersion: v1\nkind: EndpointsList\nitems:\n- metadata: {name: web, namespace: shop}\n`,
  },
};

t.test('every form of the same two objects loads the same', async (t) => {
  for (const [form, files] of Object.entries(FORMS)) {
    t.test(form, async (t) => {
      const loaded = loadTexts(t, files);
      t.same(labels(loaded), BOTH);
      t.same(texts(loaded.setAside), []);
      t.match(loaded.objects[0], {
        clusterIPs: [{ address: '10.96.0.1' }],
        ports: [{ name: '', protocol: 'TCP', port: 80 }],
      });
    });
  }
});

t.test('a directory is read as kubectl apply -f reads it', async (t) => {
  const named = (name: string): string => WEB_YAML.replace('name: web', `name: ${name}`);
  const loaded = loadTexts(t, {
    'b.yaml': named('b'),
    'a.yml': named('a'),
    'c.json': JSON.stringify(WEB),
    '.hidden.yaml': named('hidden'),
    'notes.txt': 'not: [yaml',
    ...({ 'sub.yaml': { 'd.yaml': named('d') } } as object),
  });
  t.same(
    labels(loaded),
    ['Service shop/a', 'Service shop/b', 'Service shop/web'],
    'sorted, without hidden files and subdirectories',
  );
  t.same(loaded.setAside, []);
});

t.test('a file that is named twice is read once', async (t) => {
  const directory = t.testdir({ 'a.yaml': WEB_YAML });
  t.same(
    loadFiles([directory, `${directory}/a.yaml`, `${directory}/../${directory.split('/').at(-1)}/a.yaml`])
      .setAside,
    [],
  );
});

t.test('other kinds are counted, not set aside', async (t) => {
  const pod = `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n`;
  const loaded = loadTexts(t, {
    'all.yaml': [
      pod,
      `apiVersion: apps/v1\nkind: Deployment\n`,
      WEB_YAML,
      pod,
      `apiVersion: serving.knative.dev/v1\nkind: Service\n`,
    ].join('---\n'),
  });
  t.same(labels(loaded), ['Service shop/web']);
  t.same(loaded.setAside, []);
  t.same(loaded.otherKinds, [
    { apiVersion: 'apps/v1', kind: 'Deployment', count: 1 },
    { apiVersion: 'v1', kind: 'Pod', count: 2 },
    { apiVersion: 'serving.knative.dev/v1', kind: 'Service', count: 1 },
  ]);
});

t.test('absent fields have the defaults of the API server', async (t) => {
  const loaded = loadTexts(t, {
    'a.yaml': `apiVersion: v1\nkind: Service\nmetadata: {name: a, creationTimestamp: null}\nspec: {ports: [{port: 1}]}\n`,
  });
  t.match(loaded.objects, [
    {
      namespace: 'default',
      type: 'ClusterIP',
      headless: false,
      clusterIPs: [],
      creationTimestamp: null,
      ports: [{ name: '', protocol: 'TCP' }],
    },
  ]);
});

const PLACES: readonly { form: string; text: string; object: number; port: number; missing: number }[] = [
  { form: 'YAML', text: `# first\n${WEB_YAML}`, object: 2, port: 10, missing: 7 },
  {
    form: 'a YAML List',
    text: `apiVersion: v1\nitems:\n${item(WEB_ENDPOINTS_YAML)}${item(WEB_YAML)}kind: List\n`,
    object: 9,
    port: 17,
    missing: 14,
  },
  {
    form: 'a YAML List that is not cut',
    text: `kind: List\napiVersion: v1\nitems: [\n {}, ${indented(JSON.stringify(WEB, null, 1), ' ')}]\n`,
    object: 4,
    port: 15,
    missing: 11,
  },
  { form: 'JSON', text: JSON.stringify(WEB, null, 2), object: 1, port: 12, missing: 8 },
  {
    form: 'a JSON List',
    text: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [{}, WEB] }, null, 2),
    object: 6,
    port: 17,
    missing: 13,
  },
  {
    form: 'the second of two JSON objects',
    text: `\n${JSON.stringify(WEB_ENDPOINTS)}\n${JSON.stringify(WEB, null, 2)}`,
    object: 3,
    port: 14,
    missing: 10,
  },
];

t.test('every object knows the line where it starts, and those of its fields', async (t) => {
  for (const { form, text, ...lines } of PLACES) {
    const { objects } = loadTexts(t as Test, { 'a.yaml': text });
    const origin = objects.find(({ kind }) => kind === 'Service')?.origin;
    t.same(
      {
        object: origin?.line,
        port: origin?.lineOf(['spec', 'ports', 0, 'port']),
        missing: origin?.lineOf(['spec', 'externalName', 'x']),
      },
      lines,
      form,
    );
  }
});

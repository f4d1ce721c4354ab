/** Properties of the way from files to a plan, on random input. */
import { writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { stringify } from 'yaml';
import { Planner, planOf } from '../../src/control/compile/plan.js';
import { loadFiles } from '../../src/control/sources/file.js';
import { JsonPlaces } from '../../src/control/sources/json-places.js';
import {
  endpoints,
  labels,
  OPTIONS,
  objectsOf,
  planOfValues,
  portTexts,
  service,
  slice,
  texts,
} from './support.js';

const protocol = fc.constantFrom('TCP', 'UDP', 'SCTP');
const portName = fc.constantFrom('', 'a', 'b');
const condition = fc.constantFrom(undefined, true, false);
const pick = fc.constantFrom;

interface GivenService {
  name: string;
  ip: string;
  age: number;
  ports: { name: string; protocol: string; port: number }[];
}
interface GivenSlice {
  service: string;
  name: string;
  ports: { name: string; protocol: string; port: number | undefined }[];
  endpoints: {
    ip: string;
    ready: boolean | undefined;
    serving: boolean | undefined;
    terminating: boolean | undefined;
  }[];
}

const givenServices: fc.Arbitrary<GivenService[]> = fc.uniqueArray(
  fc.record({
    name: pick('s1', 's2', 's3', 's4'),
    ip: pick('10.96.0.1', '10.96.0.2', 'fd00::1'),
    age: pick(0, 1),
    ports: fc
      .uniqueArray(fc.record({ name: portName, protocol, port: pick(53, 80) }), {
        selector: ({ name }) => name,
      })
      .map((ports) =>
        ports.filter(
          (port, index) =>
            ports.findIndex((p) => p.port === port.port && p.protocol === port.protocol) === index,
        ),
      ),
  }),
  { selector: ({ name }) => name },
);
const givenSlices: fc.Arbitrary<GivenSlice[]> = fc.uniqueArray(
  fc.record({
    service: pick('s1', 's2', 's3', 's5'),
    name: pick('x1', 'x2', 'x3', 'x4', 'x5', 'x6'),
    ports: fc.array(fc.record({ name: portName, protocol, port: pick(undefined, 8080, 80) }), {
      maxLength: 3,
    }),
    endpoints: fc.array(
      fc.record({
        ip: pick('10.1.0.1', '10.1.0.10', '10.1.0.2', '10.1.0.3'),
        ready: condition,
        serving: condition,
        terminating: condition,
      }),
      { maxLength: 5 },
    ),
  }),
  { selector: ({ name }) => name },
);

/** The same semantics as the model's, as plainly as they can be said. IPv4 only, as the slices above. */
function slowPorts(services: readonly GivenService[], slices: readonly GivenSlice[]): string[] {
  const found: string[] = [];
  const sorted = [...services].sort((a, b) => a.age - b.age || (a.name < b.name ? -1 : 1));
  const taken: string[] = [];
  for (const { name, ip, ports } of sorted) {
    for (const port of ports) {
      const destination = `${ip}:${port.port}/${port.protocol}`;
      if (taken.includes(destination)) continue;
      taken.push(destination);
      const all: { text: string; ready: boolean; fallback: boolean }[] = [];
      for (const given of [...slices].sort((a, b) => (a.name < b.name ? -1 : 1))) {
        for (const slicePort of given.ports) {
          for (const endpoint of given.endpoints) {
            const text = `${endpoint.ip}:${slicePort.port}`;
            const belongs =
              given.service === name && slicePort.name === port.name && slicePort.protocol === port.protocol;
            if (
              !belongs ||
              slicePort.port === undefined ||
              ip.includes(':') ||
              all.some((other) => other.text === text)
            )
              continue;
            const ready = endpoint.ready !== false;
            const serving = endpoint.serving ?? ready;
            all.push({ text, ready, fallback: serving && endpoint.terminating === true });
          }
        }
      }
      const usable = all.some(({ ready }) => ready)
        ? all.filter(({ ready }) => ready)
        : all.filter(({ fallback }) => fallback);
      const servicePort = `default/${name}${port.name === '' ? '' : `:${port.name}`}`;
      found.push(
        `${destination} ${servicePort} -> ${usable
          .map(({ text }) => text)
          .sort()
          .join(' ')}`,
      );
    }
  }
  return found.sort();
}

const asObjects = (services: readonly GivenService[], slices: readonly GivenSlice[]): object[] => [
  ...services.map(({ name, ip, age, ports }) =>
    service(name, { clusterIP: ip, ports }, { creationTimestamp: `2024-01-01T00:00:0${age}Z` }),
  ),
  ...slices.map(({ service, name, ports, endpoints }) =>
    slice(service, name, {
      ports,
      endpoints: endpoints.map(({ ip, ...conditions }) => ({ addresses: [ip], conditions })),
    }),
  ),
];

t.test('the model equals its slow twin, whatever the order of the objects', async (t) => {
  fc.assert(
    fc.property(givenServices, givenSlices, fc.infiniteStream(fc.nat()), (services, slices, random) => {
      const shuffled = asObjects(services, slices)
        .map((object) => ({ object, at: random.next().value }))
        .sort((a, b) => a.at - b.at)
        .map(({ object }) => object);
      t.same(portTexts(planOfValues(shuffled)).sort(), slowPorts(services, slices));
    }),
    { numRuns: 300 },
  );
});

t.test('no destination is planned twice, and none that is asked for is without an owner', async (t) => {
  const address = pick('10.96.0.1', '10.96.0.2', '192.0.2.1', '192.0.2.2', 'fd00::1', 'fd00::2');
  const given = fc.record({
    name: pick('s1', 's2', 's3', 's4'),
    clusterIP: address,
    externalIPs: fc.array(address, { maxLength: 2 }),
    ingress: fc.array(address, { maxLength: 2 }),
    protocol,
    port: pick(53, 80),
    nodePort: pick(0, 30_053, 30_080),
  });
  fc.assert(
    fc.property(fc.uniqueArray(given, { selector: ({ name }) => name }), (services) => {
      const { ports, setAside } = planOfValues(
        services.map(({ name, clusterIP, externalIPs, ingress, ...port }) => ({
          ...service(name, { clusterIP, externalIPs, ports: [port] }),
          status: { loadBalancer: { ingress: ingress.map((ip) => ({ ip })) } },
        })),
      );
      const destinations = ports.flatMap(({ servicePort }) => {
        const { clusterIP, externalIPs, loadBalancerVIPs, port, nodePort, protocol, family } = servicePort;
        const addresses = [clusterIP, ...externalIPs, ...loadBalancerVIPs].map(
          (ip) => `${ip} ${port} ${protocol}`,
        );
        return nodePort === 0 ? addresses : [...addresses, `${family} ${nodePort} ${protocol}`];
      });
      t.equal(new Set(destinations).size, destinations.length);
      for (const { clusterIP, port, protocol } of services)
        t.ok(destinations.includes(`${clusterIP} ${port} ${protocol}`));
      t.equal(services.length - ports.length, setAside.filter(({ field }) => field.endsWith('.port')).length);
    }),
    { numRuns: 300 },
  );
});

t.test('a plan that follows changes is the plan of the objects that are left', async (t) => {
  const step = fc.record({ at: fc.nat(), isThere: fc.boolean(), plans: fc.boolean() });
  const mirror = endpoints('s1', [{ addresses: [{ ip: '10.1.0.9' }], ports: [{ name: 'a', port: 80 }] }]);
  fc.assert(
    fc.property(
      givenServices,
      givenSlices,
      givenSlices,
      fc.array(step, { maxLength: 30 }),
      (services, slices, changed, steps) => {
        const objects = objectsOf([...asObjects(services, slices), ...asObjects([], changed), mirror]);
        const planner = new Planner(OPTIONS);
        for (const { at, isThere, plans } of steps) {
          const object = objects[at % objects.length];
          if (object === undefined) continue;
          if (isThere) planner.state.upsert(object);
          else planner.state.delete(object);
          if (plans) planner.plan();
        }
        t.same(planner.plan(), planOf(planner.state.objects, OPTIONS));
        planner.state.replace(objects);
        t.same(planner.plan(), planOf(planner.state.objects, OPTIONS));
      },
    ),
    { numRuns: 200 },
  );
});

t.test('Endpoints are as good as the slice that mirrors them', async (t) => {
  const addresses = fc.uniqueArray(pick('10.1.0.1', '10.1.0.10', '10.1.0.2', 'fd00::2', 'fd00::10'));
  const ports = fc.array(fc.record({ name: portName, protocol, port: pick(8080, 80) }), { maxLength: 3 });
  fc.assert(
    fc.property(givenServices, addresses, addresses, ports, (services, ready, notReady, ports) => {
      const own = services.map(({ name, ip, ports }) => service(name, { clusterIP: ip, ports }));
      const ofSubset = endpoints('s1', [
        { addresses: ready.map((ip) => ({ ip })), notReadyAddresses: notReady.map((ip) => ({ ip })), ports },
      ]);
      const mirrored = (['IPv4', 'IPv6'] as const).map((addressType) => {
        const isOfFamily = (ip: string): boolean => ip.includes(':') === (addressType === 'IPv6');
        const all = [
          ...ready.map((ip) => ({ ip, ready: true })),
          ...notReady.map((ip) => ({ ip, ready: false })),
        ];
        const given = all
          .filter(({ ip }) => isOfFamily(ip))
          .map(({ ip, ready }) => ({ addresses: [ip], conditions: { ready } }));
        return slice('s1', `s1-${addressType.toLowerCase()}`, { addressType, ports, endpoints: given });
      });
      t.same(portTexts(planOfValues([...own, ofSubset])), portTexts(planOfValues([...own, ...mirrored])));
    }),
    { numRuns: 200 },
  );
});

const VALID = asObjects(
  [
    {
      name: 's1',
      ip: '10.96.0.1',
      age: 0,
      ports: [
        { name: 'a', protocol: 'UDP', port: 53 },
        { name: 'b', protocol: 'TCP', port: 53 },
      ],
    },
    { name: 's2', ip: '10.96.0.2', age: 0, ports: [{ name: '', protocol: 'TCP', port: 80 }] },
  ],
  [
    {
      service: 's1',
      name: 'x1',
      ports: [{ name: 'a', protocol: 'UDP', port: 53 }],
      endpoints: [{ ip: '10.1.0.1', ready: true, serving: true, terminating: false }],
    },
    {
      service: 's2',
      name: 'x2',
      ports: [{ name: '', protocol: 'TCP', port: 80 }],
      endpoints: [{ ip: '10.1.0.2', ready: false, serving: undefined, terminating: undefined }],
    },
  ],
);
/** In kubectl's order: the kind comes last, so that a List that was cut is known by it. */
const LIST = { apiVersion: 'v1', items: VALID, kind: 'List' };
const FILES: Record<string, string> = {
  'a YAML List': stringify(LIST, { indentSeq: false }),
  'YAML documents': VALID.map((object) => stringify(object)).join('---\n'),
  'a JSON List': JSON.stringify(LIST, null, 2),
  'JSON objects': VALID.map((object) => JSON.stringify(object)).join('\n'),
};

t.test(
  'a file with wrong bytes never throws, and each of its objects is loaded or accounted for',
  async (t) => {
    const all = labels({ objects: objectsOf(VALID) });
    const path = `${t.testdir({})}/mutated.yaml`;
    const byte = fc.oneof(
      fc.nat(255),
      pick(...[...'\n\t #"\'{}[]:,-&*!|>%@.\0'].map((char) => char.charCodeAt(0))),
    );
    for (const [form, text] of Object.entries(FILES)) {
      const original = Buffer.from(text);
      const mutations = fc.array(fc.record({ at: fc.nat(original.length - 1), byte }), {
        minLength: 1,
        maxLength: 3,
      });
      fc.assert(
        fc.property(mutations, pick('replace', 'cut'), (mutations, how) => {
          const bytes = Buffer.from(how === 'cut' ? original.subarray(0, mutations[0]?.at) : original);
          if (how === 'replace') for (const { at, byte } of mutations) bytes[at] = byte;
          writeFileSync(path, bytes);
          const loaded = loadFiles([path]);
          const plan = planOf(loaded.objects, OPTIONS);
          const setAside = [...loaded.setAside, ...plan.setAside];
          for (const { line } of [...setAside, ...plan.ignored]) {
            if (!(line >= 0 && line <= text.split('\n').length + 3)) throw new Error(`line ${line}`);
          }
          const found = new Set(labels(loaded));
          const lost = all.filter((label) => !found.has(label));
          const renamed = [...found].filter((label) => !all.includes(label));
          const accounted =
            setAside.length + loaded.otherKinds.reduce((sum, { count }) => sum + count, 0) + renamed.length;
          const isCutBetween = how === 'cut' && (form === 'YAML documents' || form === 'JSON objects');
          if (lost.length > 0 && accounted === 0 && !isCutBetween)
            throw new Error(`${lost.join(', ')} lost: ${texts(setAside).join()}`);
        }),
        { numRuns: 500 },
      );
      t.pass(form);
    }
  },
);

t.test('places in a JSON text are those of the values that JSON.parse finds', async (t) => {
  const spaced = fc.tuple(fc.jsonValue({ maxDepth: 4 }), pick(0, 1, 4, '\t'));
  fc.assert(
    fc.property(spaced, ([value, space]) => {
      const text = JSON.stringify(value, null, space);
      const places = new JsonPlaces(text);
      const visit = (at: unknown, path: readonly (string | number)[]): void => {
        const offset = places.offsetOf(0, path);
        t.same(JSON.parse(text.slice(offset, places.valueEnd(offset))), at);
        if (typeof at === 'object' && at !== null) {
          for (const [key, child] of Object.entries(at))
            visit(child, [...path, Array.isArray(at) ? Number(key) : key]);
        }
      };
      visit(JSON.parse(text), []);
    }),
    { numRuns: 200 },
  );
});

t.test('a text is JSON for the places exactly when it is JSON for JSON.parse', async (t) => {
  const tokens = fc.array(
    pick(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"\\n"',
      '"\\x"',
      '"\\u12"',
      '"',
      '1',
      '01',
      '-',
      '-0.5e3',
      '1.',
      'true',
      'nul',
      'null',
      ' ',
      '\n',
    ),
    { maxLength: 7 },
  );
  fc.assert(
    fc.property(tokens, (tokens) => {
      const text = tokens.join('');
      const isJson = (read: () => void): boolean => {
        try {
          read();
          return true;
        } catch {
          return false;
        }
      };
      const places = new JsonPlaces(text);
      const walks = isJson(() => {
        if (places.skipBlank(places.valueEnd(places.skipBlank(0))) !== text.length)
          throw new Error('more than one value');
      });
      t.equal(
        walks,
        isJson(() => JSON.parse(text)),
        JSON.stringify(text),
      );
    }),
    { numRuns: 2000 },
  );
});

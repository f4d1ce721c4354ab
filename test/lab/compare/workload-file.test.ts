import { t } from 'tap';
import { connectionsOf } from '../../../src/lab/compare/workload.js';
import { readWorkloads } from '../../../src/lab/compare/workload-file.js';

const GOOD = `
name: carts
description: a shop on a Monday
duration: 20s
clients:
- protocol: TCP
  connections: 100
  begin: [0s, 10s]
  addresses: 50
  requests: 3
  think: 100ms
  responseBytes: {pareto: 1.2, from: 500, to: 100000}
- protocol: UDP
  connections: 5
  begin: [1s, 1.5s]
  together: 2
events:
- event: endpoint-crashed
  at: 5s
  endpoint: 1
  noticedAfter: 3s
`;

t.test('a workload is read, with defaults for what it does not say', async (t) => {
  const [workload, ...rest] = readWorkloads('w.yaml', GOOD, 3);
  t.same(rest, []);
  t.same(workload, {
    name: 'carts',
    what: 'a shop on a Monday',
    durationMs: 20_000,
    clients: [
      {
        ...{
          protocol: 'TCP',
          connections: 100,
          addresses: 50,
          beginMs: [0, 10_000],
          requests: 3,
          thinkMs: 100,
        },
        ...{ requestBytes: 200, responseBytes: { pareto: 1.2, from: 500, to: 100_000 }, together: 1 },
      },
      {
        ...{
          protocol: 'UDP',
          connections: 5,
          addresses: 1,
          beginMs: [1000, 1500],
          requests: 1,
          thinkMs: 100,
        },
        ...{ requestBytes: 200, responseBytes: 1000, together: 2 },
      },
    ],
    events: [
      {
        ...{ event: 'endpoint-crashed', atMs: 5000, endpoint: 1, times: 1, everyMs: 1000 },
        ...{ noticedAfterMs: 3000, graceMs: 30_000 },
      },
    ],
  });
});

t.test('several documents are several workloads', async (t) => {
  t.equal(readWorkloads('w.yaml', `${GOOD}---${GOOD}`, 3).length, 2);
});

const MISTAKES: [what: string, from: string, to: string, message: RegExp][] = [
  [
    'a misspelt field',
    'addresses: 50',
    'adresses: 50',
    /^w.yaml:9: clients\[0\].adresses: is no field; did you mean addresses\?$/,
  ],
  ['a field like none', 'addresses: 50', 'colour: red', /^w.yaml:9: clients\[0\].colour: is no field$/],
  [
    'a misspelt field of an event',
    '  noticedAfter',
    '  noticed',
    /^w.yaml:21: events\[0\].noticed: is no field/,
  ],
  [
    'a number without unit',
    'duration: 20s',
    'duration: 20',
    /^w.yaml:4: duration: must be a duration .* not 20$/,
  ],
  [
    'a protocol that is none',
    'protocol: TCP',
    'protocol: SCTP',
    /^w.yaml:6: clients\[0\].protocol: must be TCP or UDP, not "SCTP"$/,
  ],
  [
    'a count of nothing',
    'connections: 100',
    'connections: 0',
    /clients\[0\].connections: must be a whole number from 1 to 100000, not 0$/,
  ],
  [
    'an event that is none',
    'event: endpoint-crashed',
    'event: boom',
    /^w.yaml:18: events\[0\].event: must be one of endpoint-added, .* not "boom"$/,
  ],
  [
    'an endpoint that is not there',
    'endpoint: 1',
    'endpoint: 3',
    /^w.yaml:20: events\[0\].endpoint: must be below 3, the number of endpoints$/,
  ],
  ['an event after the end', 'at: 5s', 'at: 21s', /^w.yaml:19: events\[0\].at: must be within the duration$/],
  [
    'clients that begin after the end',
    'begin: [0s, 10s]',
    'begin: [0s, 30s]',
    /^w.yaml:8: clients\[0\].begin: must be from an earlier/,
  ],
  [
    'sizes upside down',
    'from: 500',
    'from: 500000',
    /clients\[0\].responseBytes: must be a number of bytes, or a mapping/,
  ],
  [
    'no clients',
    'name: carts',
    'name: carts\nclents: []',
    /^w.yaml:3: clents: is no field; did you mean clients\?/,
  ],
  ['what is no YAML', 'name: carts', 'name: "carts', /^w.yaml:\d+: not YAML/],
];

for (const [what, from, to, message] of MISTAKES) {
  t.test(`${what} is named with its line and field`, async (t) => {
    t.throws(() => readWorkloads('w.yaml', GOOD.replace(from, to), 3), { exitCode: 2, message });
  });
}

t.test('sizes are drawn as they are said', async (t) => {
  const [workload] = readWorkloads('w.yaml', GOOD.replace('connections: 100', 'connections: 5000'), 3);
  const sizes = connectionsOf(workload!, 1)
    .flatMap(({ protocol, requests }) => (protocol === 'TCP' ? requests : []))
    .map(({ responseBytes }) => responseBytes)
    .sort((a, b) => a - b);
  t.ok(sizes[0]! >= 500 && sizes.at(-1)! <= 100_000);
  // Of a Pareto distribution with exponent a, half are below from * 2^(1/a); the cut at `to` hardly shows there.
  const median = sizes[sizes.length >> 1]!;
  t.ok(Math.abs(median / (500 * 2 ** (1 / 1.2)) - 1) < 0.05, `${median}`);
});

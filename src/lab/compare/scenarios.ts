/** The lab's own workloads: what Services are really used for, and what happens to their endpoints meanwhile. */
import {
  type ClientGroup,
  EVENT_DEFAULTS,
  type EventName,
  GROUP_DEFAULTS,
  type LabEvent,
  type Workload,
} from './workload.js';

/** Number of endpoints of the lab's own Service. */
export const LAB_ENDPOINTS = 10;

/** @param scale how many times as many clients as with --quick */
export function labWorkloads(scale: number): Workload[] {
  const short: ClientGroup = {
    ...GROUP_DEFAULTS,
    protocol: 'TCP',
    connections: 1000 * scale,
    addresses: 250 * scale,
    beginMs: [0, 20_000],
  };
  const quiet = (name: string, what: string, clients: ClientGroup[]): Workload => ({
    name,
    what,
    durationMs: 40_000,
    clients,
    events: [],
  });
  return [
    quiet('short connections', 'many connections with one request each, four from each client address', [
      short,
    ]),
    quiet('keep-alive', 'few connections that stay open, each with 40 requests', [
      {
        ...short,
        connections: 24 * scale,
        addresses: 24 * scale,
        beginMs: [0, 2000],
        requests: 40,
        thinkMs: 500,
      },
    ]),
    quiet('heavy-tailed', 'response sizes from 1 kB to 500 kB, Pareto with exponent 1.1', [
      {
        ...short,
        connections: 400 * scale,
        addresses: 400 * scale,
        responseBytes: { pareto: 1.1, from: 1000, to: 500_000 },
      },
    ]),
    quiet('one address', 'the short connections again, all clients behind one NAT address', [
      { ...short, addresses: 1 },
    ]),
    quiet('DNS', 'resolvers that ask for A and AAAA at once, each time from a new socket', [
      {
        ...short,
        protocol: 'UDP',
        connections: 600 * scale,
        addresses: 200 * scale,
        requestBytes: 60,
        responseBytes: 120,
        together: 2,
      },
    ]),
    ...happenings().map(([name, what, events]) => ({
      name,
      what,
      durationMs: 60_000,
      clients: mixed(scale),
      events,
    })),
  ];
}

/** Long and short connections and long-lived UDP sockets together, for what happens while they run. */
const mixed = (scale: number): ClientGroup[] => [
  {
    ...GROUP_DEFAULTS,
    protocol: 'TCP',
    connections: 60 * scale,
    addresses: 60 * scale,
    beginMs: [0, 5000],
    requests: 80,
    thinkMs: 500,
  },
  {
    ...GROUP_DEFAULTS,
    protocol: 'TCP',
    connections: 480 * scale,
    addresses: 160 * scale,
    beginMs: [0, 45_000],
  },
  {
    ...GROUP_DEFAULTS,
    protocol: 'UDP',
    connections: 30 * scale,
    addresses: 30 * scale,
    beginMs: [0, 5000],
    requests: 80,
    thinkMs: 500,
    requestBytes: 100,
    responseBytes: 100,
  },
];

const EVENT_AT_MS = 15_000;

function happenings(): [string, string, LabEvent[]][] {
  const at = (event: EventName, given: Partial<LabEvent> = {}): LabEvent[] => [
    { ...EVENT_DEFAULTS, event, atMs: EVENT_AT_MS, endpoint: 3, ...given },
  ];
  return [
    ['endpoint added', 'an eleventh endpoint comes', at('endpoint-added')],
    [
      'endpoint removed',
      'one endpoint is taken out and ends 10 s later',
      at('endpoint-removed', { graceMs: 10_000 }),
    ],
    [
      'endpoint crashed',
      'one endpoint falls silent; the table is without it 10 s later',
      at('endpoint-crashed'),
    ],
    [
      'flapping',
      'one endpoint turns unready and ready again, six times each',
      at('endpoint-flapping', { times: 12 }),
    ],
    [
      'rolling update',
      'all endpoints are replaced, one every 1.5 s, and end 5 s later',
      at('rolling-replacement', { everyMs: 1500, graceMs: 5000 }),
    ],
    [
      'table updates',
      'other Services come and go, five times a second',
      at('table-update', { times: 50, everyMs: 200 }),
    ],
    ['workers killed', 'the workers of the data plane are killed and started again', at('workers-killed')],
  ];
}

/** What is run on real sockets too: seconds of it, since their clock cannot be hurried. */
export function realWorkloads(quick: boolean): Workload[] {
  const short: ClientGroup = {
    ...GROUP_DEFAULTS,
    protocol: 'TCP',
    connections: quick ? 300 : 1000,
    addresses: 100,
    beginMs: [0, quick ? 3000 : 8000],
  };
  const kept: ClientGroup = { ...short, connections: 20, addresses: 20, beginMs: [0, 500], requests: 25 };
  const dns: ClientGroup = { ...short, protocol: 'UDP', connections: 100, addresses: 50, together: 2 };
  const event = (event: EventName): LabEvent => ({
    ...EVENT_DEFAULTS,
    ...{ event, atMs: 1500, endpoint: 2, noticedAfterMs: 1500 },
  });
  const durationMs = short.beginMs[1] + 12_000;
  const workload = (name: string, what: string, clients: ClientGroup[], events: LabEvent[]): Workload => ({
    ...{ name, what, durationMs, clients, events },
  });
  return [
    workload('short connections', 'one request each, and pairs of datagrams', [short, dns], []),
    workload(
      'endpoint removed',
      'one is taken out while connections live on',
      [short, kept],
      [event('endpoint-removed')],
    ),
    workload(
      'endpoint crashed',
      'one falls silent and is taken out 1.5 s later',
      [short, kept],
      [event('endpoint-crashed')],
    ),
  ];
}

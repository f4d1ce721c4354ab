/** Each algorithm, as the endpoints that new connections get. */
import t from 'tap';
import { chiSquareSurvival } from '../../src/lab/statistics.js';
import { ALGORITHM } from '../../src/table/layout.js';
import { type ServiceSpec, TestDataplane } from '../support/dataplane.js';
import type { PacketView } from '../support/packets.js';

const VIP = '10.96.0.1:80';
const ENDPOINTS = ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1'];

const planeOf = (spec: Partial<ServiceSpec>, seed = 1): TestDataplane =>
  new TestDataplane({ [`${VIP}/tcp`]: { endpoints: ENDPOINTS, ...spec } }, { seed, flowCapacity: 1 << 15 });

const connect = (plane: TestDataplane, client: string): PacketView =>
  plane.forward({ from: client, to: VIP, flags: ['SYN'] });
const close = (plane: TestDataplane, syn: PacketView) => {
  plane.packet({ from: syn.to, to: syn.from, flags: ['RST'] });
  plane.sleep(21);
};

/** Connections of `count` different ports of one client, by endpoint. */
function shares(
  plane: TestDataplane,
  count: number,
  client = (i: number) => `10.1.0.1:${i + 1}`,
): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const { to } = connect(plane, client(i));
    counts.set(to, (counts.get(to) ?? 0) + 1);
  }
  return counts;
}

/** The chance that equal probabilities give shares at least this uneven. */
function chance(counts: Map<string, number>, total: number, endpoints: number): number {
  const expected = total / endpoints;
  const observed = [...counts.values(), ...Array(endpoints - counts.size).fill(0)];
  const chiSquare = observed.reduce(
    (sum: number, count: number) => sum + (count - expected) ** 2 / expected,
    0,
  );
  return chiSquareSurvival(chiSquare, endpoints - 1);
}

// With a fixed seed a test is right or wrong for ever; the limit says how strange a seed would have to be.
const STRANGE = 1e-4;

for (const [name, algorithm] of [
  ['the cascade of iptables mode', ALGORITHM.CASCADE],
  ['the uniform choice of nftables mode', ALGORITHM.UNIFORM],
] as const) {
  t.test(`${name} gives equal shares`, async (t) => {
    for (const n of [2, 3, 7, 25]) {
      const endpoints = Array.from({ length: n }, (_, i) => `10.0.1.${i}:1`);
      const counts = shares(planeOf({ algorithm, endpoints }), 20_000);
      t.ok(chance(counts, 20_000, n) > STRANGE, `n=${n}: ${[...counts.values()]}`);
    }
  });
}

t.test('round robin goes in turn, over all clients', async (t) => {
  const plane = planeOf({ algorithm: ALGORITHM.ROUND_ROBIN });
  const order = Array.from({ length: 9 }, (_, i) => connect(plane, `10.1.0.${i}:5`).to);
  t.strictSame(order, [...ENDPOINTS, ...ENDPOINTS, ...ENDPOINTS]);
});

t.test('least connection takes the endpoint with the fewest flows', async (t) => {
  const plane = planeOf({ algorithm: ALGORITHM.LEAST_CONNECTION });
  const syns = Array.from({ length: 6 }, (_, i) => connect(plane, `10.1.0.1:${i + 1}`));
  t.strictSame(shares(plane, 0).size, 0);
  t.strictSame(syns.map(({ to }) => to).sort(), [...ENDPOINTS, ...ENDPOINTS].sort(), 'two each');
  close(plane, syns[1]);
  t.equal(connect(plane, '10.1.0.1:99').to, syns[1].to, 'the one that has lost a flow');
});

t.test('least connection, shortest expected delay and never queue weigh', async (t) => {
  for (const algorithm of [
    ALGORITHM.LEAST_CONNECTION,
    ALGORITHM.SHORTEST_EXPECTED_DELAY,
    ALGORITHM.NEVER_QUEUE,
  ]) {
    const counts = shares(planeOf({ algorithm, weights: [4, 1, 1] }), 600);
    t.ok(Math.abs((counts.get(ENDPOINTS[0]) ?? 0) - 400) <= 3, `${algorithm}: ${[...counts.values()]}`);
  }
});

t.test('shortest expected delay leaves an idle slow endpoint alone, never queue does not', async (t) => {
  const weights = [10, 1, 1];
  const sed = shares(planeOf({ algorithm: ALGORITHM.SHORTEST_EXPECTED_DELAY, weights }), 3);
  t.strictSame([...sed.keys()], [ENDPOINTS[0]]);
  const nq = shares(planeOf({ algorithm: ALGORITHM.NEVER_QUEUE, weights }), 3);
  t.strictSame([...nq.keys()], ENDPOINTS);
});

for (const [name, algorithm] of [
  ['source hash', ALGORITHM.SOURCE_HASH],
  ['Maglev', ALGORITHM.MAGLEV],
] as const) {
  t.test(
    `${name} gives a client the same endpoint for every connection, and clients equal shares`,
    async (t) => {
      const plane = planeOf({ algorithm });
      t.equal(shares(plane, 50).size, 1);
      const counts = shares(plane, 9000, (i) => `10.${2 + (i >> 8)}.${i & 255}.7:1`);
      t.ok(chance(counts, 9000, 3) > STRANGE, `${[...counts.values()]}`);
    },
  );
}

t.test('Maglev: when one of twenty endpoints goes, hardly another client moves', async (t) => {
  const endpoints = Array.from({ length: 20 }, (_, i) => `10.0.2.${i}:1`);
  const clients = Array.from({ length: 3000 }, (_, i) => `10.${2 + (i >> 8)}.${i & 255}.7:1`);
  const choices = (list: string[]) => {
    const plane = planeOf({ algorithm: ALGORITHM.MAGLEV, endpoints: list });
    return clients.map((client) => connect(plane, client).to);
  };
  const before = choices(endpoints);
  const after = choices(endpoints.toSpliced(7, 1));
  const others = before.flatMap((to, i) => (to === endpoints[7] ? [] : [i]));
  const moved = others.filter((i) => before[i] !== after[i]).length;
  t.ok(moved / others.length < 0.03, `${moved} of ${others.length} moved`);
});

t.test('ClientIP affinity', async (t) => {
  t.test(
    'keeps a client with its endpoint until the timeout has passed since its last connection',
    async (t) => {
      const plane = planeOf({ affinitySec: 60 });
      const first = connect(plane, '10.1.0.1:1').to;
      for (let port = 2; port < 30; port++) {
        plane.sleep(59, 59_000);
        t.equal(connect(plane, `10.1.0.1:${port}`).to, first, 'each connection begins the time anew');
      }
      const chosen = new Set<string>();
      for (let port = 100; port < 130; port++) {
        plane.sleep(61, 61_000);
        chosen.add(connect(plane, `10.1.0.1:${port}`).to);
      }
      t.equal(chosen.size, 3, 'a second later it is free');
    },
  );

  t.test('is for one client and one Service port', async (t) => {
    const other = '10.96.0.2:80';
    const spec = { endpoints: Array.from({ length: 50 }, (_, i) => `10.0.3.${i}:1`), affinitySec: 60 };
    const plane = new TestDataplane({ [`${VIP}/tcp`]: spec, [`${other}/tcp`]: spec });
    const chosen = new Set([
      connect(plane, '10.1.0.1:1').to,
      connect(plane, '10.1.0.2:1').to,
      plane.forward({ from: '10.1.0.1:2', to: other, flags: ['SYN'] }).to,
    ]);
    t.ok(chosen.size > 1);
  });

  t.test('lets a client go when its endpoint leaves, and does not bring it back with it', async (t) => {
    const plane = planeOf({ affinitySec: 1000 });
    const first = connect(plane, '10.1.0.1:1').to;
    const rest = ENDPOINTS.filter((endpoint) => endpoint !== first);
    plane.change({ [`${VIP}/tcp`]: { endpoints: rest, affinitySec: 1000 } });
    const second = connect(plane, '10.1.0.1:2').to;
    t.ok(rest.includes(second));
    plane.change({ [`${VIP}/tcp`]: { endpoints: ENDPOINTS, affinitySec: 1000 } });
    for (let port = 3; port < 30; port++) t.equal(connect(plane, `10.1.0.1:${port}`).to, second);
  });

  t.test('holds for many clients at a time', async (t) => {
    const plane = planeOf({ affinitySec: 1000 });
    const clients = Array.from({ length: 500 }, (_, i) => `10.5.${i >> 8}.${i & 255}`);
    const first = clients.map((client) => connect(plane, `${client}:1`).to);
    const second = clients.map((client) => connect(plane, `${client}:2`).to);
    t.strictSame(second, first);
  });
});

t.test('the same seed makes the same choices', async (t) => {
  const choices = (seed: number) => {
    const plane = planeOf({ algorithm: ALGORITHM.CASCADE }, seed);
    return Array.from({ length: 200 }, (_, i) => connect(plane, `10.1.0.1:${i + 1}`)).map(
      ({ from, to }) => `${from} ${to}`,
    );
  };
  t.strictSame(choices(42), choices(42));
  t.notSame(choices(42), choices(43));
});

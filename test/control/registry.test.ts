import t from 'tap';
import { Registry } from '../../src/control/compile/registry.js';
import { ENDPOINT_STATE } from '../../src/table/layout.js';

const turns = () => new Int32Array(new SharedArrayBuffer(64));
const named = (endpoint: string) => ({ servicePort: 'default/web', protocol: 'TCP', endpoint });

t.test('an endpoint keeps its id, also while it is away, and in the next life of the process', async (t) => {
  const registry = new Registry(turns(), 1);
  const [a, b] = ['10.0.0.1:80', '10.0.0.2:80'].map((endpoint) => registry.idOf(named(endpoint)));
  t.not(a, b);
  t.equal(registry.idOf(named('10.0.0.1:80')), a);
  t.not(registry.idOf({ ...named('10.0.0.1:80'), protocol: 'UDP' }), a);
  registry.rowOf('default/web/TCP');
  registry.rowOf('default/dns/UDP');
  const next = new Registry(turns(), 2, JSON.parse(JSON.stringify(registry.snapshot())));
  t.equal(next.idOf(named('10.0.0.2:80')), b);
  t.equal(next.rowOf('default/dns/UDP'), registry.rowOf('default/dns/UDP'));
});

t.test('the state of an endpoint says what becomes of its flows', async (t) => {
  const registry = new Registry(turns(), 1);
  const ids = ['kept', 'drained', 'reset', 'stays'].map((name) => registry.idOf(named(name)));
  const [kept, drained, reset, stays] = ids;
  registry.beginTable();
  registry.serves(kept, { kind: 'keep' });
  registry.serves(drained, { kind: 'drain', seconds: 30 });
  registry.serves(reset, { kind: 'reset' });
  registry.serves(stays, { kind: 'reset' });
  t.ok([...registry.states(100)].every((state) => state === ENDPOINT_STATE.LIVE));

  for (const nowSec of [200, 300]) {
    registry.beginTable();
    registry.serves(stays, { kind: 'reset' });
    const states = registry.states(nowSec);
    t.strictSame(
      ids.map((id) => states[id]),
      [ENDPOINT_STATE.GONE, 230, 200, ENDPOINT_STATE.LIVE],
      'counted from when it went',
    );
  }

  registry.beginTable();
  registry.serves(reset, { kind: 'reset' });
  t.equal(registry.states(400)[reset], ENDPOINT_STATE.LIVE, 'it came back');
  registry.beginTable();
  t.equal(registry.states(500)[reset], 500);
});

t.test('userspace turns are shuffled when the set changes, and then begin anew', async (t) => {
  const shared = turns();
  const registry = new Registry(shared, 7);
  const members = Array.from({ length: 20 }, (_, i) => `10.0.0.${i}:80`);
  const order = registry.orderOf('set', 3, members);
  t.strictSame(
    [...order].sort((a, b) => a - b),
    members.map((_, i) => i),
    'everyone once',
  );
  t.notSame(
    order,
    members.map((_, i) => i),
    'shuffled',
  );
  shared[3] = 5;
  t.equal(registry.orderOf('set', 3, members), order, 'the same set keeps its order');
  t.equal(shared[3], 5, 'and its turn');
  t.notSame(registry.orderOf('set', 3, members.slice(1)), order.slice(1));
  t.equal(shared[3], 0);
  t.strictSame(new Registry(turns(), 7).orderOf('set', 3, members), order, 'the same seed, the same order');
});

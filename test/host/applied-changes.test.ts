/** Which changes are made and taken back when the plan changes, and that the journal is always ahead of the host. */
import t from 'tap';
import { AppliedChanges, undoAtStop } from '../../src/host/applied-changes.js';
import { type Change, commandText, ip, type runCommands } from '../../src/host/change.js';
import { Failure } from '../../src/shared/failure.js';

/** A host of memory: what was run on it, and what the journal said at each moment. */
class FakeHost {
  readonly ran: string[] = [];
  /** Commands that fail. */
  readonly fails = new Set<string>();
  removed = false;
  private journal: string[] = [];

  readonly state = {
    write: (changes: readonly Change[]): void => {
      this.journal = undoAtStop(changes).map(commandText);
      this.ran.push(`journal: ${this.journal.join(', ')}`);
    },
    remove: (): void => {
      this.removed = true;
    },
  };

  readonly run: typeof runCommands = (commands, mayFail = () => false) => {
    const failures = [];
    for (const [index, command] of commands.entries()) {
      const text = commandText(command);
      this.ran.push(text);
      if (!this.fails.has(text)) continue;
      failures.push({ index, reason: 'no' });
      if (!mayFail(index)) break;
    }
    return failures;
  };

  /** What happened since the last call. */
  since(): string[] {
    return this.ran.splice(0);
  }
}

const change = (name: string, rest: Partial<Change> = {}): Change => ({
  apply: ip(`add ${name}`),
  undo: ip(`del ${name}`),
  ...rest,
});
const route = (name: string): Change => change(name, { goesWithDevice: true, ofService: true });
const lingering = (name: string): Change => change(name, { lingers: true, ofService: true });

const device = change('device');

t.test(
  'what takes a change back is in the journal before it is made, and until it is taken back',
  async (t) => {
    const host = new FakeHost();
    const applied = new AppliedChanges(host.state, host.run);
    t.strictSame(applied.add([device, change('rule')]), { made: 2, problems: [] });
    t.strictSame(host.since(), ['journal: ip del rule, ip del device', 'ip add device', 'ip add rule']);
    t.strictSame(applied.removeOthers([device]), { removed: 1, problems: [] });
    t.strictSame(host.since(), ['ip del rule', 'journal: ip del device']);
    t.strictSame(applied.undo(), []);
    t.strictSame(host.since(), ['ip del device']);
    t.equal(host.removed, true, 'the journal goes last');
  },
);

t.test('only the difference is made and taken back', async (t) => {
  const host = new FakeHost();
  const applied = new AppliedChanges(host.state, host.run);
  applied.add([device, route('a'), route('b')]);
  host.since();
  const wanted = [device, route('b'), route('c')];
  t.strictSame(applied.add(wanted), { made: 1, problems: [] });
  t.strictSame(applied.removeOthers(wanted), { removed: 1, problems: [] });
  t.strictSame(
    host.since().filter((text) => !text.startsWith('journal')),
    ['ip add c', 'ip del a'],
  );
  t.strictSame(applied.add(wanted), { made: 0, problems: [] });
  t.strictSame(applied.removeOthers(wanted), { removed: 0, problems: [] });
  t.strictSame(host.since(), [], 'nothing to do: not even the journal is written');
  applied.undo();
  t.strictSame(host.since(), ['ip del device'], 'routes go with it');
});

t.test(
  'what a killed process left is asked for again, gone on with, and taken back when nobody wants it',
  async (t) => {
    const host = new FakeHost();
    const applied = new AppliedChanges(host.state, host.run);
    host.fails.add('ip add device'); // it is there already
    applied.resume([device, route('a'), route('b')]);
    t.strictSame(host.since(), ['journal: ip del device', 'ip add device', 'ip add a', 'ip add b']);
    const wanted = [device, route('b'), route('c')];
    t.strictSame(applied.add(wanted), { made: 1, problems: [] });
    t.strictSame(applied.removeOthers(wanted), { removed: 1, problems: [] });
    t.strictSame(
      host.since().filter((text) => !text.startsWith('journal')),
      ['ip add c', 'ip del a'],
    );
    applied.undo();
    t.strictSame(host.since(), ['ip del device']);
  },
);

t.test('one Service that fails is told and tried again; the others are served', async (t) => {
  const host = new FakeHost();
  const applied = new AppliedChanges(host.state, host.run);
  host.fails.add('ip add a');
  const wanted = [device, route('a'), route('b')];
  t.strictSame(applied.add(wanted), { made: 2, problems: ['`ip add a` failed: no'] });
  t.strictSame(
    applied.list().map(({ apply }) => commandText(apply)),
    ['ip add device', 'ip add b'],
  );
  host.fails.clear();
  t.strictSame(applied.add(wanted), { made: 1, problems: [] });
});

t.test('when what all need fails, what came before it is taken back', async (t) => {
  const host = new FakeHost();
  const applied = new AppliedChanges(host.state, host.run);
  host.fails.add('ip add rule');
  t.throws(
    () => applied.add([device, change('rule'), route('a')]),
    new Failure(4, '`ip add rule` failed: no; what came before it is taken back'),
  );
  t.strictSame(host.since(), [
    'journal: ip del rule, ip del device',
    'ip add device',
    'ip add rule',
    'ip del device',
    'journal: ',
  ]);
  t.equal(host.removed, true);
});

t.test('while it runs, such a failure leaves what was in force', async (t) => {
  const host = new FakeHost();
  const applied = new AppliedChanges(host.state, host.run);
  applied.add([device]);
  host.fails.add('ip add rule');
  t.throws(() => applied.add([device, change('rule')]), Failure);
  t.equal(host.removed, false);
  t.strictSame(applied.undo(), []);
});

t.test('rules that living flows may need stay, up to a bound; what stays for good stays', async (t) => {
  const host = new FakeHost();
  const applied = new AppliedChanges(host.state, host.run);
  const many = Array.from({ length: 300 }, (_, i) => lingering(`rule-${i}`));
  const forGood = change('forwarding', { stays: true });
  applied.add([device, forGood, ...many]);
  t.strictSame(applied.removeOthers([device]), { removed: 44, problems: [] }, 'all but 256');
  t.strictSame(host.ran.at(-2), 'ip del rule-0', 'the oldest');
  t.strictSame(applied.removeOthers([device]), { removed: 0, problems: [] });
  t.strictSame(
    applied.add([device, lingering('rule-299')]),
    { made: 0, problems: [] },
    'wanted again: still there',
  );
  host.since();
  applied.undo();
  t.equal(host.since().length, 258, 'at the stop everything goes');
});

t.test('what cannot be taken back is said, and the rest is taken back', async (t) => {
  const host = new FakeHost();
  const applied = new AppliedChanges(host.state, host.run);
  applied.add([device, change('rule')]);
  host.fails.add('ip del rule');
  t.strictSame(applied.undo(), ['`ip del rule` failed: no']);
  t.match(host.since().at(-1), 'ip del device');
});

t.test('routes and rules that somebody took away are made again', async (t) => {
  const host = new FakeHost();
  const applied = new AppliedChanges(host.state, host.run);
  const named = (name: string): Change => ({ apply: ip(`${name} add x`), undo: ip(`${name} del x`) });
  applied.add([named('tuntap'), named('route'), named('rule')]);
  host.since();
  host.fails.add('ip route add x');
  host.fails.add('ip rule add x');
  t.equal(applied.repair(), 0, 'File exists');
  t.strictSame(host.since(), ['ip route add x', 'ip rule add x'], 'the device is not made twice');
  host.fails.delete('ip rule add x');
  t.equal(applied.repair(), 1);
});

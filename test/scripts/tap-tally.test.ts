import t from 'tap';
import { type NamedTest, tally, withoutTap } from '../../scripts/tap-tally.js';

const brief = (tap: string): string[] =>
  tally(tap, 'file').map(({ outcome, name, reason }: NamedTest) =>
    [outcome, name, reason].filter(Boolean).join(' | '),
  );

t.test('the leaves are the tests', async (t) => {
  const tap = `TAP version 14
# Subtest: outer
    # Subtest: inner
        ok 1 - first assertion
        ok 2 - second assertion
        1..2
    ok 1 - inner
    ok 2 - beside the block
    1..2
ok 1 - outer
ok 2 - at the top level
1..2
`;
  t.same(brief(tap), ['passed | outer › inner', 'passed | outer', 'passed | file']);
});

t.test('a skip keeps its reason', async (t) => {
  const tap = `TAP version 14
ok 1 - whole test # SKIP no privilege
ok 2 - later # TODO
# Subtest: partly
    ok 1 - shown
    ok 2 - not shown # SKIP needs root
    1..2
ok 3 - partly
1..3
`;
  t.same(brief(tap), [
    'skipped | whole test | no privilege',
    'skipped | later | todo',
    'skipped | partly | needs root',
  ]);
  t.same(brief('TAP version 14\n1..0 # no namespaces here\n'), ['skipped | file | no namespaces here']);
});

t.test('a failure says where and shows the difference', async (t) => {
  const tap = `TAP version 14
# Subtest: sums
    not ok 1 - should be equal
      ---
      diff: |
        --- expected
        +++ actual
        -3
        +2
      at:
        fileName: test/sums.test.ts
        lineNumber: 4
        columnNumber: 5
      ...
    1..1
not ok 1 - sums
1..1
`;
  const [test] = tally(tap, 'file');
  t.equal(test?.outcome, 'failed');
  t.same(test?.failures, ['should be equal (test/sums.test.ts:4:5)\n--- expected\n+++ actual\n-3\n+2']);
});

t.test('what was cut short has failed', async (t) => {
  t.same(brief('TAP version 14\n# Subtest: crashes\n    ok 1 - begun\n'), ['failed | crashes']);
  t.same(brief('TAP version 14\n# Subtest: late\n    ok 1 - one\n    1..1\nnot ok 1 - late\n1..1\n'), [
    'failed | late',
  ]);
  t.same(brief('TAP version 14\nBail out! no\n'), ['failed | file']);
});

t.test('nothing is no test', async (t) => {
  t.same(brief(''), []);
  t.same(brief('TAP version 14\n1..0 # no tests found\n'), []);
  t.equal(withoutTap('TAP version 14\nhello\nok 1 - a\n1..1\n'), 'hello\n');
});

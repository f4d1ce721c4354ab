import { readFileSync } from 'node:fs';
import t from 'tap';
import { PAGE, pageOf, problemsOf, testsIn, testsOfRepository } from '../../scripts/rfc-page.js';

t.test('docs/CONFORMANCE.md is what the tests say; if not, `npm run rfc-page` writes it', async (t) => {
  const shown = testsOfRepository();
  t.strictSame(problemsOf(shown), []);
  t.equal(readFileSync(PAGE, 'utf8'), pageOf(shown));
});

t.test('a yes without a test, and a test of nothing, are found', async (t) => {
  const [first, ...others] = testsOfRepository().filter(
    ({ requirement }) => requirement === 'RFC 4787 REQ-14',
  );
  t.ok(first);
  const rest = testsOfRepository().filter((test) => test !== first && !others.includes(test));
  const without = rest.filter(({ requirement }) => requirement !== 'RFC 4787 REQ-14');
  t.strictSame(problemsOf(without), ['RFC 4787 REQ-14: no test shows it']);
  const wrong = { file: 'a/b', name: 'c', requirement: 'RFC 4787 REQ-99' };
  t.strictSame(problemsOf([...testsOfRepository(), wrong]), ['a/b: there is no RFC 4787 REQ-99']);
});

t.test(
  'marks are read from the source: names of cases, with an ellipsis for what is filled in',
  async (t) => {
    const text = [
      "t.test('one', shows('RFC 1 A', 'RFC 1 B'), async (t) => {});",
      `t.test(\`two \${x} and \${y}\`, shows("RFC 1 C"), async (t) => {});`,
      "t.test('three', async (t) => { t.test(name, async (t) => { t.test('four', shows('RFC 1 D'), run); }); });",
      "other.test('five', shows('RFC 1 E'), run);",
    ].join('\n');
    t.strictSame(
      testsIn('a/b', text).map(({ name, requirement }) => `${name}: ${requirement}`),
      ['one: RFC 1 A', 'one: RFC 1 B', 'two … and …: RFC 1 C', 'three › … › four: RFC 1 D'],
    );
    t.throws(() => testsIn('a/b', "t.test(name, shows('RFC 1 A'), run);"), /not spelt out/);
  },
);

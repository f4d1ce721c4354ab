/** The conformance runner: on its own small data, on broken data, and on kube-proxy's tables where they are at hand. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { outcomeOf } from '../../src/conformance/check.js';
import { packetFlowChecks } from '../../src/conformance/packet-flows.js';
import { Plane } from '../../src/conformance/plane.js';
import type { FlowVerdict, Sender } from '../../src/conformance/plane-types.js';
import { failedCount, type Report, reportLines, runFolder } from '../../src/conformance/run.js';
import { RuleTrace } from '../export/rule-trace.js';

// Tests run in the repository's root.
const SMALL = 'test/conformance/fixtures/small';
const BROKEN = 'test/conformance/fixtures/broken';
const MAIN = 'dist/src/conformance/main.js';
/** kube-proxy's own tables lie beside the checkout, where they do. */
const SHARED = process.env['FLOWPIN_CONFORMANCE_DIR'] ?? resolve('../shared/conformance');
const whyNotShared = existsSync(SHARED) ? false : `there is no folder ${SHARED}`;

/** Of the failures only: a line each. */
const failures = (report: Report): string[] =>
  reportLines(report).filter((line) => /^(FAILED| {2})/.test(line));

t.test('its own data: everything passes', async (t) => {
  const report = runFolder(SMALL, Plane);
  t.same(failures(report), []);
  t.same(
    report.files.map(({ file }) => file),
    ['packet-flows.json', 'topology.json', 'chain-names.json', 'extra-facts.json', 'dumps/index.json'],
  );
});

t.test("kube-proxy's tables: everything passes", { skip: whyNotShared }, async (t) => {
  const report = runFolder(SHARED, Plane);
  t.same(failures(report), []);
  t.equal(failedCount(report), 0);
});

/** The flows of iptables mode through the exported rules: what the text says is what the workers do. */
for (const [name, folder, skip] of [
  ['its own data', SMALL, false],
  ["kube-proxy's tables", SHARED, whyNotShared],
] as const) {
  t.test(`${name}: the exported rules decide the same`, { skip }, async (t) => {
    const data = JSON.parse(readFileSync(join(folder, 'packet-flows.json'), 'utf8')) as {
      config: { proxyMode: string };
    }[];
    const cases = data.filter(({ config }) => config.proxyMode === 'iptables');
    const outcomes = packetFlowChecks(cases, RuleTrace).map(outcomeOf);
    t.ok(outcomes.length > 0);
    t.same(
      outcomes.filter(({ passed }) => !passed),
      [],
    );
  });
}

t.test('wrong expectations and broken files are failures; unknown files are skipped', async (t) => {
  const report = runFolder(BROKEN, Plane);
  const lines = reportLines(report);
  t.match(lines, [
    /^FAILED packet-flows\.json: the file$/,
    /^ {2}expected data of the known form$/,
    /^ {2}actual {3}/,
    /^FAILED topology\.json: one endpoint, said to be none$/,
    /^ {2}expected .*"clusterEndpoints":\[\]/,
    /^ {2}actual {3}.*"clusterEndpoints":\["10\.32\.0\.1:80"\]/,
    /^FAILED extra-facts\.json: probability: 1\/2$/,
    /^ {2}expected 0\.6000000000$/,
    /^ {2}actual {3}0\.5000000000$/,
    /^FAILED dumps\/index\.json: missing\.txt$/,
    /^ {2}expected a file with the text$/,
    /^ {2}actual {3}failed: the file is missing$/,
    /^skipped other\.json: nothing is known of such a file$/,
    /^skipped extra-facts\.json: colours: nothing is known of it$/,
    /^packet-flows\.json: 0 passed, 1 failed$/,
    /^topology\.json: 0 passed, 1 failed$/,
    /^extra-facts\.json: 1 passed, 1 failed$/,
    /^dumps\/index\.json: 0 passed, 1 failed$/,
    /^1 passed, 4 failed$/,
  ]);
  t.equal(lines.length, 19);
});

t.test('an endpoint too many, one too few, an unsteady verdict', async (t) => {
  const flow = { name: 'f', sourceIP: '10.32.9.9', destIP: '10.96.0.10', protocol: 'TCP', destPort: 80 };
  const expect = { verdict: 'DNAT', endpoints: ['10.32.0.1:80', '10.32.0.2:80'], masquerade: false };
  const data = [{ id: 'c', config: {}, services: [], endpointSlices: [], flows: [{ ...flow, expect }] }];
  const outcome = (verdicts: readonly FlowVerdict[]) => {
    let turn = 0;
    class Taking implements Sender {
      send = (): FlowVerdict => verdicts[turn++ % verdicts.length];
    }
    return packetFlowChecks(data, Taking).map(outcomeOf)[0];
  };
  const dnat = (last: number, masquerade = false): FlowVerdict => ({
    verdict: 'DNAT',
    endpoint: `10.32.0.${last}:80`,
    masquerade,
  });
  t.match(outcome([dnat(1), dnat(2)]), { passed: true });
  t.match(outcome([dnat(1)]), { passed: false });
  t.match(outcome([dnat(1), dnat(3)]), { passed: false });
  t.match(outcome([dnat(1), dnat(2, true)]), { passed: false }, 'masqueraded when one of them is');
  t.match(outcome([dnat(1), { verdict: 'DROP' }]), { passed: false, actual: '{"verdict":"DNAT or DROP"}' });
});

t.test('exit codes', async (t) => {
  const run = (...args: string[]) => spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  const broken = run(BROKEN);
  t.equal(broken.status, 1);
  t.match(broken.stdout, /\n1 passed, 4 failed\n$/);
  const good = run(SMALL);
  t.equal(good.status, 0, good.stdout);
  t.match(good.stdout, /\n\d+ passed, 0 failed\n$/);
  for (const args of [
    [],
    ['a', 'b'],
    ['no/such/folder'],
    ['test/conformance/fixtures'],
    [`${SMALL}/topology.json`],
  ]) {
    const { status, stdout, stderr } = run(...args);
    t.equal(status, 2, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /^conformance: [^\n]*\n$/);
  }
});

/** `flowpin lab` as it is run. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { t } from 'tap';
import type { Comparison } from '../../../src/lab/compare/compare.js';
import { composeFirstPacket } from '../../../src/wire/compose.js';
import { VNET } from '../../../src/wire/virtio-net.js';
import { pcapOf, RAW } from '../../support/recordings.js';

const directory = mkdtempSync(join(tmpdir(), 'flowpin-lab-'));
t.teardown(() => rmSync(directory, { recursive: true }));

const WORKLOAD = join(directory, 'workload.yaml');
writeFileSync(
  WORKLOAD,
  'name: carts\nduration: 20s\nclients:\n- {protocol: TCP, connections: 60, addresses: 30, begin: [0s, 8s]}\n',
);

function lab(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['dist/src/cli/main.js', 'lab', ...args], { encoding: 'utf8' });
}

t.test('own Services and an own workload, as a table, as JSON and as a page', async (t) => {
  const own = ['-f', 'examples/httpenv.yaml', '--workload', WORKLOAD];
  const table = lab(...own);
  t.equal(table.status, 0, table.stderr);
  t.match(table.stdout, '(10.103.145.7:8888/tcp), 3 endpoints, seed 1');
  t.match(table.stdout, /^CARTS .*\(60 connections\)$/m);
  t.equal(table.stderr, '', 'no progress where there is no terminal');
  t.notMatch(table.stdout, '\x1b');

  const page = join(directory, 'lab.html');
  const json = lab(...own, '--json', '--html', page);
  const comparison = JSON.parse(json.stdout) as Comparison;
  t.same(comparison.endpoints, ['10.244.0.3', '10.244.1.2', '10.244.2.2']);
  t.equal(comparison.scenarios[0]?.rows.length, comparison.strategies.length);
  t.match(readFileSync(page, 'utf8'), '<h2>Carts</h2>');
});

t.test('a recording alone makes its own Service', async (t) => {
  const file = join(directory, 'trace.pcap');
  const first = { dst: '203.0.113.9', dport: 443, protocol: 'TCP' } as const;
  const syn = (i: number) =>
    composeFirstPacket({ ...first, src: `192.0.2.${1 + (i % 200)}`, sport: 1024 + i });
  const captured = Array.from({ length: 300 }, (_, i) => ({ ms: i, packet: syn(i).subarray(VNET.SIZE) }));
  writeFileSync(file, pcapOf(captured, RAW));
  const { status, stdout, stderr } = lab('--trace', file, '--json');
  t.equal(status, 0, stderr);
  const { targets, scenarios } = JSON.parse(stdout) as Comparison;
  t.same(targets, [{ protocol: 'TCP', address: '203.0.113.9:443' }]);
  t.equal(scenarios[0]?.rows[1]?.measures.connections, 300);
});

t.test('what is wrong is said in one line with exit code 2', async (t) => {
  const wrong: [args: string[], message: RegExp][] = [
    [['--service', 'a/b'], /--service names one of the Services of -f/],
    [['-f', 'examples/httpenv.yaml', '--service', 'a/b'], /no Service a\/b with an IPv4 ClusterIP/],
    [['--trace', 'package.json'], /--trace package.json is neither pcap nor pcapng/],
    [['--trace', join(directory, 'none')], /cannot be read: ENOENT/],
    [['--workload', 'package.json'], /package.json:\d+: /],
    [['--seed', 'x'], /whole number from 0/],
  ];
  for (const [args, message] of wrong) {
    const { status, stderr } = lab(...args);
    t.equal(status, 2, args.join(' '));
    t.match(stderr, message);
  }
});

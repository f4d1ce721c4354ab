// UDP datagrams longer than the links carry, both families: fragmented by the client's stack on the way there, and by the
// endpoint's on the way back. The device itself has a large MTU, but what is forwarded comes as it was sent.

import { STATE_DIR, startUp } from '../../src/lab/flowpin-up.js';
import { labScript } from '../../src/lab/httpenv.js';
import { readCounters } from '../../src/observe/counters.js';
import { shows } from '../support/requirements.js';
import { at, buildNodeportLab, FAMILIES, udp, web, writeManifest } from './nodeport-lab.js';
import { tapInSandbox } from './support.js';

const t = await tapInSandbox();
const lab = await buildNodeportLab();
t.teardown(() => lab.close());
const up = await startUp(lab.router, {
  files: [writeManifest(web())],
  args: ['--hostname-override', 'this-node'],
});

const SIZES = [1472, 1473, 4000, 60_000];

for (const { family, clusterIP, externalIP, loadBalancerVIP } of FAMILIES) {
  t.test(
    `${family}: datagrams of ${SIZES.join(', ')} bytes are echoed through the VIP, unchanged`,
    shows('RFC 4787 REQ-14'),
    async (t) => {
      const before = readCounters(STATE_DIR);
      const { error, echoed, changed, lost } = await udp(lab, 'client', at(clusterIP, 81), SIZES.join(','));
      t.strictSame(
        { error, echoed, changed, lost },
        { error: undefined, echoed: SIZES.length, changed: [], lost: [] },
      );
      const after = readCounters(STATE_DIR);
      // Whole datagrams would be 2 * 6 packets.
      const forwarded = after.forwarded - before.forwarded;
      t.ok(forwarded > 80, `${forwarded} packets were forwarded: they came in fragments`);
      t.equal(after.flowsCreated - before.flowsCreated, 1, 'of one flow');
      t.strictSame(after.dropped, {}, 'none was dropped');
      t.equal(after.held, 0, 'and none is held');
    },
  );

  t.test(
    `${family}: and through an external IP and a load-balancer VIP, also from the node itself`,
    async (t) => {
      for (const from of ['client', 'node'] as const) {
        for (const to of [externalIP, loadBalancerVIP]) {
          const { echoed, lost } = await udp(lab, from, at(to, 81), '4000,20000');
          t.strictSame({ echoed, lost }, { echoed: 2, lost: [] }, `${to} from ${from}`);
        }
      }
      t.strictSame(readCounters(STATE_DIR).dropped, {}, 'none was dropped');
    },
  );
}

for (const { family, node } of FAMILIES) {
  t.test(`${family}: and through a NodePort`, shows('RFC 4787 REQ-14'), async (t) => {
    const before = readCounters(STATE_DIR);
    const { error, echoed, lost } = await udp(lab, 'client', at(node, 30080), SIZES.join(','));
    t.strictSame({ error, echoed, lost }, { error: undefined, echoed: SIZES.length, lost: [] });
    const after = readCounters(STATE_DIR);
    t.equal(after.flowsCreated - before.flowsCreated, 1, 'of one flow');
    t.strictSame(after.dropped, {}, 'none was dropped');
  });

  t.test(`${family}: fragments to a port of the node's own go through the device and arrive`, async (t) => {
    const args = [labScript('udp-echo'), '--listen', at(node, 9500)];
    const server = lab.router.spawn(process.execPath, args);
    await server.line(/^ready/, 10_000);
    const before = readCounters(STATE_DIR);
    const { error, echoed, lost } = await udp(lab, 'client', at(node, 9500), SIZES.join(','));
    t.strictSame({ error, echoed, lost }, { error: undefined, echoed: SIZES.length, lost: [] });
    const after = readCounters(STATE_DIR);
    t.ok(after.passed - before.passed >= 44, 'the fragments of three datagrams, and nothing else');
    t.equal(after.forwarded, before.forwarded);
    t.strictSame(after.dropped, {}, 'none was dropped');
    await server.stop();
  });
}

t.test('flowpin up ends with code 0', async (t) => {
  t.same((await up.stop('SIGTERM')).code, 0, up.stderr);
});

/**
 * The exported rules and the workers decide the same: any Services, any connection, through the text as netfilter would
 * read it and through the compiled table as real packets.
 */
import fc from 'fast-check';
import t from 'tap';
import { resultOf } from '../../src/conformance/packet-flows.js';
import { Plane } from '../../src/conformance/plane.js';
import type { Flow } from '../../src/conformance/plane-types.js';
import { RuleTrace } from '../export/rule-trace.js';
import { anyService, OPTIONS, objectsFor, planFor } from '../export/support.js';
import { holds } from '../support/property.js';

const anyOptions = fc.record({
  clusterCIDRs: fc.constantFrom([], ['10.32.0.0/12']),
  masqueradeAll: fc.boolean(),
  localhostNodePorts: fc.boolean(),
  nodePortAddresses: fc.constantFrom(null, ['198.51.100.0/24'], ['10.0.0.0/8'], ['127.0.0.0/8']),
});

const anySource = fc.constantFrom(
  '10.32.0.1',
  '10.32.1.1',
  '10.47.9.9',
  '203.0.113.5',
  '192.0.2.1',
  '198.51.100.7',
);
const anyDestination = fc.oneof(
  fc.record({
    destIP: fc.constantFrom('10.96.1.1', '10.96.1.2', '192.0.2.1', '192.0.2.2'),
    destPort: fc.constantFrom(80, 81),
  }),
  fc.record({
    destIP: fc.constantFrom('198.51.100.7', '203.0.113.77'),
    destPort: fc.constantFrom(30000, 30001),
  }),
);

t.test('any Services, any connection', async (t) => {
  holds(
    fc.property(
      fc.array(anyService, { minLength: 1, maxLength: 3 }),
      anyOptions,
      fc.array(fc.tuple(anySource, anyDestination), { minLength: 1, maxLength: 6 }),
      (services, some, ways) => {
        const options = { ...OPTIONS, ...some };
        const plan = planFor(objectsFor(services), options);
        for (const [sourceIP, destination] of ways) {
          const flow: Flow = { sourceIP, ...destination, protocol: 'TCP' };
          const byRules = JSON.stringify(resultOf(plan, options, flow, RuleTrace));
          const byPackets = JSON.stringify(resultOf(plan, options, flow, Plane));
          if (byRules !== byPackets)
            throw new Error(`${JSON.stringify(flow)}: rules ${byRules}, packets ${byPackets}`);
        }
      },
    ),
  );
  t.pass();
});

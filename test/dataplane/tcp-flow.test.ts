/** Whatever segments a connection is made of, each is translated: kernel conntrack's INVALID has no counterpart here. */
import fc from 'fast-check';
import t from 'tap';
import { TCP_FLAG } from '../../src/wire/tcp.js';
import { TestDataplane } from '../support/dataplane.js';
import type { PacketSpec } from '../support/packets.js';
import { holds } from '../support/property.js';
import { shows } from '../support/requirements.js';

const VIP = '10.96.0.10:80';
const CLIENT = '10.0.1.2:40000';
const ENDPOINTS = ['10.244.0.8:80', '10.244.0.9:80'];

type Flag = keyof typeof TCP_FLAG;
const segment = fc.record({
  isReply: fc.boolean(),
  flags: fc.subarray(Object.keys(TCP_FLAG) as Flag[]),
  afterSec: fc.constantFrom(0, 0, 0, 1, 5, 9),
});

t.test(
  'every segment of a known flow is translated, in every state and both ways',
  shows('RFC 5382 REQ-2'),
  async () => {
    holds(
      fc.property(fc.array(segment, { maxLength: 60 }), (segments) => {
        const plane = new TestDataplane({ [`${VIP}/tcp`]: ENDPOINTS });
        let there = plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] });
        for (const { isReply, flags, afterSec } of segments) {
          plane.nowMs += afterSec * 1000; // less than any state is kept for
          const spec: PacketSpec = isReply
            ? { from: there.to, to: there.from, flags }
            : { from: CLIENT, to: VIP, flags };
          const out = plane.packet(spec);
          if (out === undefined) return false;
          if (isReply && (out.from !== VIP || out.to !== CLIENT)) return false;
          if (isReply) continue;
          if (!ENDPOINTS.includes(out.to)) return false;
          const isSyn = flags.includes('SYN') && !flags.includes('ACK') && !flags.includes('RST');
          if (!isSyn && (out.to !== there.to || out.from !== there.from)) return false;
          there = out; // a SYN may begin anew
        }
        return plane.flowCount === 1;
      }),
    );
  },
);

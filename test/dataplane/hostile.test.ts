/** What nobody sends who means well: each case has one named outcome and leaves no trace behind. */
import t from 'tap';
import { ALGORITHM } from '../../src/table/layout.js';
import { TestDataplane } from '../support/dataplane.js';

const VIP = '10.96.0.1:80';
const CLIENT = '10.1.0.1:4000';
const ENDPOINTS = ['10.244.0.1:1', '10.244.0.2:1', '10.244.0.3:1'];

t.test('a packet of IP protocol 0 to an address of ours is for no Service', async (t) => {
  // Protocol and port 0 are how the table keeps an address as a whole: such a packet must not find it.
  const spec = { endpoints: ENDPOINTS, algorithm: ALGORITHM.ROUND_ROBIN };
  const plane = new TestDataplane({ [`${VIP}/tcp`]: spec });
  t.equal(plane.packet({ from: '10.1.0.1', to: '10.96.0.1', protocol: 0 }), undefined);
  t.strictSame(plane.counts, { received: 1, 'unsupported-protocol': 1 });
  t.equal(plane.forward({ from: CLIENT, to: VIP, flags: ['SYN'] }).to, ENDPOINTS[0], 'no turn was taken');
});

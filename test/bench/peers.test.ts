/** Who is measured where not everything is installed. */
import t from 'tap';
import { PEERS, peerUnavailable } from '../../bench/peers.js';
import { turned } from '../../bench/turns.js';

t.test('a peer whose program is not installed is known by name, with what installs it', async (t) => {
  const { PATH } = process.env;
  process.env.PATH = t.testdir();
  t.teardown(() => {
    process.env.PATH = PATH;
  });
  const reasons = Object.fromEntries(PEERS.map((peer) => [peer, peerUnavailable(peer)]));
  t.strictSame(reasons, {
    flowpin: null,
    'c-loop': null,
    iptables: 'iptables-restore is not installed: scripts/bench-setup installs it',
    nftables: 'nft is not installed: scripts/bench-setup installs it',
    haproxy: 'haproxy is not installed: scripts/bench-setup installs it',
    'node-pipe': null,
  });
});

t.test('every round begins with another peer, and none is left out', async (t) => {
  t.strictSame(
    [0, 1, 2, 3].map((round) => turned(['a', 'b', 'c'], round).join('')),
    ['abc', 'bca', 'cab', 'abc'],
  );
  t.strictSame(turned([], 3), []);
});

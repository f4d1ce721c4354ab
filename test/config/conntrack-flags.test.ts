import { Command } from 'commander';
import t from 'tap';
import { type ProxyFlags, withConntrackFlags } from '../../src/cli/proxy-flags.js';
import { flowCapacityOf, flowTimeoutsOf } from '../../src/config.js';
import { TIMEOUT } from '../../src/conntrack/timeouts.js';
import { settingsOf } from '../../src/control/config/settings.js';
import { shows } from '../support/requirements.js';

function parse(...args: string[]): ProxyFlags {
  const command = withConntrackFlags(new Command('up')).exitOverride();
  command.configureOutput({ writeErr: () => {} });
  return command.parse(args, { from: 'user' }).opts<ProxyFlags>();
}

t.test(
  'the flags are named as kube-proxy names them, and durations are as Go writes them',
  shows('RFC 4787 REQ-5b', 'RFC 5382 REQ-5a', 'RFC 7857 section 2.1 parameters'),
  async (t) => {
    const flags = parse(
      ...['--conntrack-tcp-timeout-established', '1h0m0s', '--conntrack-tcp-timeout-close-wait', '90s'],
      ...['--conntrack-udp-timeout', '1.5s', '--conntrack-udp-timeout-stream', '2m'],
      ...['--conntrack-timeouts', 'rfc', '--max-flows', '1000000'],
      ...['--conntrack-max-per-core', '32768', '--conntrack-min', '131072'],
    );
    const { conntrack } = settingsOf(flags, null).settings;
    t.strictSame(conntrack, {
      profile: 'rfc',
      tcpEstablishedTimeoutMs: 3_600_000,
      tcpCloseWaitTimeoutMs: 90_000,
      udpTimeoutMs: 1500,
      udpStreamTimeoutMs: 120_000,
      tcpBeLiberal: false,
      maxPerCore: 32_768,
      min: 131_072,
      maxFlows: 1_000_000,
    });
    t.equal(flowCapacityOf(conntrack, 1), 1 << 20);
    t.equal(flowTimeoutsOf(conntrack)[TIMEOUT.UDP], 2, 'a part of a second counts as a whole one');
  },
);

for (const args of [
  ['--max-flows', '0'],
  ['--max-flows', '4194305'],
  ['--max-flows', '1e6'],
  ['--conntrack-min', '-1'],
  ['--conntrack-udp-timeout', '30'],
  ['--conntrack-udp-timeout', '-1s'],
  ['--conntrack-timeouts', 'bsd'],
]) {
  t.test(`${args.join(' ')} is refused`, async (t) => {
    t.throws(() => parse(...args), /is invalid/);
  });
}

import { t } from 'tap';
import { answeredText, builtText, countersText, stoppedText } from '../../src/lab/demo-report.js';
import { problemsOf } from '../../src/lab/demo-run.js';
import type { HttpReport, RequestsReport } from '../../src/lab/http-client.js';
import { HTTPENV, HTTPENV_FILE, HTTPENV_HOSTS, loadedService } from '../../src/lab/httpenv.js';

const [first, second, third] = HTTPENV.endpoints as [string, string, string];

function requests(
  asked: number,
  byEndpoint: Record<string, number>,
  more: Partial<RequestsReport> = {},
): RequestsReport {
  return {
    asked,
    answered: Object.values(byEndpoint).reduce((sum, count) => sum + count, 0),
    byEndpoint,
    errors: {},
    sockets: asked,
    serverConnections: asked,
    clientAddresses: ['198.18.0.1'],
    ms: { median: 4.25, p99: 9, max: 12, total: 100 },
    ...more,
  };
}

const GOOD: HttpReport = {
  to: HTTPENV.clusterIP,
  connections: requests(300, { [first]: 110, [second]: 90, [third]: 100 }),
  keepAlive: requests(200, { [second]: 200 }, { sockets: 1, serverConnections: 1 }),
};

t.test('the example is the Service of the seed, and its endpoints are where the lab has hosts', async (t) => {
  t.strictSame(loadedService(HTTPENV_FILE), HTTPENV);
  const addresses = HTTPENV_HOSTS.hosts.flatMap((host) =>
    host.addresses.map((address) => address.split('/')[0]),
  );
  for (const endpoint of HTTPENV.endpoints) t.ok(addresses.includes(endpoint.split(':')[0]), endpoint);
});

t.test('the whole text', async (t) => {
  const text = [
    builtText(HTTPENV),
    answeredText(HTTPENV, GOOD),
    countersText({
      ...{
        received: 3000,
        receivedBytes: 900_000,
        forwarded: 2990,
        passed: 2,
        rejected: 5,
        reset: 0,
        retried: 0,
        held: 0,
      },
      ...{
        dropped: { 'malformed-ipv4': 3 },
        handedOff: 0,
        takenOver: 0,
        flowsCreated: 301,
        flowsReaped: 0,
        retries: 0,
        icmpSuppressed: 0,
        echoed: 0,
      },
      endpoints: HTTPENV.endpoints.map((endpoint) => ({
        ...{ servicePort: 'default/httpenv', protocol: 'TCP', endpoint, flows: 100 },
        ...{ packetsOriginal: 600, bytesOriginal: 45_000, packetsReply: 500, bytesReply: 1_234_567 },
      })),
    }),
    stoppedText({ exitCode: 0, leftBehind: [] }),
  ].join('');
  t.equal(
    text,
    `\
flowpin demo: a client, a node running flowpin, three real HTTP servers, each
in its own network namespace.

                                            .-> 10.244.0.3:8888
  client ------------> node: flowpin -------+-> 10.244.1.2:8888
  10.0.1.2       10.103.145.7:8888          '-> 10.244.2.2:8888

Service table
  ServicePort      ClusterIP              Endpoint           Probability
  default/httpenv  10.103.145.7:8888/TCP  10.244.0.3:8888  0.33333333349
                                          10.244.1.2:8888  0.50000000000
                                          10.244.2.2:8888              1

300 connections, each a new flow: all answered, half of them within 4.3 ms
  Endpoint         Answered   Share  Expected
  10.244.0.3:8888       110  36.7 %       100
  10.244.1.2:8888        90  30.0 %       100
  10.244.2.2:8888       100  33.3 %       100
  Equal chances give a spread at least this uneven in 37 of 100 runs
  (chi-square 2.00, 2 degrees of freedom, p = 0.37).

200 requests on 1 connection: all answered by 10.244.1.2:8888.

Packets through the TUN device
  Endpoint         Flows  Packets to  Bytes to  Packets from  Bytes from
  10.244.0.3:8888    100         600    45,000           500   1,234,567
  10.244.1.2:8888    100         600    45,000           500   1,234,567
  10.244.2.2:8888    100         600    45,000           500   1,234,567
  forwarded 2,990 · passed 2 · rejected 5 · dropped malformed-ipv4 3

Left behind: nothing. flowpin up ended with code 0; links, addresses, rules,
routes, forwarding and /run/flowpin of the node are as they were.

`,
  );
  t.strictSame(
    text.split('\n').filter((line) => line.length > 80),
    [],
    'no line is longer than 80 columns',
  );
});

t.test('bad news is in the text', async (t) => {
  const lost = { ...GOOD, connections: requests(300, { [first]: 298 }, { errors: { ETIMEDOUT: 2 } }) };
  t.match(answeredText(HTTPENV, lost), /^300 connections, each a new flow: 298 answered, half/m);
  t.match(answeredText(HTTPENV, lost), /in fewer than 1 of 10,000 runs/);
  const none = { ...GOOD, connections: requests(300, {}), keepAlive: requests(200, {}, { sockets: 200 }) };
  t.match(answeredText(HTTPENV, none), /^200 requests on 200 connections: answered by nobody\.$/m);
  t.match(answeredText(HTTPENV, none), 'No spread to judge.');
  t.match(
    stoppedText({ exitCode: 4, leftBehind: ['ip -4 rule show: + 50: from all lookup 7'] }),
    /^Left behind \(flowpin up ended with code 4\):\n {2}ip -4 rule show: \+ 50: from all lookup 7\n/,
  );
});

t.test('what counts as a problem', async (t) => {
  t.strictSame(problemsOf(HTTPENV, GOOD), []);
  const problem = (change: Partial<HttpReport>): string =>
    problemsOf(HTTPENV, { ...GOOD, ...change }).join('\n');
  t.match(
    problem({ connections: requests(300, { [first]: 298 }, { errors: { ETIMEDOUT: 2 } }) }),
    '(ETIMEDOUT 2)',
  );
  t.match(
    problem({ connections: requests(3, { [first]: 3 }, { serverConnections: 2 }) }),
    '2 at the servers',
  );
  t.match(
    problem({ connections: requests(1, { '10.244.9.9:8888': 1 }) }),
    'no endpoint of the Service: 10.244.9.9',
  );
  const moved = { [first]: 150, [second]: 50 };
  t.match(
    problem({ keepAlive: requests(200, moved, { sockets: 1, serverConnections: 2 }) }),
    'moved between',
  );
  t.match(
    problem({ keepAlive: requests(200, { [first]: 200 }, { sockets: 2, serverConnections: 2 }) }),
    '2 at the client',
  );
  t.match(
    problem({ keepAlive: requests(2, { [first]: 1 }, { sockets: 1, serverConnections: 1 }) }),
    '1 of 2 requests',
  );
});

// The text of `flowpin demo`, at most 80 columns, section by section. Pure: results in, text out.

import type { CountersSnapshot } from '../observe/counters.js';
import { cascadeThreshold } from '../table/layout.js';
import type { UpEnd } from './demo-run.js';
import type { HttpReport, RequestsReport } from './http-client.js';
import { CLIENT_ADDRESS, type ServicePortFacts } from './httpenv.js';
import { chiSquare, chiSquareSurvival } from './statistics.js';
import { columns, text } from './text-table.js';
import { grouped, outOf } from './wording.js';

/** The hosts, and the Service as its table has it. */
export function builtText(service: ServicePortFacts): string {
  return sections(
    'flowpin demo: a client, a node running flowpin, three real HTTP servers, each\nin its own network namespace.',
    drawing(service),
    `Service table\n${serviceTable(service)}`,
  );
}

/** Where the connections went, beside what chance would give, and where the kept-alive connection stayed. */
export function answeredText(service: ServicePortFacts, { connections, keepAlive }: HttpReport): string {
  const title = `${count(connections.asked, 'connection')}, each a new flow: ${answers(connections)}`;
  return sections(
    `${title}\n${spreadTable(service, connections)}\n${spreadSentence(service, connections)}`,
    keepAliveSentence(keepAlive),
  );
}

/** What the workers counted. */
export function countersText(counters: CountersSnapshot): string {
  const table = columns(['Endpoint', 'Flows', 'Packets to', 'Bytes to', 'Packets from', 'Bytes from']);
  for (const row of counters.endpoints) {
    const numbers = [row.flows, row.packetsOriginal, row.bytesOriginal, row.packetsReply, row.bytesReply];
    table.push([row.endpoint, ...numbers.map(grouped)]);
  }
  const drops = Object.entries(counters.dropped).map(([reason, packets]) => `${reason} ${grouped(packets)}`);
  const outcome = [
    `forwarded ${grouped(counters.forwarded)}`,
    `passed ${grouped(counters.passed)}`,
    `rejected ${grouped(counters.rejected)}`,
    `dropped ${drops.length === 0 ? '0' : drops.join(', ')}`,
  ];
  return sections(`Packets through the TUN device\n${text(table)}\n  ${outcome.join(' · ')}`);
}

/** How `flowpin up` left the node. */
export function stoppedText({ exitCode, leftBehind }: UpEnd): string {
  const ended = `flowpin up ended with code ${exitCode}`;
  if (leftBehind.length > 0) {
    return sections(`Left behind (${ended}):\n${leftBehind.map((line) => `  ${line}`).join('\n')}`);
  }
  return sections(
    `Left behind: nothing. ${ended}; links, addresses, rules,\nroutes, forwarding and /run/flowpin of the node are as they were.`,
  );
}

function drawing({ clusterIP, endpoints }: ServicePortFacts): string {
  const middle = Math.floor(endpoints.length / 2);
  const branch = endpoints.map((endpoint, at) => {
    const corner = at === 0 ? '.' : at === endpoints.length - 1 ? "'" : '+';
    const stem = at === middle ? '  client ------------> node: flowpin -------' : '';
    const labels = at === middle + 1 ? `  ${CLIENT_ADDRESS.padEnd(14)} ${clusterIP}` : '';
    return `${(stem || labels).padEnd(44)}${corner}-> ${endpoint}`;
  });
  return branch.join('\n');
}

function serviceTable({ name, clusterIP, protocol, endpoints }: ServicePortFacts): string {
  const table = columns(['ServicePort', 'ClusterIP', 'Endpoint', 'Probability'], 3);
  endpoints.forEach((endpoint, at) => {
    const service = at === 0 ? [name, `${clusterIP}/${protocol}`] : ['', ''];
    table.push([...service, endpoint, cascadeProbability(endpoints.length - at)]);
  });
  return text(table);
}

/** As `iptables -L` prints the rule of an endpoint with `remaining` endpoints still to go; the last has no condition. */
function cascadeProbability(remaining: number): string {
  return remaining === 1 ? '1' : (cascadeThreshold(remaining) / 0x8000_0000).toFixed(11);
}

function spreadTable({ endpoints }: ServicePortFacts, { answered, byEndpoint }: RequestsReport): string {
  const table = columns(['Endpoint', 'Answered', 'Share', 'Expected']);
  for (const endpoint of endpoints) {
    const here = byEndpoint[endpoint] ?? 0;
    const share = answered === 0 ? '-' : `${((100 * here) / answered).toFixed(1)} %`;
    table.push([
      endpoint,
      grouped(here),
      share,
      grouped(Math.round((10 * answered) / endpoints.length) / 10),
    ]);
  }
  return text(table);
}

function spreadSentence({ endpoints }: ServicePortFacts, { answered, byEndpoint }: RequestsReport): string {
  if (answered === 0 || endpoints.length < 2) return '  No spread to judge.';
  const degrees = endpoints.length - 1;
  const statistic = chiSquare(endpoints.map((endpoint) => byEndpoint[endpoint] ?? 0));
  const p = chiSquareSurvival(statistic, degrees);
  return [
    `  Equal chances give a spread at least this uneven in ${outOf(p)} runs`,
    `  (chi-square ${statistic.toFixed(2)}, ${degrees} degrees of freedom, p = ${p.toPrecision(2)}).`,
  ].join('\n');
}

function keepAliveSentence(keepAlive: RequestsReport): string {
  const where = Object.entries(keepAlive.byEndpoint);
  const who =
    where.length === 1 && keepAlive.answered === keepAlive.asked
      ? `all answered by ${where[0]?.[0]}`
      : `answered by ${where.map(([endpoint, answered]) => `${endpoint} (${answered})`).join(', ') || 'nobody'}`;
  return `${count(keepAlive.asked, 'request')} on ${count(keepAlive.sockets, 'connection')}: ${who}.`;
}

function answers({ asked, answered, ms }: RequestsReport): string {
  const how = answered === asked ? 'all answered' : `${grouped(answered)} answered`;
  return answered === 0 ? how : `${how}, half of them within ${ms.median.toFixed(1)} ms`;
}

function count(n: number, noun: string): string {
  return `${grouped(n)} ${noun}${n === 1 ? '' : 's'}`;
}

/** Sections are set apart by an empty line, also from those that follow in the next text. */
function sections(...parts: string[]): string {
  return parts.map((part) => `${part}\n\n`).join('');
}

/** The shape of a workload's file. Each message is the rule in plain words, without subject. */
import * as z from 'zod';
import { parseDurationMs } from '../../control/config/duration.js';
import { EVENT_DEFAULTS, EVENTS, GROUP_DEFAULTS } from './workload.js';

const FIELDS_RULE = 'must be a mapping of fields';
const DURATION_RULE = 'must be a duration such as "30s" or "250ms", an hour at most';
const HOUR_MS = 3_600_000;

/** Read as milliseconds. */
const duration = z.string(DURATION_RULE).transform((given, context) => {
  const ms = parseDurationMs(given);
  if (ms !== null && ms >= 0 && ms <= HOUR_MS) return ms;
  context.addIssue(DURATION_RULE);
  return z.NEVER;
});

function whole(min: number, max: number) {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z.int(rule).min(min, rule).max(max, rule);
}

const BYTES_MAX = 10_000_000;
const bytes = whole(0, BYTES_MAX);
const SIZE_RULE =
  'must be a number of bytes, or a mapping with from, a larger to and, for a heavy tail, pareto';
const range = z
  .strictObject({ from: whole(1, BYTES_MAX), to: bytes, pareto: z.number().min(0.1).max(100).optional() })
  .refine(({ from, to }) => from <= to, SIZE_RULE);
const size = z.union([bytes, range], SIZE_RULE).transform((given) => {
  if (typeof given === 'number') return given;
  const { from, to, pareto } = given;
  return pareto === undefined ? { from, to } : { from, to, pareto };
});

const group = z.strictObject(
  {
    protocol: z.enum(['TCP', 'UDP'], 'must be TCP or UDP'),
    connections: whole(1, 100_000),
    addresses: whole(1, 100_000).default(GROUP_DEFAULTS.addresses),
    begin: z.tuple([duration, duration], 'must be two durations, such as ["0s", "20s"]'),
    requests: whole(1, 10_000).default(GROUP_DEFAULTS.requests),
    think: duration.default(GROUP_DEFAULTS.thinkMs),
    requestBytes: size.default(GROUP_DEFAULTS.requestBytes),
    responseBytes: size.default(GROUP_DEFAULTS.responseBytes),
    together: whole(1, 16).default(GROUP_DEFAULTS.together),
  },
  FIELDS_RULE,
);

const event = z.strictObject(
  {
    event: z.enum(EVENTS, `must be one of ${EVENTS.join(', ')}`),
    at: duration,
    endpoint: whole(0, 10_000).default(EVENT_DEFAULTS.endpoint),
    times: whole(1, 10_000).default(EVENT_DEFAULTS.times),
    every: duration.default(EVENT_DEFAULTS.everyMs),
    noticedAfter: duration.default(EVENT_DEFAULTS.noticedAfterMs),
    grace: duration.default(EVENT_DEFAULTS.graceMs),
  },
  FIELDS_RULE,
);

export const workloadSchema = z.strictObject(
  {
    name: z.string('must be text').min(1, 'must be text'),
    description: z.string('must be text').default(''),
    duration,
    clients: z.array(group, 'must be a list').min(1, 'must hold clients'),
    events: z.array(event, 'must be a list').default([]),
  },
  FIELDS_RULE,
);

export type GivenWorkload = z.output<typeof workloadSchema>;

/** Names of the fields that may stand at a path of a workload. */
export function knownFields(path: readonly PropertyKey[]): string[] {
  if (path.length === 0) return Object.keys(workloadSchema.shape);
  if (path.length > 2) return Object.keys(range.shape);
  return Object.keys(path[0] === 'clients' ? group.shape : event.shape);
}

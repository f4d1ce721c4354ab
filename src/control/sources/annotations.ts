/**
 * The annotations of a Service that are this proxy's own. Kubernetes checks no annotation, so a value may be anything:
 * a bad one is reported, and the Service is served as if it were not there.
 */
import { readAddress } from './addresses.js';
import { type Report, show } from './report.js';

/** Ways to choose an endpoint; the names are those of the proxy modes and of IPVS's schedulers. */
export const ALGORITHMS = ['random', 'rr', 'wrr', 'lc', 'sed', 'nq', 'sh', 'mh'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** What becomes of established TCP flows when their endpoint goes. */
export type OnEndpointRemoval =
  | { readonly kind: 'keep' }
  | { readonly kind: 'drain'; readonly seconds: number }
  | { readonly kind: 'reset' };

export interface ServiceAnnotations {
  /** flowpin.dev/algorithm; null: what the proxy mode does. */
  readonly algorithm: Algorithm | null;
  /** flowpin.dev/weights: by endpoint ip, canonical; others weigh 1. */
  readonly weights: ReadonlyMap<string, number>;
  /** flowpin.dev/retry; null: what the proxy mode does. */
  readonly retry: boolean | null;
  /** flowpin.dev/on-endpoint-removal. */
  readonly onEndpointRemoval: OnEndpointRemoval;
}

/** As ipvsadm(8) has them, but for 0: conditions say better that an endpoint gets nothing. */
const WEIGHT_MAX = 65_535;
/** A day: what waits longer is kept, not drained. */
const DRAIN_SEC_MAX = 86_400;

const NO_WEIGHTS: ReadonlyMap<string, number> = new Map();
const KEEP: OnEndpointRemoval = { kind: 'keep' };

/** @param given metadata.annotations, unchecked */
export function readAnnotations(
  given: Readonly<Record<string, unknown>>,
  report: Report,
): ServiceAnnotations {
  /** What `read` makes of the annotation; `fallback` when it is not there or `read` answers null. */
  const annotation = <Value>(
    name: string,
    rule: string,
    read: (text: string) => Value | null,
    fallback: Value,
  ): Value => {
    const text = given[`flowpin.dev/${name}`];
    if (text === undefined || text === null) return fallback;
    const value = typeof text === 'string' ? read(text.trim()) : null;
    if (value === null)
      report.add(['metadata', 'annotations', `flowpin.dev/${name}`], `${rule}, not ${show(text)}`);
    return value ?? fallback;
  };
  return {
    algorithm: annotation('algorithm', `must be one of ${ALGORITHMS.join(', ')}`, readAlgorithm, null),
    weights: annotation(
      'weights',
      `must be endpoint addresses with weights from 1 to ${WEIGHT_MAX}, such as "10.244.0.3=2,10.244.1.2=1"`,
      readWeights,
      NO_WEIGHTS,
    ),
    retry: annotation('retry', 'must be "true" or "false"', readYesOrNo, null),
    onEndpointRemoval: annotation(
      'on-endpoint-removal',
      `must be "keep", "reset" or "drain=" with 1 to ${DRAIN_SEC_MAX} seconds`,
      readOnEndpointRemoval,
      KEEP,
    ),
  };
}

const readAlgorithm = (text: string): Algorithm | null => ALGORITHMS.find((known) => known === text) ?? null;

const readYesOrNo = (text: string): boolean | null =>
  text === 'true' ? true : text === 'false' ? false : null;

function readWeights(text: string): ReadonlyMap<string, number> | null {
  const weights = new Map<string, number>();
  for (const part of text.split(',')) {
    const [address, weight, ...rest] = part.split('=').map((word) => word.trim());
    const ip = readAddress(address, null);
    const number = count(weight ?? '', WEIGHT_MAX);
    if ('refusal' in ip || number === null || rest.length > 0 || weights.has(ip.address)) return null;
    weights.set(ip.address, number);
  }
  return weights;
}

function readOnEndpointRemoval(text: string): OnEndpointRemoval | null {
  if (text === 'keep' || text === 'reset') return { kind: text };
  const seconds = text.startsWith('drain=') ? count(text.slice('drain='.length), DRAIN_SEC_MAX) : null;
  return seconds === null ? null : { kind: 'drain', seconds };
}

/** @returns a number from 1 to `max`, or null */
const count = (text: string, max: number): number | null =>
  /^[1-9]\d{0,5}$/.test(text) && Number(text) <= max ? Number(text) : null;

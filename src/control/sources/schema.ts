/**
 * The shape of the Kubernetes objects, as far as the proxy reads them; other fields may hold anything. Each message is
 * the rule in plain words, without subject: "must be ...".
 *
 * `null` is the same as absent, as it is to the API server. Addresses of endpoints are only fetched here:
 * readObject checks them one by one, because one that is malformed does not spoil its neighbours.
 */
import * as z from 'zod';

const PORT_RULE = 'must be a port number from 1 to 65535';
const NODE_PORT_RULE = 'must be a port number from 1 to 65535, or 0 for none';
const PROTOCOL_RULE = 'must be TCP, UDP or SCTP';
const POLICY_RULE = 'must be Cluster or Local';
const TIMEOUT_RULE = 'must be a number of seconds from 1 to 86400';

const text = z.string('must be text');
const yesOrNo = z.boolean('must be true or false').nullish();
const portNumber = z.int(PORT_RULE).min(1, PORT_RULE).max(65535, PORT_RULE);
const nodePort = z.int(NODE_PORT_RULE).min(0, NODE_PORT_RULE).max(65535, NODE_PORT_RULE).nullish();
/** Go writes an absent value as "" at times. */
const choice = <const Value extends string>(values: readonly Value[], rule: string) =>
  z.enum([...values, ''], rule).nullish();
const protocol = choice(['TCP', 'UDP', 'SCTP'], PROTOCOL_RULE);
const trafficPolicy = choice(['Cluster', 'Local'], POLICY_RULE);
const list = <Item extends z.ZodType>(item: Item) => z.array(item, 'must be a list');
const fields = <Shape extends z.ZodRawShape>(shape: Shape) => z.object(shape, 'must be a mapping of fields');

// apimachinery, pkg/util/validation: IsDNS1123Subdomain, IsDNS1123Label.
const objectName = z
  .string('must be text')
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    'must be lower-case letters, digits, "-" and "."',
  )
  .max(253, 'must have at most 253 characters');
const label = (rule: string) => z.string(rule).regex(/^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$/, rule);
const LABEL_RULE = 'must be at most 63 lower-case letters, digits and "-"';

const metadata = {
  name: objectName,
  namespace: label(LABEL_RULE).nullish(),
};

/** By these two labels, whatever their value, kube-proxy passes an object over (cmd/kube-proxy/app/server.go, Run). */
export const PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name';
export const HEADLESS_LABEL = 'service.kubernetes.io/headless';
const passOverLabels = {
  [PROXY_NAME_LABEL]: z.unknown().optional(),
  [HEADLESS_LABEL]: z.unknown().optional(),
};
const labels = fields(passOverLabels).nullish();

/** `kubectl` prints both; an object without them is no Kubernetes object. */
export const typeMetaSchema = fields({
  apiVersion: text.min(1, 'must not be empty'),
  kind: text.min(1, 'must not be empty'),
});

export const serviceSchema = fields({
  metadata: fields({
    ...metadata,
    labels,
    annotations: z.record(z.string(), z.unknown(), 'must be a mapping of fields').nullish(),
    creationTimestamp: z.iso
      .datetime({ offset: true, error: 'must be a time such as "2022-06-13T22:26:59Z"' })
      .nullish(),
  }),
  spec: fields({
    type: choice(
      ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'],
      'must be ClusterIP, NodePort, LoadBalancer or ExternalName',
    ),
    clusterIP: text.nullish(),
    clusterIPs: list(text).nullish(),
    externalIPs: list(z.unknown()).nullish(),
    externalTrafficPolicy: trafficPolicy,
    internalTrafficPolicy: trafficPolicy,
    healthCheckNodePort: nodePort,
    loadBalancerSourceRanges: list(text).nullish(),
    sessionAffinity: choice(['ClientIP', 'None'], 'must be ClientIP or None'),
    sessionAffinityConfig: fields({
      clientIP: fields({
        timeoutSeconds: z.int(TIMEOUT_RULE).min(1, TIMEOUT_RULE).max(86_400, TIMEOUT_RULE).nullish(),
      }).nullish(),
    }).nullish(),
    ports: list(
      fields({ name: label(LABEL_RULE).nullish(), protocol, port: portNumber, nodePort }),
    ).nullish(),
  }),
  status: fields({
    loadBalancer: fields({
      ingress: list(
        fields({ ip: z.unknown().optional(), ipMode: choice(['VIP', 'Proxy'], 'must be VIP or Proxy') }),
      ).nullish(),
    }).nullish(),
  }).nullish(),
});

const endpointPorts = list(fields({ name: text.nullish(), protocol, port: portNumber.nullish() })).nullish();

/** The only tie between a slice and its Service; the slice's own name says nothing. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
const BELONGS_RULE = `must name, with ${SERVICE_NAME_LABEL}, the Service that the slice belongs to`;
const serviceName = z.string(BELONGS_RULE).min(1, BELONGS_RULE);

const hints = list(fields({ name: text })).nullish();

export const endpointSliceSchema = fields({
  metadata: fields({
    ...metadata,
    labels: z.object({ [SERVICE_NAME_LABEL]: serviceName, ...passOverLabels }, BELONGS_RULE),
  }),
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN'], 'must be IPv4, IPv6 or FQDN'),
  ports: endpointPorts,
  endpoints: list(
    fields({
      addresses: list(z.unknown()).nullish(),
      conditions: fields({ ready: yesOrNo, serving: yesOrNo, terminating: yesOrNo }).nullish(),
      nodeName: text.nullish(),
      zone: text.nullish(),
      hints: fields({ forZones: hints, forNodes: hints }).nullish(),
    }),
  ).nullish(),
});

const endpointAddresses = list(fields({ ip: z.unknown().optional(), nodeName: text.nullish() })).nullish();

export const endpointsSchema = fields({
  metadata: fields({ ...metadata, labels }),
  subsets: list(
    fields({ addresses: endpointAddresses, notReadyAddresses: endpointAddresses, ports: endpointPorts }),
  ).nullish(),
});

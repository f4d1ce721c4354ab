/**
 * The shape of the Kubernetes objects, as far as the proxy reads them; other fields may hold anything. Each message is
 * the rule in plain words, without subject: "must be ...".
 *
 * `null` is the same as absent, as it is to the API server. Addresses of endpoints are only fetched here:
 * readObject checks them one by one, because one that is malformed does not spoil its neighbours.
 */
import * as z from 'zod';

const PORT_RULE = 'must be a port number from 1 to 65535';
const PROTOCOL_RULE = 'must be TCP, UDP or SCTP';

const text = z.string('must be text');
const yesOrNo = z.boolean('must be true or false').nullish();
const portNumber = z.int(PORT_RULE).min(1, PORT_RULE).max(65535, PORT_RULE);
const protocol = z.enum(['TCP', 'UDP', 'SCTP'], PROTOCOL_RULE).nullish();
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

/** `kubectl` prints both; an object without them is no Kubernetes object. */
export const typeMetaSchema = fields({
  apiVersion: text.min(1, 'must not be empty'),
  kind: text.min(1, 'must not be empty'),
});

export const serviceSchema = fields({
  metadata: fields({
    ...metadata,
    creationTimestamp: z.iso
      .datetime({ offset: true, error: 'must be a time such as "2022-06-13T22:26:59Z"' })
      .nullish(),
  }),
  spec: fields({
    type: z
      .enum(
        ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'],
        'must be ClusterIP, NodePort, LoadBalancer or ExternalName',
      )
      .nullish(),
    clusterIP: text.nullish(),
    clusterIPs: list(text).nullish(),
    ports: list(fields({ name: label(LABEL_RULE).nullish(), protocol, port: portNumber })).nullish(),
  }),
});

const endpointPorts = list(fields({ name: text.nullish(), protocol, port: portNumber.nullish() })).nullish();

/** The only tie between a slice and its Service; the slice's own name says nothing. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
const BELONGS_RULE = `must name, with ${SERVICE_NAME_LABEL}, the Service that the slice belongs to`;
const serviceName = z.string(BELONGS_RULE).min(1, BELONGS_RULE);

export const endpointSliceSchema = fields({
  metadata: fields({ ...metadata, labels: z.object({ [SERVICE_NAME_LABEL]: serviceName }, BELONGS_RULE) }),
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN'], 'must be IPv4, IPv6 or FQDN'),
  ports: endpointPorts,
  endpoints: list(
    fields({
      addresses: list(z.unknown()).nullish(),
      conditions: fields({ ready: yesOrNo, serving: yesOrNo, terminating: yesOrNo }).nullish(),
      nodeName: text.nullish(),
    }),
  ).nullish(),
});

const endpointAddresses = list(fields({ ip: z.unknown().optional(), nodeName: text.nullish() })).nullish();

export const endpointsSchema = fields({
  metadata: fields(metadata),
  subsets: list(
    fields({ addresses: endpointAddresses, notReadyAddresses: endpointAddresses, ports: endpointPorts }),
  ).nullish(),
});

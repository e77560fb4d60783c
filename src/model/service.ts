/** Services: an address and ports that stand for the containers that a selector picks. */
import { z } from 'zod';
import { ipv4Address, ipv6Address } from './address.js';
import { labelSelector } from './kubernetes.js';
import { DEFAULT_NAMESPACE, dnsLabel, port, portName, protocol, timestamp } from './names.js';

/** Most ports of one service. */
export const SERVICE_PORTS_MAX = 64;
/** As in Kubernetes: three hours, and at most a day. */
const AFFINITY_DEFAULT_S = 10800;
const AFFINITY_MAX_S = 86400;

/** Value of node_port that asks for any free port of the range. */
export const NODE_PORT_AUTO = 'auto';

const targetPort = z
  .union([port, portName])
  .describe('Port inside the containers, or the name that they give it; `port` if unsaid');

const nodePort = port.describe('Port of the node that leads to it too');

const servicePort = z.strictObject({
  name: portName.optional(),
  port: port.describe('Port of the service'),
  protocol: protocol.default('TCP'),
  target_port: targetPort.optional(),
  node_port: z
    .union([port, z.literal(NODE_PORT_AUTO)])
    .optional()
    .describe(
      `Port of the node that leads to it too; \`${NODE_PORT_AUTO}\`: one from port_mapping_min to port_mapping_max`,
    ),
});

interface Port {
  readonly name?: string | undefined;
  readonly port: number;
  readonly protocol: string;
  readonly node_port?: number | string | undefined;
}

function portList<Schema extends z.ZodType<Port>>(element: Schema) {
  return z
    .array(element)
    .min(1, 'a service has at least one port')
    .max(SERVICE_PORTS_MAX)
    .check(({ value, issues }) => {
      const seen = new Set<string>();
      value.forEach((entry, index) => {
        const once = (field: keyof Port, key: string, message: string) => {
          if (seen.has(key)) issues.push({ code: 'custom', path: [index, field], message, input: value });
          seen.add(key);
        };
        once('port', `port ${entry.protocol} ${entry.port}`, 'is another port of the service already');
        if (entry.name !== undefined) once('name', `name ${entry.name}`, 'is the name of another port');
        if (typeof entry.node_port === 'number')
          once('node_port', `node ${entry.protocol} ${entry.node_port}`, 'leads to another port already');
      });
    })
    .describe(`Ports of the service, at most ${SERVICE_PORTS_MAX}`);
}

const selector = labelSelector
  .refine(
    ({ matchLabels = {}, matchExpressions = [] }) =>
      Object.keys(matchLabels).length + matchExpressions.length > 0,
    'must select by something: a service of every container of its namespace is a mistake',
  )
  .describe('Which containers of the namespace serve');

const common = {
  name: dnsLabel.describe('Name of the service'),
  ip_address: ipv4Address.optional(),
  ip6_address: ipv6Address.optional(),
  selector,
  session_affinity: z
    .enum(['none', 'client_ip'])
    .describe('`client_ip`: all connections of a client go to one container'),
  session_affinity_seconds: z
    .int()
    .min(1)
    .max(AFFINITY_MAX_S)
    .describe('Seconds after its last new connection that a client keeps its container'),
};

/** Body of POST /services. */
export const serviceRequest = z
  .strictObject({
    ...common,
    namespace: dnsLabel.default(DEFAULT_NAMESPACE).describe('Namespace of the service and its containers'),
    network: dnsLabel.optional().describe('Only containers of this network serve'),
    ip_address: ipv4Address
      .optional()
      .describe('Address of the service; with neither address given, it gets one of each family'),
    ip6_address: ipv6Address.optional().describe('IPv6 address of the service'),
    ports: portList(servicePort),
    session_affinity: common.session_affinity.default('none'),
    session_affinity_seconds: common.session_affinity_seconds.default(AFFINITY_DEFAULT_S),
  })
  .meta({ id: 'ServiceRequest', description: 'A service to make or to replace' });
export type ServiceRequest = z.output<typeof serviceRequest>;

/** A service as it is stored. */
export const serviceRecord = z.strictObject({
  ...common,
  namespace: dnsLabel.describe('Namespace of the service and its containers'),
  network: dnsLabel.optional().describe('Only containers of this network serve'),
  ports: portList(servicePort.extend({ target_port: targetPort, node_port: nodePort.optional() })),
  created_at: timestamp,
});
export type ServiceRecord = z.infer<typeof serviceRecord>;
export type ServicePort = ServiceRecord['ports'][number];

export const service = serviceRecord
  .extend({
    backends: z.int().min(0).describe('Containers that serve; none: clients are refused'),
  })
  .meta({ id: 'Service', description: 'An address and ports that stand for the containers of a selector' });
export type Service = z.infer<typeof service>;

/** Answer of GET /services. */
export const serviceList = z.strictObject({ services: z.array(service) }).meta({ id: 'ServiceList' });
export type ServiceList = z.infer<typeof serviceList>;

/** Endpoints: one attachment of a container to a network. */
import { z } from 'zod';
import { ipAddress, ipv4Address, ipv6Address } from './address.js';
import { bandwidth } from './bandwidth.js';
import { AppError } from './errors.js';
import { identityId } from './identity.js';
import {
  containerId,
  DEFAULT_NAMESPACE,
  dnsLabel,
  interfaceName,
  LABELS_MAX,
  type Labels,
  labelChanges,
  labels,
  macAddress,
  port,
  portName,
  protocol,
  timestamp,
} from './names.js';
import { networkId } from './network.js';

/** Most ports that one endpoint may declare. */
export const PORTS_MAX = 64;
/** Most names of one port: PORT_NAMES_MAX of the programs. */
export const PORT_NAMES_MAX = 4;
export const ENDPOINT_ID_MAX = 0xffffffff;

/** A port of a container: named for policies, and, with host_port, published on the node. */
export const endpointPort = z
  .strictObject({
    name: portName.optional(),
    container_port: port.describe('Port inside the container'),
    protocol: protocol.default('TCP'),
    host_port: port.optional().describe('Port of the node that leads to it'),
    host_ip: ipAddress.optional().describe('Address of the node that host_port is limited to'),
  })
  .refine(({ host_ip, host_port }) => host_ip === undefined || host_port !== undefined, {
    path: ['host_ip'],
    error: 'needs host_port',
  })
  .meta({ id: 'EndpointPort' });
export type EndpointPort = z.output<typeof endpointPort>;

const endpointPorts = z
  .array(endpointPort)
  .max(PORTS_MAX)
  .check(({ value, issues }) => {
    // A name or a host port given twice would leave it to chance which one counts.
    const seen = new Set<string>();
    const once = (key: string, path: PropertyKey[], message: string) => {
      if (seen.has(key)) issues.push({ code: 'custom', path, message, input: value });
      seen.add(key);
    };
    const names = new Map<string, number>();
    value.forEach((entry, index) => {
      if (entry.name !== undefined) {
        once(`name ${entry.name}`, [index, 'name'], 'is the name of another port');
        const port = `${entry.protocol} ${entry.container_port}`;
        const count = (names.get(port) ?? 0) + 1;
        names.set(port, count);
        if (count === PORT_NAMES_MAX + 1) {
          const message = `a port has at most ${PORT_NAMES_MAX} names`;
          issues.push({ code: 'custom', path: [index, 'name'], message, input: value });
        }
      }
      if (entry.host_port === undefined) return;
      const key = `host ${entry.protocol} ${entry.host_port} ${entry.host_ip ?? ''}`;
      once(key, [index, 'host_port'], 'is published already');
    });
  })
  .describe(`Ports of the container, at most ${PORTS_MAX}`);

const netnsPath = z
  .string()
  .max(1024)
  .regex(/^\/[^\0]+$/, 'must be an absolute path')
  .describe('Path of the network namespace of the container, such as /proc/<pid>/ns/net');

export const endpointOptions = z
  .strictObject({ bandwidth: bandwidth.optional() })
  .meta({ id: 'EndpointOptions', description: 'Options of an endpoint' });
export type EndpointOptions = z.output<typeof endpointOptions>;

/** Body of POST /networks/{name}/containers. */
export const endpointRequest = z
  .strictObject({
    container_id: containerId,
    netns_path: netnsPath,
    interface_name: interfaceName.default('eth0').describe('Name of the interface inside the container'),
    ip_address: ipv4Address.optional().describe('IPv4 address; the next free one if unsaid'),
    ip6_address: ipv6Address.optional().describe('IPv6 address; the next free one if unsaid'),
    mac_address: macAddress.optional(),
    namespace: dnsLabel.default(DEFAULT_NAMESPACE).describe('Namespace'),
    labels: labels.prefault({}),
    ports: endpointPorts.default([]),
    options: endpointOptions.optional(),
  })
  .meta({ id: 'EndpointRequest', description: 'A container to connect' });
export type EndpointRequest = z.output<typeof endpointRequest>;
export type EndpointRequestInput = z.input<typeof endpointRequest>;

/** Body of PATCH /networks/{name}/containers/{container_id}: what is given replaces what was. */
export const endpointPatch = z
  .strictObject({
    labels: labels.optional(),
    label_changes: labelChanges.optional(),
    namespace: dnsLabel.optional().describe('Namespace'),
    options: endpointOptions.optional(),
  })
  .refine(
    (patch) => Object.values(patch).some((value) => value !== undefined),
    'needs `labels`, `label_changes`, `namespace` or `options`',
  )
  .refine(({ labels, label_changes }) => labels === undefined || label_changes === undefined, {
    path: ['label_changes'],
    error: 'must not be given with `labels`',
  })
  .meta({
    id: 'EndpointPatch',
    description:
      'New labels, namespace or options of a connected container; `labels` and `label_changes` exclude each other',
  });
export type EndpointPatch = z.output<typeof endpointPatch>;

/** The labels that an endpoint has after a patch. INVALID_REQUEST: they would be too many. */
export function patchedLabels(
  before: Labels,
  { labels: replaced = before, label_changes: changes }: Pick<EndpointPatch, 'labels' | 'label_changes'>,
): Labels {
  if (changes === undefined) return replaced;
  const after = new Map(Object.entries(before));
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) after.delete(key);
    else after.set(key, value);
  }
  if (after.size <= LABELS_MAX) return Object.fromEntries(after);
  const message = `at most ${LABELS_MAX} labels; there would be ${after.size}`;
  throw new AppError('INVALID_REQUEST', message, { details: [{ path: 'label_changes', message }] });
}

export const endpointId = z
  .int()
  .min(1)
  .max(ENDPOINT_ID_MAX)
  .describe('Number of the endpoint; never used again');

export const endpoint = z
  .strictObject({
    id: endpointId,
    network: dnsLabel.describe('Name of the network'),
    network_id: networkId,
    container_id: containerId,
    interface_name: interfaceName.describe('Name of the interface inside the container'),
    netns_path: netnsPath,
    namespace: dnsLabel.describe('Namespace'),
    labels,
    ip_address: ipv4Address.optional(),
    ip6_address: ipv6Address.optional(),
    mac_address: macAddress,
    gateway: ipv4Address.optional().describe('IPv4 gateway'),
    gateway6: ipv6Address.optional().describe('IPv6 gateway'),
    identity: identityId,
    host_interface: interfaceName.describe("Host's side of the veth pair"),
    ports: endpointPorts,
    options: endpointOptions.optional(),
    created_at: timestamp,
    state: z
      .enum(['creating', 'ready', 'deleting'])
      .describe('How far it is; only a ready endpoint passes packets'),
  })
  .refine(({ ip_address, ip6_address }) => ip_address !== undefined || ip6_address !== undefined, {
    path: ['ip_address'],
    error: 'an endpoint has at least one address',
  })
  .meta({ id: 'Endpoint', description: 'One attachment of a container to a network' });
export type Endpoint = z.infer<typeof endpoint>;

/** Answer of GET /networks/{name}/containers. */
export const containerList = z.strictObject({ containers: z.array(endpoint) }).meta({ id: 'ContainerList' });
export type ContainerList = z.infer<typeof containerList>;

/** Answer of GET /endpoints. */
export const endpointList = z.strictObject({ endpoints: z.array(endpoint) }).meta({ id: 'EndpointList' });
export type EndpointList = z.infer<typeof endpointList>;

/** Name of the host's side of an endpoint's veth pair. */
export function hostInterface(id: number): string {
  return `qn${id.toString(16).padStart(8, '0')}`;
}

/** Name of the container's side while it has not gone into the container yet. */
export function stagedInterface(id: number): string {
  return `qp${id.toString(16).padStart(8, '0')}`;
}

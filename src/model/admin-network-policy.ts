/**
 * AdminNetworkPolicy and BaselineAdminNetworkPolicy of policy.networking.k8s.io/v1alpha1, which
 * ClusterNetworkPolicy has replaced. They are taken, and kept as what replaced them.
 */
import { z } from 'zod';
import {
  CLUSTER_NETWORK_POLICY_API_VERSION,
  CLUSTER_NETWORK_POLICY_KIND,
  CLUSTER_RULES_MAX,
  type ClusterNetworkPolicy,
  type ClusterPolicyAction,
  type ClusterPolicyProtocol,
  checkNamedPorts,
  END_BEFORE_START,
  endsAfterStart,
  items,
  outsidePeers,
  PRIORITY_MAX,
  priority,
  ruleName,
} from './cluster-network-policy.js';
import { bounded, clusterMetadata, labelSelector, object, oneOf } from './kubernetes.js';
import { type Protocol, port, portName, protocol } from './names.js';

export const ADMIN_NETWORK_POLICY_API_VERSION = 'policy.networking.k8s.io/v1alpha1';
export const ADMIN_NETWORK_POLICY_KIND = 'AdminNetworkPolicy';
export const BASELINE_ADMIN_NETWORK_POLICY_KIND = 'BaselineAdminNetworkPolicy';

/** The name of the one BaselineAdminNetworkPolicy that a cluster may have. */
const BASELINE_NAME = 'default';
const RULES = 'rules in one direction';

const namespacedPod = object(
  z.strictObject({ namespaceSelector: labelSelector, podSelector: labelSelector }),
);
const endpoints = { namespaces: labelSelector.optional(), pods: namespacedPod.optional() };
const subject = oneOf(z.strictObject(endpoints));
const ingressPeer = oneOf(z.strictObject(endpoints));
const egressPeer = oneOf(z.strictObject({ ...endpoints, ...outsidePeers }));

const transport = protocol.default('TCP');
const portNumber = object(z.strictObject({ protocol: transport, port }));
const portRange = object(
  z.strictObject({ protocol: transport, start: port, end: port }).refine(endsAfterStart, END_BEFORE_START),
);
const portMatch = oneOf(
  z.strictObject({
    portNumber: portNumber.optional(),
    portRange: portRange.optional(),
    namedPort: portName.optional(),
  }),
);
type PortMatch = z.output<typeof portMatch>;

/** The rules of both directions, of which each has one of the actions. */
function rulesWith<const Action extends string>(actions: readonly Action[]) {
  const common = {
    name: ruleName,
    action: z.enum(actions),
    ports: items(portMatch, 'ports').optional(),
  };
  const ingress = object(z.strictObject({ ...common, from: items(ingressPeer, 'peers') }));
  const egress = object(
    z
      .strictObject({ ...common, to: items(egressPeer, 'peers') })
      .check(checkNamedPorts(({ ports = [] }) => ports.some(({ namedPort }) => namedPort !== undefined))),
  );
  return {
    ingress: bounded(ingress, CLUSTER_RULES_MAX, RULES).optional(),
    egress: bounded(egress, CLUSTER_RULES_MAX, RULES).optional(),
  };
}

export const adminNetworkPolicy = object(
  z
    .strictObject({
      apiVersion: z.literal(ADMIN_NETWORK_POLICY_API_VERSION),
      kind: z.literal(ADMIN_NETWORK_POLICY_KIND),
      metadata: clusterMetadata,
      spec: object(z.strictObject({ priority, subject, ...rulesWith(['Allow', 'Deny', 'Pass']) })),
    })
    // Once they are ClusterNetworkPolicy, the two kinds share their names.
    .refine(({ metadata }) => metadata.name !== BASELINE_NAME, {
      path: ['metadata', 'name'],
      error: `must not be ${BASELINE_NAME}, which is the name of the ${BASELINE_ADMIN_NETWORK_POLICY_KIND}`,
    })
    .meta({
      id: 'AdminNetworkPolicy',
      description: `AdminNetworkPolicy of ${ADMIN_NETWORK_POLICY_API_VERSION}`,
    }),
  ['status'],
);
type AdminNetworkPolicy = z.output<typeof adminNetworkPolicy>;

export const baselineAdminNetworkPolicy = object(
  z
    .strictObject({
      apiVersion: z.literal(ADMIN_NETWORK_POLICY_API_VERSION),
      kind: z.literal(BASELINE_ADMIN_NETWORK_POLICY_KIND),
      metadata: clusterMetadata,
      spec: object(z.strictObject({ subject, ...rulesWith(['Allow', 'Deny']) })),
    })
    .refine(({ metadata }) => metadata.name === BASELINE_NAME, {
      path: ['metadata', 'name'],
      error: `must be ${BASELINE_NAME}: there is one ${BASELINE_ADMIN_NETWORK_POLICY_KIND}`,
    })
    .meta({
      id: 'BaselineAdminNetworkPolicy',
      description: `BaselineAdminNetworkPolicy of ${ADMIN_NETWORK_POLICY_API_VERSION}`,
    }),
  ['status'],
);
type BaselineAdminNetworkPolicy = z.output<typeof baselineAdminNetworkPolicy>;

/** The ClusterNetworkPolicy that says the same. */
export function clusterPolicyFrom(
  policy: AdminNetworkPolicy | BaselineAdminNetworkPolicy,
): ClusterNetworkPolicy {
  const { subject, ingress, egress }: Omit<AdminNetworkPolicy['spec'], 'priority'> = policy.spec;
  return {
    apiVersion: CLUSTER_NETWORK_POLICY_API_VERSION,
    kind: CLUSTER_NETWORK_POLICY_KIND,
    metadata: policy.metadata,
    spec: {
      ...(policy.kind === ADMIN_NETWORK_POLICY_KIND
        ? { tier: 'Admin', priority: policy.spec.priority }
        : { tier: 'Baseline', priority: PRIORITY_MAX }),
      subject,
      ...(ingress && {
        ingress: ingress.map(({ action, ports, ...rule }) => ({ ...rule, ...inNewWords(action, ports) })),
      }),
      ...(egress && {
        egress: egress.map(({ action, ports, ...rule }) => ({ ...rule, ...inNewWords(action, ports) })),
      }),
    },
  };
}

/** What is done, and at which ports; who is meant is said as before. */
function inNewWords(action: 'Allow' | 'Deny' | 'Pass', ports: readonly PortMatch[] | undefined) {
  const word: ClusterPolicyAction = action === 'Allow' ? 'Accept' : action;
  return { action: word, ...(ports && { protocols: ports.map(protocolMatchFrom) }) };
}

const PROTOCOL_FIELDS = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const satisfies Record<Protocol, string>;

function protocolMatchFrom({ portNumber, portRange, namedPort }: PortMatch): ClusterPolicyProtocol {
  if (portNumber !== undefined) {
    return { [PROTOCOL_FIELDS[portNumber.protocol]]: { destinationPort: { number: portNumber.port } } };
  }
  if (portRange !== undefined) {
    const { protocol, ...range } = portRange;
    return { [PROTOCOL_FIELDS[protocol]]: { destinationPort: { range } } };
  }
  return { destinationNamedPort: namedPort };
}

/**
 * ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2, as the Network Policy API defines it
 * (https://network-policy-api.sigs.k8s.io/reference/spec/), with bounds.
 */
import { z } from 'zod';
import { maskedCidr } from './address.js';
import { bounded, clusterMetadata, labelSelector, object, oneOf, together } from './kubernetes.js';
import { port, portName } from './names.js';
import { RULE_ITEMS_MAX } from './network-policy.js';

export const CLUSTER_NETWORK_POLICY_API_VERSION = 'policy.networking.k8s.io/v1alpha2';
export const CLUSTER_NETWORK_POLICY_KIND = 'ClusterNetworkPolicy';

/** The lowest precedence; 0 is the highest. */
export const PRIORITY_MAX = 1000;
/** Most rules of one direction: what AdminNetworkPolicy of v1alpha1 allows. v1alpha2 has 25. */
export const CLUSTER_RULES_MAX = 100;
const RULES = 'rules in one direction';

const TIERS = ['Admin', 'Baseline'] as const;
const ACTIONS = ['Accept', 'Deny', 'Pass'] as const;
export type ClusterPolicyAction = (typeof ACTIONS)[number];

/** A list that is not empty: to have nothing in it would not mean everything, as it does in NetworkPolicy. */
export function items<Schema extends z.ZodType>(schema: Schema, what: string) {
  return z
    .array(schema)
    .min(1, `needs at least one of ${what}`)
    .max(RULE_ITEMS_MAX, `at most ${RULE_ITEMS_MAX} ${what}`);
}

const namespacedPod = object(
  z
    .strictObject({ namespaceSelector: labelSelector.prefault({}), podSelector: labelSelector })
    .meta({ id: 'NamespacedPod' }),
);

/** Endpoints, by the labels of their namespaces and by their own: what a policy and its rules are about. */
const endpoints = { namespaces: labelSelector.optional(), pods: namespacedPod.optional() };

/** Peers that only an egress rule can have. */
export const outsidePeers = {
  nodes: labelSelector.optional(),
  networks: items(maskedCidr, 'networks').optional(),
  domainNames: z.never('domain names are not supported yet').optional(),
};

const subject = oneOf(z.strictObject(endpoints));
const ingressPeer = oneOf(z.strictObject(endpoints));
const egressPeer = oneOf(z.strictObject({ ...endpoints, ...outsidePeers }));
export type ClusterPolicyPeer = z.output<typeof egressPeer>;

/** Whether a range of ports has more than one: a single one has a form of its own. */
export function endsAfterStart({ start, end }: { start: number; end: number }): boolean {
  return start < end;
}
export const END_BEFORE_START = { path: ['end'], error: 'must be greater than `start`' };

const portRange = object(z.strictObject({ start: port, end: port }).refine(endsAfterStart, END_BEFORE_START));
const destinationPort = oneOf(z.strictObject({ number: port.optional(), range: portRange.optional() }));

/** What there is to match of one protocol; one thing at least, as an empty object may once mean something else. */
const protocolFields = object(
  z
    .strictObject({ destinationPort: destinationPort.optional() })
    .refine(
      (fields) => Object.values(fields).some((field) => field !== undefined),
      together('needs a destinationPort'),
    ),
);

const protocolMatch = oneOf(
  z.strictObject({
    tcp: protocolFields.optional(),
    udp: protocolFields.optional(),
    sctp: protocolFields.optional(),
    destinationNamedPort: portName.optional(),
  }),
);
export type ClusterPolicyProtocol = z.output<typeof protocolMatch>;

export const ruleName = z.string().max(100).optional().describe('Name of the rule, for readers');
const common = {
  name: ruleName,
  action: z.enum(ACTIONS),
  protocols: items(protocolMatch, 'protocols').optional(),
};

/** Refuses peers without names of ports in an egress rule that names some: it would never match them. */
export function checkNamedPorts<Rule extends { to: readonly { networks?: unknown; nodes?: unknown }[] }>(
  namesPorts: (rule: Rule) => boolean,
) {
  return ({ value, issues }: z.core.ParsePayload<Rule>) => {
    if (!namesPorts(value)) return;
    for (const [index, peer] of value.to.entries()) {
      if (peer.networks === undefined && peer.nodes === undefined) continue;
      const message = 'has no named ports: use numbers in this rule';
      issues.push({ code: 'custom', path: ['to', index], message, input: peer });
    }
  };
}

const ingressRule = object(z.strictObject({ ...common, from: items(ingressPeer, 'peers') }));
const egressRule = object(
  z
    .strictObject({ ...common, to: items(egressPeer, 'peers') })
    .check(
      checkNamedPorts(({ protocols = [] }) =>
        protocols.some(({ destinationNamedPort }) => destinationNamedPort !== undefined),
      ),
    ),
);

export const priority = z
  .int()
  .min(0)
  .max(PRIORITY_MAX)
  .describe(`0 (asked first) to ${PRIORITY_MAX}; at the same priority the earlier rule of each counts first`);

const spec = object(
  z.strictObject({
    tier: z.enum(TIERS).describe('Admin: asked before every NetworkPolicy. Baseline: asked after them'),
    priority,
    subject,
    ingress: bounded(ingressRule, CLUSTER_RULES_MAX, RULES).optional(),
    egress: bounded(egressRule, CLUSTER_RULES_MAX, RULES).optional(),
  }),
);

/** A policy as it is kept and answered: defaults filled in, what is another cluster's dropped. */
export const clusterNetworkPolicy = object(
  z
    .strictObject({
      apiVersion: z.literal(CLUSTER_NETWORK_POLICY_API_VERSION),
      kind: z.literal(CLUSTER_NETWORK_POLICY_KIND),
      metadata: clusterMetadata,
      spec,
    })
    .meta({
      id: 'ClusterNetworkPolicy',
      description: 'ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2',
    }),
  ['status'],
);
export type ClusterNetworkPolicy = z.output<typeof clusterNetworkPolicy>;

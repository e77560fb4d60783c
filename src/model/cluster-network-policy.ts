/**
 * ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2, as the Network Policy API defines it
 * (https://network-policy-api.sigs.k8s.io/reference/spec/), with bounds.
 */
import { z } from 'zod';
import { anyCidr } from './address.js';
import { bounded, clusterMetadata, labelSelector, object } from './kubernetes.js';
import { port, portName } from './names.js';
import { RULE_ITEMS_MAX } from './network-policy.js';

export const CLUSTER_NETWORK_POLICY_API_VERSION = 'policy.networking.k8s.io/v1alpha2';
export const CLUSTER_NETWORK_POLICY_KIND = 'ClusterNetworkPolicy';

/** The lowest precedence; 0 is the highest. */
export const PRIORITY_MAX = 1000;
/** Most rules of one direction: what AdminNetworkPolicy of v1alpha1 allows. v1alpha2 has 25. */
export const CLUSTER_RULES_MAX = 100;

const TIERS = ['Admin', 'Baseline'] as const;
const ACTIONS = ['Accept', 'Deny', 'Pass'] as const;
export type ClusterPolicyAction = (typeof ACTIONS)[number];

/** Exactly one of the fields, as the union types of Kubernetes are written. */
function oneOf<Schema extends z.ZodObject>(schema: Schema) {
  const names = Object.keys(schema.shape);
  return object(
    schema.refine(
      (value) => names.filter((name) => (value as Record<string, unknown>)[name] !== undefined).length === 1,
      `must have exactly one of ${names.join(', ')}`,
    ) as unknown as Schema,
  );
}

function items<Schema extends z.ZodType>(schema: Schema, what: string) {
  return z
    .array(schema)
    .min(1, `needs at least one of ${what}`)
    .max(RULE_ITEMS_MAX, `at most ${RULE_ITEMS_MAX} ${what}`);
}

const namespacedPod = object(
  z
    .strictObject({ namespaceSelector: labelSelector, podSelector: labelSelector })
    .meta({ id: 'NamespacedPod' }),
);

const subject = oneOf(
  z.strictObject({ namespaces: labelSelector.optional(), pods: namespacedPod.optional() }),
);

const ingressPeer = oneOf(
  z.strictObject({ namespaces: labelSelector.optional(), pods: namespacedPod.optional() }),
);

const egressPeer = oneOf(
  z.strictObject({
    namespaces: labelSelector.optional(),
    pods: namespacedPod.optional(),
    nodes: labelSelector.optional(),
    networks: items(anyCidr, 'networks').optional(),
    domainNames: z.never('domain names are not supported yet').optional(),
  }),
);
export type ClusterPolicyPeer = z.output<typeof egressPeer>;

const destinationPort = oneOf(
  z.strictObject({
    number: port.optional(),
    range: object(
      z.strictObject({ start: port, end: port }).refine(({ start, end }) => start < end, {
        path: ['end'],
        error: 'must be greater than `start`',
      }),
    ).optional(),
  }),
);
const withPort = object(z.strictObject({ destinationPort: destinationPort.optional() }));

const protocolMatch = oneOf(
  z.strictObject({
    tcp: withPort.optional(),
    udp: withPort.optional(),
    sctp: withPort.optional(),
    destinationNamedPort: portName.optional(),
  }),
);
export type ClusterPolicyProtocol = z.output<typeof protocolMatch>;

const ruleName = z.string().max(100).optional().describe('Name of the rule, for readers');
const common = {
  name: ruleName,
  action: z.enum(ACTIONS),
  protocols: items(protocolMatch, 'protocols').optional(),
};

const ingressRule = object(z.strictObject({ ...common, from: items(ingressPeer, 'peers') }));
const egressRule = object(
  z.strictObject({ ...common, to: items(egressPeer, 'peers') }).check(({ value, issues }) => {
    const named = (value.protocols ?? []).some(
      ({ destinationNamedPort }) => destinationNamedPort !== undefined,
    );
    if (!named) return;
    for (const [index, { networks, nodes }] of value.to.entries()) {
      if (networks === undefined && nodes === undefined) continue;
      const message = 'has no named ports: use numbers in this rule';
      issues.push({ code: 'custom', path: ['to', index], message, input: value.to[index] });
    }
  }),
);

const spec = object(
  z.strictObject({
    tier: z.enum(TIERS),
    priority: z.int().min(0).max(PRIORITY_MAX).describe(`0 (asked first) to ${PRIORITY_MAX}`),
    subject,
    ingress: bounded(ingressRule, CLUSTER_RULES_MAX, 'rules').optional(),
    egress: bounded(egressRule, CLUSTER_RULES_MAX, 'rules').optional(),
  }),
);

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

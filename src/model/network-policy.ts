/**
 * NetworkPolicy of networking.k8s.io/v1, as Kubernetes defines it
 * (https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/), with its
 * defaults filled in and with bounds.
 */
import { z } from 'zod';
import { cidrWithin, maskedCidr, parseCidr } from './address.js';
import { bounded, labelSelector, namespacedMetadata, object, together } from './kubernetes.js';
import { port, portName, protocol } from './names.js';

export const NETWORK_POLICY_API_VERSION = 'networking.k8s.io/v1';
export const NETWORK_POLICY_KIND = 'NetworkPolicy';

/** Most rules of one policy, both directions together. */
export const RULES_MAX = 1000;
/** Most peers, and most ports, of one rule. */
export const RULE_ITEMS_MAX = 100;
/** Most exceptions of one range. */
export const EXCEPT_MAX = 100;

const ipBlock = object(
  z
    .strictObject({ cidr: maskedCidr, except: bounded(maskedCidr, EXCEPT_MAX, 'exceptions').optional() })
    .check(({ value, issues }) => {
      const whole = parseCidr(value.cidr);
      for (const [index, except] of (value.except ?? []).entries()) {
        const part = parseCidr(except);
        if (cidrWithin(part, whole) && part.prefixLength > whole.prefixLength) continue;
        const message = `must be a part of ${value.cidr}, and not all of it`;
        issues.push({ code: 'custom', path: ['except', index], message, input: except });
      }
    })
    .meta({ id: 'IPBlock' }),
);
export type IpBlock = z.output<typeof ipBlock>;

const policyPeer = object(
  z
    .strictObject({
      podSelector: labelSelector.optional(),
      namespaceSelector: labelSelector.optional(),
      ipBlock: ipBlock.optional(),
    })
    .refine(
      (peer) =>
        (peer.podSelector !== undefined || peer.namespaceSelector !== undefined) !==
        (peer.ipBlock !== undefined),
      together('must have either an ipBlock, or a podSelector, a namespaceSelector or both'),
    )
    .meta({ id: 'NetworkPolicyPeer' }),
);
export type PolicyPeer = z.output<typeof policyPeer>;

const policyPort = object(
  z
    .strictObject({
      protocol: protocol.default('TCP'),
      port: z.union([port, portName]).optional(),
      endPort: port.optional(),
    })
    .check(({ value, issues }) => {
      if (value.endPort === undefined) return;
      const report = (message: string) =>
        issues.push({ code: 'custom', path: ['endPort'], message, input: value.endPort });
      if (value.port === undefined) report('needs `port`, the first port of the range');
      else if (typeof value.port === 'string') report('needs a number as `port`, not a name');
      else if (value.endPort < value.port) report('must not be less than `port`');
    })
    .meta({ id: 'NetworkPolicyPort' }),
);
export type PolicyPort = z.output<typeof policyPort>;

const rulePeers = bounded(policyPeer, RULE_ITEMS_MAX, 'peers').optional();
const rulePorts = bounded(policyPort, RULE_ITEMS_MAX, 'ports').optional();

const ingressRule = object(z.strictObject({ from: rulePeers, ports: rulePorts }));
const egressRule = object(z.strictObject({ to: rulePeers, ports: rulePorts }));

const POLICY_TYPES = ['Ingress', 'Egress'] as const;
const RULES = 'rules in a policy';

const policySpec = object(
  z
    .strictObject({
      podSelector: labelSelector.prefault({}),
      policyTypes: z.array(z.enum(POLICY_TYPES)).max(2).optional(),
      ingress: bounded(ingressRule, RULES_MAX, RULES).optional(),
      egress: bounded(egressRule, RULES_MAX, RULES).optional(),
    })
    .check(({ value, issues }) => {
      if ((value.ingress?.length ?? 0) + (value.egress?.length ?? 0) <= RULES_MAX) return;
      issues.push({ code: 'custom', message: `at most ${RULES_MAX} ${RULES}`, input: value });
    })
    .overwrite((spec) => ({ ...spec, policyTypes: effectivePolicyTypes(spec) }))
    .meta({ id: 'NetworkPolicySpec' }),
);
export type PolicySpec = z.output<typeof policySpec>;

/** A policy as it is kept and answered: defaults filled in, what is another cluster's dropped. */
export const networkPolicy = object(
  z
    .strictObject({
      apiVersion: z.literal(NETWORK_POLICY_API_VERSION),
      kind: z.literal(NETWORK_POLICY_KIND),
      metadata: namespacedMetadata,
      spec: policySpec,
    })
    .meta({ id: 'NetworkPolicy', description: 'NetworkPolicy of networking.k8s.io/v1' }),
  ['status'],
);
export type NetworkPolicy = z.output<typeof networkPolicy>;

export type PolicyType = (typeof POLICY_TYPES)[number];

/**
 * The directions that a policy isolates: `policyTypes`, or when that is missing or empty, Ingress always and
 * Egress if there is an egress rule (an empty `egress` list is none, as in Kubernetes).
 */
export function effectivePolicyTypes(spec: {
  policyTypes?: PolicyType[] | undefined;
  egress?: readonly unknown[] | undefined;
}): PolicyType[] {
  if (spec.policyTypes !== undefined && spec.policyTypes.length > 0) return [...new Set(spec.policyTypes)];
  return (spec.egress?.length ?? 0) > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
}

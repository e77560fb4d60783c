/**
 * NetworkPolicy of networking.k8s.io/v1, as Kubernetes defines it
 * (https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/), with its
 * defaults filled in and with bounds. An explicit null means the same as a missing field, as it does there.
 */
import { z } from 'zod';
import { AppError, parseWith } from './errors.js';
import {
  DEFAULT_NAMESPACE,
  dnsLabel,
  dnsSubdomain,
  LABELS_MAX,
  labelKey,
  labels,
  labelValue,
  port,
  protocol,
} from './names.js';
import { parseYaml } from './yaml-text.js';

export const POLICY_API_VERSION = 'networking.k8s.io/v1';
export const POLICY_KIND = 'NetworkPolicy';

/** Largest text of one policy, bytes. */
export const POLICY_TEXT_MAX = 256 * 1024;
/** Most rules of one policy, both directions together. */
export const RULES_MAX = 1000;
/** Most peers, and most ports, of one rule. */
export const RULE_ITEMS_MAX = 100;
/** Most values of one match expression. */
export const SELECTOR_VALUES_MAX = 100;
/** Most characters of all annotations together. */
export const ANNOTATIONS_SIZE_MAX = 64 * 1024;

/** Metadata that `kubectl get -o yaml` adds; it belongs to the cluster that the policy was read from. */
const FOREIGN_METADATA = [
  'uid',
  'resourceVersion',
  'creationTimestamp',
  'generation',
  'managedFields',
  'selfLink',
];

/**
 * An object of Kubernetes: a known field that is null is as good as missing (not so the values of a map such
 * as matchLabels), and what `ignored` names is dropped.
 */
function object<Schema extends z.ZodObject>(schema: Schema, ignored: readonly string[] = []) {
  const known = new Set(Object.keys(schema.shape));
  const dropped = new Set(ignored);
  return z.preprocess((value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const kept = Object.entries(value).filter(
      ([key, field]) => !dropped.has(key) && !(field === null && known.has(key)),
    );
    return Object.fromEntries(kept);
  }, schema);
}

function bounded<Schema extends z.ZodType>(schema: Schema, max: number, what: string) {
  return z.array(schema).max(max, `at most ${max} ${what}`);
}

export const SELECTOR_OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;
export type SelectorOperator = (typeof SELECTOR_OPERATORS)[number];

const selectorRequirement = object(
  z
    .strictObject({
      key: labelKey,
      operator: z.enum(SELECTOR_OPERATORS),
      values: bounded(labelValue, SELECTOR_VALUES_MAX, 'values').optional(),
    })
    .check(({ value, issues }) => {
      const listed = value.values?.length ?? 0;
      const wanted = value.operator === 'In' || value.operator === 'NotIn';
      if (wanted === listed > 0) return;
      const message = wanted
        ? `needs at least one value with ${value.operator}`
        : `must be empty with ${value.operator}`;
      issues.push({ code: 'custom', path: ['values'], message, input: value.values });
    }),
);
export type SelectorRequirement = z.output<typeof selectorRequirement>;

/** What selects by labels. All of it must hold; an empty selector matches everything. */
export const labelSelector = object(
  z
    .strictObject({
      matchLabels: labels.optional(),
      matchExpressions: bounded(selectorRequirement, LABELS_MAX, 'expressions').optional(),
    })
    .meta({ id: 'LabelSelector' }),
);
export type LabelSelector = z.output<typeof labelSelector>;

const policyPeer = object(
  z
    .strictObject({
      podSelector: labelSelector.optional(),
      namespaceSelector: labelSelector.optional(),
      ipBlock: z.never('ipBlock is not supported yet').optional(),
    })
    .refine(
      (peer) => peer.podSelector !== undefined || peer.namespaceSelector !== undefined,
      'must have a podSelector, a namespaceSelector or both',
    )
    .meta({ id: 'NetworkPolicyPeer' }),
);
export type PolicyPeer = z.output<typeof policyPeer>;

const numericPort = z
  .int({
    error: ({ input }) => (typeof input === 'string' ? 'a named port is not supported yet' : undefined),
  })
  .pipe(port);

const policyPort = object(
  z
    .strictObject({
      protocol: protocol.default('TCP'),
      port: numericPort.optional(),
      endPort: port.optional(),
    })
    .check(({ value, issues }) => {
      if (value.endPort === undefined) return;
      const report = (message: string) =>
        issues.push({ code: 'custom', path: ['endPort'], message, input: value.endPort });
      if (value.port === undefined) report('needs `port`, the first port of the range');
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
      podSelector: labelSelector.default({}),
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

const annotations = z
  .record(labelKey, z.string())
  .refine((record) => Object.keys(record).length <= LABELS_MAX, `at most ${LABELS_MAX} annotations`)
  .refine(
    (record) => Object.entries(record).flat().join('').length <= ANNOTATIONS_SIZE_MAX,
    `annotations have at most ${ANNOTATIONS_SIZE_MAX} characters together`,
  )
  .describe('Notes for readers; they have no effect');

/** Kubernetes lets a policy's name be a DNS subdomain, not only a label. */
export const policyName = dnsSubdomain.describe('Name of the policy: a DNS name, at most 253 characters');

const policyMetadata = object(
  z.strictObject({
    name: policyName,
    namespace: dnsLabel.default(DEFAULT_NAMESPACE),
    labels: labels.optional(),
    annotations: annotations.optional(),
  }),
  FOREIGN_METADATA,
);

/** A policy as it is kept and answered: defaults filled in, what is another cluster's dropped. */
export const networkPolicy = object(
  z
    .strictObject({
      apiVersion: z.literal(POLICY_API_VERSION),
      kind: z.literal(POLICY_KIND),
      metadata: policyMetadata,
      spec: policySpec,
    })
    .meta({ id: 'NetworkPolicy', description: 'NetworkPolicy of networking.k8s.io/v1' }),
  ['status'],
);
export type NetworkPolicy = z.output<typeof networkPolicy>;

export const networkPolicyList = z
  .strictObject({ policies: z.array(networkPolicy) })
  .meta({ id: 'NetworkPolicyList' });
export type NetworkPolicyList = z.output<typeof networkPolicyList>;

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

/** The policy in a value from outside. Throws INVALID_POLICY with the path of each bad field. */
export function parsePolicy(value: unknown): NetworkPolicy {
  return parseWith(networkPolicy, value, 'INVALID_POLICY', 'policy');
}

/**
 * The policy in a text.
 * Throws PAYLOAD_TOO_LARGE, INVALID_JSON (syntax; the message tells the line), INVALID_POLICY.
 */
export function parsePolicyText(text: string, format: 'json' | 'yaml'): NetworkPolicy {
  const size = Buffer.byteLength(text);
  if (size > POLICY_TEXT_MAX) {
    throw new AppError(
      'PAYLOAD_TOO_LARGE',
      `the policy has ${size} bytes; at most ${POLICY_TEXT_MAX} are allowed`,
    );
  }
  return parsePolicy(format === 'json' ? valueOfJson(text) : parseYaml(text));
}

function valueOfJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new AppError('INVALID_JSON', `invalid JSON: ${message}`, {
      details: [{ path: '', message }],
      cause: error,
    });
  }
}

/**
 * The parts that objects of Kubernetes have in common: how a missing field is written, selectors, metadata. With
 * bounds; an explicit null means the same as a missing field, as it does there.
 */
import { z } from 'zod';
import {
  byLabelKey,
  DEFAULT_NAMESPACE,
  dnsLabel,
  dnsSubdomain,
  LABELS_MAX,
  labelKey,
  labelOf,
  labels,
  labelValue,
} from './names.js';

/** Most values of one match expression. */
export const SELECTOR_VALUES_MAX = 100;
/** Most characters of all annotations together, as in Kubernetes: kubectl keeps a copy of the whole object in one. */
export const ANNOTATIONS_SIZE_MAX = 256 * 1024;

/** Metadata that `kubectl get -o yaml` adds; it belongs to the cluster that the policy was read from. */
const FOREIGN_METADATA = [
  'uid',
  'resourceVersion',
  'creationTimestamp',
  'generation',
  'managedFields',
  'selfLink',
  'generateName',
  'ownerReferences',
  'finalizers',
];

/**
 * An object of Kubernetes: a known field that is null is as good as missing (not so the values of a map such
 * as matchLabels), and what `ignored` names is dropped.
 */
export function object<Schema extends z.ZodObject>(schema: Schema, ignored: readonly string[] = []) {
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

export function bounded<Schema extends z.ZodType>(schema: Schema, max: number, what: string) {
  return z.array(schema).max(max, `at most ${max} ${what}`);
}

/** For a rule about fields together: not asked where one of them is bad or unknown, which is told already. */
export function together(error: string) {
  return { error, when: ({ issues }: z.core.ParsePayload) => issues.length === 0 };
}

/** An object of which exactly one field is there: how Kubernetes writes unions. */
export function oneOf<Schema extends z.ZodObject>(schema: Schema) {
  const names = Object.keys(schema.shape);
  return object(
    schema.refine(
      (value) => Object.values(value).filter((field) => field !== undefined).length === 1,
      together(`must have exactly one of ${names.join(', ')}`),
    ),
  );
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

/** Annotations with this prefix are ours, and a mistyped one must not be taken for a note. */
const OUR_ANNOTATIONS = 'quantum.network/';
/** Says what becomes of a policy: `enforce` (as without it), or `audit`: it is counted and told, not enforced. */
export const MODE_ANNOTATION = `${OUR_ANNOTATIONS}mode`;
export const MODES = ['enforce', 'audit'] as const;
export type PolicyMode = (typeof MODES)[number];

const annotations = byLabelKey(z.string())
  .refine((record) => Object.keys(record).length <= LABELS_MAX, `at most ${LABELS_MAX} annotations`)
  .refine(
    (record) => Object.entries(record).flat().join('').length <= ANNOTATIONS_SIZE_MAX,
    `annotations have at most ${ANNOTATIONS_SIZE_MAX} characters together`,
  )
  .check(({ value, issues }) => {
    for (const [key, given] of Object.entries(value)) {
      if (!key.startsWith(OUR_ANNOTATIONS)) continue;
      const report = (message: string) => issues.push({ code: 'custom', path: [key], message, input: given });
      if (key !== MODE_ANNOTATION) report(`is no annotation of ours; there is ${MODE_ANNOTATION}`);
      else if (!MODES.some((mode) => mode === given)) report(`must be one of ${MODES.join(', ')}`);
    }
  })
  .describe(`Notes for readers; only ${MODE_ANNOTATION} has an effect`);

/** Kubernetes lets a policy's name be a DNS subdomain, not only a label. */
export const policyName = dnsSubdomain.describe('Name of the policy: a DNS name, at most 253 characters');

const namedMetadata = {
  name: policyName,
  labels: labels.optional(),
  annotations: annotations.optional(),
};

/** Metadata of an object in a namespace. */
export const namespacedMetadata = object(
  z.strictObject({ ...namedMetadata, namespace: dnsLabel.default(DEFAULT_NAMESPACE) }),
  FOREIGN_METADATA,
);

/** Metadata of a list: there is nothing in it to say of what is listed, least of all an annotation. */
export const listMetadata = object(z.strictObject({}), [
  'resourceVersion',
  'selfLink',
  'continue',
  'remainingItemCount',
]);

/** Metadata of an object of the whole cluster. */
export const clusterMetadata = object(z.strictObject(namedMetadata), FOREIGN_METADATA);

interface Annotated {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> | undefined };
}

export function modeOf({ metadata }: Annotated): PolicyMode {
  return isAudited({ metadata }) ? 'audit' : 'enforce';
}

/** Whether a policy is counted and told but not enforced. */
export function isAudited({ metadata }: Annotated): boolean {
  return labelOf(metadata.annotations ?? {}, MODE_ANNOTATION) === 'audit';
}

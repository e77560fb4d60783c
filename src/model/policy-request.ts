/**
 * What a request may bring: one policy, or several that are applied as a whole, as documents of a text or as a
 * list, which is what `kubectl get -o yaml` writes.
 */
import { z } from 'zod';
import { badFieldsError, dottedPath, type ErrorDetail, errorDetails } from './errors.js';
import { listMetadata, object } from './kubernetes.js';
import { kindOf, POLICY_KINDS, POLICY_SCHEMAS, type Policy, policyRef, readPolicy } from './policy.js';

/** Largest text of one request, bytes: a policy of a thousand rules fits, with the copy that kubectl keeps in it. */
export const POLICY_TEXT_MAX = 1 << 20;
/** Most policies of one request. */
export const POLICIES_MAX = 256;

/** The policies of one request, and whether it has the form of a single one. */
export interface PolicyRequest {
  readonly policies: readonly Policy[];
  readonly isSingle: boolean;
}

interface ListKind {
  readonly apiVersion: string;
  /** The kind of its items; undefined: any. */
  readonly of?: string;
}

/** Lists, by their kind. */
const LISTS = new Map<string, ListKind>([
  ['List', { apiVersion: 'v1' }],
  ...POLICY_KINDS.map((of): [string, ListKind] => [
    `${of}List`,
    { of, apiVersion: POLICY_SCHEMAS[of].out.shape.apiVersion.value },
  ]),
]);

function listOf<Item extends z.ZodType>(item: Item) {
  return object(
    z
      .strictObject({
        apiVersion: z.string().max(64),
        kind: z.enum([...LISTS.keys()]),
        metadata: listMetadata.optional(),
        items: z
          .array(item)
          .min(1, 'needs at least one policy')
          .max(POLICIES_MAX, `at most ${POLICIES_MAX} policies`),
      })
      .check(({ value, issues }) => {
        const wanted = LISTS.get(value.kind)?.apiVersion;
        if (value.apiVersion === wanted) return;
        const message = `must be ${wanted} of a ${value.kind}`;
        issues.push({ code: 'custom', path: ['apiVersion'], message, input: value.apiVersion });
      }),
  );
}

/** Each item is read on its own, so that its bad fields are told by the schema of its kind. */
const list = listOf(z.unknown());

const givenPolicy = z.union(Object.values(POLICY_SCHEMAS));
const givenList = listOf(givenPolicy).meta({
  id: 'List',
  description: 'Several policies, as kubectl lists them',
});
/** The request as it is described to others; parsePolicies() reads it. */
export const policyRequest = z.union([...Object.values(POLICY_SCHEMAS), givenList]);

/** A value that is to be a policy, where it was, and its kind if that is known. */
interface Found {
  readonly value: unknown;
  readonly path: readonly PropertyKey[];
  readonly kind?: string | undefined;
}

/**
 * The policies in the documents of a request. Paths begin with the number of the document when there are several.
 * Throws INVALID_POLICY with the path of each bad field.
 */
export function parsePolicies(documents: readonly unknown[]): PolicyRequest {
  const details: ErrorDetail[] = [];
  const found = documents.flatMap((value, index): Found[] => {
    const path = documents.length === 1 ? [] : [index];
    if (!isList(value)) return [{ value, path }];
    const items = itemsOf(value, path);
    if ('details' in items) details.push(...items.details);
    return 'details' in items ? [] : items;
  });
  if (documents.length === 0) details.push({ path: '', message: 'there is no policy in it' });
  if (found.length > POLICIES_MAX) details.push({ path: '', message: `at most ${POLICIES_MAX} policies` });
  const isSingle = documents.length === 1 && !isList(documents[0]);
  const policies = details.length > 0 ? [] : read(found, details);
  if (details.length === 0) return { policies, isSingle };
  throw badFieldsError(details, 'INVALID_POLICY', isSingle ? 'policy' : 'policies');
}

function read(found: readonly Found[], details: ErrorDetail[]): Policy[] {
  const names = new Set<string>();
  return found.flatMap(({ value, path, kind }) => {
    const policy = readPolicy(value, path, kind);
    if (Array.isArray(policy)) {
      details.push(...policy);
      return [];
    }
    const { namespace, name } = policyRef(policy);
    const full = `${namespace}/${name}`;
    if (names.has(full)) {
      details.push({
        path: dottedPath([...path, 'metadata', 'name']),
        message: `there is another policy ${full} in the request`,
      });
    }
    names.add(full);
    return [policy];
  });
}

function isList(value: unknown): boolean {
  const kind = kindOf(value);
  return typeof kind === 'string' && LISTS.has(kind);
}

/** Items of a list of one kind need not say what they are. */
function itemsOf(value: unknown, path: readonly PropertyKey[]): Found[] | { details: ErrorDetail[] } {
  const result = list.safeParse(value);
  if (!result.success) return { details: errorDetails(result.error, path) };
  const { kind, apiVersion, items } = result.data;
  const of = LISTS.get(kind)?.of;
  return items.map((item, index) => ({
    value: of !== undefined && isObject(item) ? { apiVersion, kind: of, ...item } : item,
    path: [...path, 'items', index],
    kind: of,
  }));
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

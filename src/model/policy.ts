/** Every kind of policy, as it comes from outside: objects of Kubernetes, used without it. */
import { z } from 'zod';
import {
  ADMIN_NETWORK_POLICY_KIND,
  adminNetworkPolicy,
  BASELINE_ADMIN_NETWORK_POLICY_KIND,
  baselineAdminNetworkPolicy,
  clusterPolicyFrom,
} from './admin-network-policy.js';
import {
  CLUSTER_NETWORK_POLICY_KIND,
  type ClusterNetworkPolicy,
  clusterNetworkPolicy,
} from './cluster-network-policy.js';
import { badFieldsError, dottedPath, type ErrorDetail, errorDetails } from './errors.js';
import { CLUSTER_WIDE } from './names.js';
import { NETWORK_POLICY_KIND, type NetworkPolicy, networkPolicy } from './network-policy.js';

export type Policy = NetworkPolicy | ClusterNetworkPolicy;

export const policy = z.union([networkPolicy, clusterNetworkPolicy]);

export const policyList = z.strictObject({ policies: z.array(policy) }).meta({ id: 'PolicyList' });
export type PolicyList = z.output<typeof policyList>;

/** The name of a policy; namespace `-`: cluster-wide. */
export function policyRef(of: Policy): { namespace: string; name: string } {
  const namespace = of.kind === NETWORK_POLICY_KIND ? of.metadata.namespace : CLUSTER_WIDE;
  return { namespace, name: of.metadata.name };
}

/** The kinds that are taken. */
export const POLICY_SCHEMAS = {
  [NETWORK_POLICY_KIND]: networkPolicy,
  [CLUSTER_NETWORK_POLICY_KIND]: clusterNetworkPolicy,
  [ADMIN_NETWORK_POLICY_KIND]: adminNetworkPolicy,
  [BASELINE_ADMIN_NETWORK_POLICY_KIND]: baselineAdminNetworkPolicy,
};
export type PolicyKind = keyof typeof POLICY_SCHEMAS;
export const POLICY_KINDS = Object.keys(POLICY_SCHEMAS) as readonly PolicyKind[];

/** The same, making of each what is kept. */
const READERS: Readonly<Record<PolicyKind, z.ZodType<Policy>>> = {
  ...POLICY_SCHEMAS,
  [ADMIN_NETWORK_POLICY_KIND]: adminNetworkPolicy.transform(clusterPolicyFrom),
  [BASELINE_ADMIN_NETWORK_POLICY_KIND]: baselineAdminNetworkPolicy.transform(clusterPolicyFrom),
};

/** The policy in a value from outside. Throws INVALID_POLICY with the path of each bad field. */
export function parsePolicy(value: unknown): Policy {
  const result = readPolicy(value, []);
  if (!Array.isArray(result)) return result;
  throw badFieldsError(result, 'INVALID_POLICY', 'policy');
}

/**
 * The policy in a value, or its bad fields; `path` is where the value was found. Without a kind it is read by its own:
 * then each bad field is told by the schema of what was meant.
 */
export function readPolicy(
  value: unknown,
  path: readonly PropertyKey[],
  kind: unknown = kindOf(value),
): Policy | ErrorDetail[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [{ path: dottedPath(path), message: 'must be an object of Kubernetes' }];
  }
  const known = POLICY_KINDS.find((name) => name === kind);
  if (known === undefined) {
    const message = `must be one of ${POLICY_KINDS.join(', ')}`;
    return [{ path: dottedPath([...path, 'kind']), message }];
  }
  const result = READERS[known].safeParse(value);
  return result.success ? result.data : errorDetails(result.error, path);
}

export function kindOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
}

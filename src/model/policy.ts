/** Every kind of policy, as it comes from outside: objects of Kubernetes, used without it. */
import { z } from 'zod';
import {
  CLUSTER_NETWORK_POLICY_KIND,
  type ClusterNetworkPolicy,
  clusterNetworkPolicy,
} from './cluster-network-policy.js';
import { AppError, parseWith } from './errors.js';
import { CLUSTER_WIDE } from './names.js';
import { type NetworkPolicy, networkPolicy } from './network-policy.js';
import { parseYaml } from './yaml-text.js';

/** Largest text of one request, bytes. */
export const POLICY_TEXT_MAX = 256 * 1024;

export type Policy = NetworkPolicy | ClusterNetworkPolicy;

export const policy = z.union([networkPolicy, clusterNetworkPolicy]);

export const policyList = z.strictObject({ policies: z.array(policy) }).meta({ id: 'PolicyList' });
export type PolicyList = z.output<typeof policyList>;

/** The name of a policy; namespace `-`: cluster-wide. */
export function policyRef({ kind, metadata }: Policy): { namespace: string; name: string } {
  return { namespace: kind === 'NetworkPolicy' ? metadata.namespace : CLUSTER_WIDE, name: metadata.name };
}

/** The policy in a value from outside. Throws INVALID_POLICY with the path of each bad field. */
export function parsePolicy(value: unknown): Policy {
  return isClusterWide(value)
    ? parseWith(clusterNetworkPolicy, value, 'INVALID_POLICY', 'policy')
    : parseWith(networkPolicy, value, 'INVALID_POLICY', 'policy');
}

/** By kind alone: then each bad field is told by the schema of what was meant. */
function isClusterWide(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    'kind' in value &&
    value.kind === CLUSTER_NETWORK_POLICY_KIND
  );
}

/**
 * The policy in a text.
 * Throws PAYLOAD_TOO_LARGE, INVALID_JSON (syntax; the message tells the line), INVALID_POLICY.
 */
export function parsePolicyText(text: string, format: 'json' | 'yaml'): Policy {
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

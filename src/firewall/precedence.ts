/** Tier and precedence of each kind of rule. Within a tier the highest precedence wins; it has 32 bits in the maps. */
import {
  CLUSTER_RULES_MAX,
  type ClusterNetworkPolicy,
  PRIORITY_MAX,
} from '../model/cluster-network-policy.js';
import type { Tier, Verdict } from './types.js';

/** What counts when no policy decides. */
export const ISOLATION = { tier: 'default', precedence: 0 } as const;

/** Its rules all allow, so that none needs to come before another. */
export const NETWORK_POLICY = { tier: 'network-policy', precedence: 0 } as const;

/** The setting host_access: above all rules of its tier. */
export const HOST_ACCESS = { tier: 'admin', precedence: (PRIORITY_MAX + 1) * CLUSTER_RULES_MAX + 1 } as const;

const TIER_OF: Readonly<Record<ClusterNetworkPolicy['spec']['tier'], Tier>> = {
  Admin: 'admin',
  Baseline: 'baseline',
};

/** Of a rule of a ClusterNetworkPolicy: the lower the priority's number, and then its index, the higher; at least 1. */
export function clusterPolicyPlace(
  { tier, priority }: Pick<ClusterNetworkPolicy['spec'], 'tier' | 'priority'>,
  index: number,
): { tier: Tier; precedence: number } {
  const precedence = (PRIORITY_MAX - priority) * CLUSTER_RULES_MAX + (CLUSTER_RULES_MAX - index);
  return { tier: TIER_OF[tier], precedence };
}

/** Among rules of one precedence. */
export const STRENGTH: Readonly<Record<Verdict, number>> = { deny: 2, pass: 1, allow: 0 };

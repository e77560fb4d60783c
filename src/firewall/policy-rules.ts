import type { Policy } from '../model/policy.js';
import { clusterNetworkPolicyRules } from './cluster-network-policy.js';
import { networkPolicyRules } from './network-policy.js';
import type { PolicyRules } from './rules.js';
import type { LabelMap } from './selector.js';

/** The rules of a policy of either kind, on a node with these labels. */
export function policyRules(policy: Policy, node: LabelMap): PolicyRules {
  return policy.kind === 'NetworkPolicy'
    ? networkPolicyRules(policy)
    : clusterNetworkPolicyRules(policy, node);
}

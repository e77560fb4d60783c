/**
 * Precedence of rules, 0 to 65535; the highest wins. The gaps are the places of ClusterNetworkPolicy: its
 * Admin tier goes above NetworkPolicy, its Baseline tier between NetworkPolicy and the isolation mode.
 */
export const PRECEDENCE = { isolation: 0, networkPolicy: 0x8000 } as const;

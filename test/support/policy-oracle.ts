/**
 * NetworkPolicy, ClusterNetworkPolicy and the two kinds before it, the isolation modes and the setting host_access, read
 * off their definitions as plainly as possible: no tables, no indexes, no code of the product. It judges one packet at one of its ends,
 * slowly, from the policies as a user writes them. Where the definitions leave something open, a comment says
 * what is chosen here.
 *
 * https://kubernetes.io/docs/concepts/services-networking/network-policies/
 * https://network-policy-api.sigs.k8s.io/api-overview/
 */
import {
  adminPortMatches,
  clusterPeerMatches,
  clusterProtocolMatches,
  networkPolicyPeerMatches,
  networkPolicyPortMatches,
  selects,
  selectsNamespace,
  selectsPod,
} from './policy-oracle-match.js';
import type {
  OracleClusterPeer,
  OracleClusterPolicy,
  OracleEndpoint,
  OracleIdentity,
  OracleNetworkPolicy,
  OraclePacket,
  OraclePolicy,
  OracleTierPolicy,
  OracleVerdict,
  OracleWorld,
} from './policy-oracle-types.js';

export type * from './policy-oracle-types.js';

type Direction = OraclePacket['direction'];

/** Which policies count: those that are enforced, or as if the audited ones were enforced too. */
export type OracleMode = 'enforced' | 'audited';

export const HOST_ACCESS = 'host access';

/** May the packet pass, as far as the policies of its subject are concerned? */
export function oracleJudge(world: OracleWorld, packet: OraclePacket, mode: OracleMode): OracleVerdict {
  const policies = world.policies.filter((policy) => mode === 'audited' || !isAudited(policy));
  return (
    // The node is no enemy of its own containers when the operator says so: before any policy.
    hostAccess(world, packet) ??
    clusterTier(world, policies, 'Admin', packet) ??
    networkPolicyTier(world, policies, packet) ??
    clusterTier(world, policies, 'Baseline', packet) ??
    isolationMode(world, packet)
  );
}

export function isAudited({ metadata }: OraclePolicy): boolean {
  return metadata.annotations?.['quantum.network/mode'] === 'audit';
}

function hostAccess({ node }: OracleWorld, { direction, peer }: OraclePacket): OracleVerdict | undefined {
  if (node.hostAccess !== 'full' || direction !== 'ingress' || peer !== 'host') return undefined;
  return { verdict: 'allow', by: new Set([HOST_ACCESS]) };
}

/** A rule of a policy of the whole cluster, in whichever words that is written. */
interface TierRule {
  action: 'Accept' | 'Deny' | 'Pass';
  peers: OracleClusterPeer[];
  matchesPort: (packet: OraclePacket) => boolean;
}

/**
 * A tier of the policies of the whole cluster: the first rule that matches decides, in the order of priority and then of
 * the list. Undefined: the tier has no say.
 *
 * Among policies of the same priority the definition allows any to win. Here the rules that stand at the same place
 * in their lists are equal; of equal ones Deny wins over Pass, and Pass over Accept. Nothing says how the two generations of
 * policies stand to each other: an AdminNetworkPolicy is one of the tier Admin, and the BaselineAdminNetworkPolicy, which
 * has no priority, has the last one of the tier Baseline.
 */
function clusterTier(
  world: OracleWorld,
  policies: OraclePolicy[],
  tier: 'Admin' | 'Baseline',
  packet: OraclePacket,
): OracleVerdict | undefined {
  const matching = policies
    .filter((policy) => policy.kind !== 'NetworkPolicy')
    .filter((policy) => tierOf(policy) === tier)
    .filter(({ spec }) => isSubject(world, spec.subject, packet.subject.identity))
    .flatMap((policy) =>
      tierRules(policy, packet.direction).map((rule, index) => ({
        ...rule,
        policy: policy.metadata.name,
        priority: policy.kind === 'BaselineAdminNetworkPolicy' ? LAST_PRIORITY : policy.spec.priority,
        index,
      })),
    )
    .filter(
      ({ peers, matchesPort }) =>
        peers.some((peer) => clusterPeerMatches(world, peer, packet)) && matchesPort(packet),
    );
  const priority = Math.min(...matching.map((rule) => rule.priority));
  const ofPriority = matching.filter((rule) => rule.priority === priority);
  const index = Math.min(...ofPriority.map((rule) => rule.index));
  const first = ofPriority.filter((rule) => rule.index === index);
  const action = (['Deny', 'Pass', 'Accept'] as const).find((one) =>
    first.some((rule) => rule.action === one),
  );
  if (action === undefined || action === 'Pass') return undefined;
  const deciding = first.filter((rule) => rule.action === action);
  const by = new Set(deciding.map(({ policy }) => `-/${policy} ${packet.direction}[${index}]`));
  return { verdict: action === 'Accept' ? 'allow' : 'deny', by };
}

const LAST_PRIORITY = 1000;

function tierOf(policy: OracleTierPolicy): 'Admin' | 'Baseline' {
  switch (policy.kind) {
    case 'ClusterNetworkPolicy':
      return policy.spec.tier;
    case 'AdminNetworkPolicy':
      return 'Admin';
    case 'BaselineAdminNetworkPolicy':
      return 'Baseline';
  }
}

function isSubject(
  world: OracleWorld,
  { namespaces, pods }: OracleClusterPolicy['spec']['subject'],
  identity: OracleIdentity,
): boolean {
  if (namespaces !== undefined) return selectsNamespace(world, namespaces, identity.namespace);
  return pods !== undefined && selectsPod(world, pods, identity);
}

/** A list of ports that is missing is every port of every protocol. */
function tierRules(policy: OracleTierPolicy, direction: Direction): TierRule[] {
  if (policy.kind === 'ClusterNetworkPolicy') {
    const rules =
      direction === 'ingress'
        ? (policy.spec.ingress ?? []).map(({ from, ...rule }) => ({ ...rule, peers: from }))
        : (policy.spec.egress ?? []).map(({ to, ...rule }) => ({ ...rule, peers: to }));
    return rules.map(({ action, peers, protocols }) => ({
      action,
      peers,
      matchesPort: (packet) =>
        protocols === undefined || protocols.some((one) => clusterProtocolMatches(one, packet)),
    }));
  }
  const rules =
    direction === 'ingress'
      ? (policy.spec.ingress ?? []).map(({ from, ...rule }) => ({ ...rule, peers: from }))
      : (policy.spec.egress ?? []).map(({ to, ...rule }) => ({ ...rule, peers: to }));
  return rules.map(({ action, peers, ports }) => ({
    action: action === 'Allow' ? 'Accept' : action,
    peers,
    matchesPort: (packet) => ports === undefined || ports.some((one) => adminPortMatches(one, packet)),
  }));
}

/** Does the policy say something about the direction? Of ingress always, unless policyTypes says otherwise. */
function concerns({ spec }: OracleNetworkPolicy, direction: Direction): boolean {
  const types = spec.policyTypes ?? [];
  if (types.length > 0) return types.includes(direction === 'egress' ? 'Egress' : 'Ingress');
  return direction === 'ingress' || (spec.egress ?? []).length > 0;
}

/** The policies that isolate a pod in a direction. */
export function oracleSelectedBy(
  policies: OraclePolicy[],
  { namespace, labels }: OracleEndpoint['identity'],
  direction: Direction,
): OracleNetworkPolicy[] {
  return policies
    .filter((policy) => policy.kind === 'NetworkPolicy')
    .filter(
      (policy) =>
        (policy.metadata.namespace ?? 'default') === namespace &&
        selects(policy.spec.podSelector ?? {}, labels) &&
        concerns(policy, direction),
    );
}

/**
 * A pod that some policy selects may do what any of its policies allows, and no more. Undefined: none selects it.
 */
function networkPolicyTier(
  world: OracleWorld,
  policies: OraclePolicy[],
  packet: OraclePacket,
): OracleVerdict | undefined {
  const selecting = oracleSelectedBy(policies, packet.subject.identity, packet.direction);
  if (selecting.length === 0) return undefined;
  const by = new Set<string>();
  for (const policy of selecting) {
    const rules =
      packet.direction === 'ingress'
        ? (policy.spec.ingress ?? []).map(({ from = [], ports = [] }) => ({ peers: from, ports }))
        : (policy.spec.egress ?? []).map(({ to = [], ports = [] }) => ({ peers: to, ports }));
    rules.forEach(({ peers, ports }, index) => {
      // An empty list of peers is everybody, the node and the outside too; an empty list of ports is everything.
      const peerMatches =
        peers.length === 0 || peers.some((one) => networkPolicyPeerMatches(world, policy, one, packet));
      const portMatches = ports.length === 0 || ports.some((one) => networkPolicyPortMatches(one, packet));
      const { namespace = 'default', name } = policy.metadata;
      if (peerMatches && portMatches) by.add(`${namespace}/${name} ${packet.direction}[${index}]`);
    });
  }
  return { verdict: by.size > 0 ? 'allow' : 'deny', by };
}

/** What counts where no policy decides. Kubernetes has only `none`. */
function isolationMode(world: OracleWorld, { subject, peer }: OraclePacket): OracleVerdict {
  const denied: OracleVerdict = { verdict: 'deny', by: new Set() };
  const network = world.networks.find(({ id }) => id === subject.identity.network_id);
  if (network === undefined || network.isolation_mode === 'full') return denied;
  const mode = network.isolation_mode;
  const allowed: OracleVerdict = {
    verdict: 'allow',
    by: new Set([`isolation ${mode} of network ${network.name}`]),
  };
  if (mode === 'none') return allowed;
  if (typeof peer === 'string') return denied;
  if (peer.identity.network_id === network.id) return allowed;
  const other = world.networks.find(({ id }) => id === peer.identity.network_id);
  return mode === 'mesh' && other !== undefined && network.peers.includes(other.name) ? allowed : denied;
}

/** The rules of a ClusterNetworkPolicy. */
import type {
  ClusterNetworkPolicy,
  ClusterPolicyAction,
  ClusterPolicyPeer,
  ClusterPolicyProtocol,
} from '../model/cluster-network-policy.js';
import { isAudited } from '../model/kubernetes.js';
import { CLUSTER_WIDE } from '../model/names.js';
import { laneOf } from './lanes.js';
import { protocolMatches } from './ports.js';
import { clusterPolicyPlace } from './precedence.js';
import {
  type PolicyRule,
  type PolicyRules,
  type RuleSource,
  rulePeers,
  ruleSource,
  type Term,
} from './rules.js';
import { type LabelMap, Selector } from './selector.js';
import { DIRECTIONS, type Direction, type Verdict } from './types.js';

const VERDICTS: Readonly<Record<ClusterPolicyAction, Verdict>> = {
  Accept: 'allow',
  Deny: 'deny',
  Pass: 'pass',
};

interface SpecRule {
  readonly action: ClusterPolicyAction;
  readonly peers: readonly ClusterPolicyPeer[];
  readonly protocols: readonly ClusterPolicyProtocol[] | undefined;
}

/** `node`: labels of the node, which peers of the kind `nodes` select by. */
export function clusterNetworkPolicyRules(policy: ClusterNetworkPolicy, node: LabelMap): PolicyRules {
  const { metadata, spec } = policy;
  const { tier, priority, subject } = spec;
  const ref = { namespace: CLUSTER_WIDE, name: metadata.name };
  const audit = isAudited(policy);
  const rules: Record<Direction, SpecRule[]> = {
    egress: (spec.egress ?? []).map(({ action, to, protocols }) => ({ action, peers: to, protocols })),
    ingress: (spec.ingress ?? []).map(({ action, from, protocols }) => ({ action, peers: from, protocols })),
  };
  const compile = (direction: Direction, index: number, rule: SpecRule, source: RuleSource): PolicyRule => {
    const place = clusterPolicyPlace(spec, index);
    return {
      ...source,
      ref: { kind: 'policy', ...ref, direction, index },
      lane: laneOf(direction, place.tier, audit),
      verdict: VERDICTS[rule.action],
      precedence: place.precedence,
      ports: protocolMatches(rule.protocols),
      ...peersOf(rule.peers, node),
    };
  };
  return {
    head: {
      ref,
      text: JSON.stringify([tier, priority, subject, audit]),
      subjects: subjectsOf(subject),
      audit,
      isolates: new Set(),
    },
    rules: DIRECTIONS.flatMap((direction) =>
      rules[direction].map((rule, index) =>
        ruleSource(direction, index, rule, (source) => compile(direction, index, rule, source)),
      ),
    ),
  };
}

/** The schema lets no subject be without either; one would select nothing. */
function subjectsOf(subject: ClusterNetworkPolicy['spec']['subject']): Term {
  return termOf(subject) ?? { namespaces: '', pods: Selector.everything };
}

function peersOf(peers: readonly ClusterPolicyPeer[], node: LabelMap) {
  return rulePeers({
    terms: peers.flatMap((peer) => termOf(peer) ?? []),
    blocks: peers.flatMap(({ networks }) => networks ?? []).map((cidr) => ({ cidr })),
    host: peers.some(({ nodes }) => nodes !== undefined && Selector.from(nodes).matches(node)),
  });
}

/** Undefined: it means no endpoints by their labels. */
function termOf({ namespaces, pods }: Pick<ClusterPolicyPeer, 'namespaces' | 'pods'>): Term | undefined {
  if (namespaces !== undefined) return { namespaces: Selector.from(namespaces), pods: Selector.everything };
  if (pods === undefined) return undefined;
  return { namespaces: Selector.from(pods.namespaceSelector), pods: Selector.from(pods.podSelector) };
}

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
import { type PolicyRule, type PolicyRules, rulePeers, type Term } from './rules.js';
import { type LabelMap, Selector } from './selector.js';
import type { Direction, Verdict } from './types.js';

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
  const audit = isAudited(policy);
  const compileRule = (direction: Direction, index: number, source: SpecRule): PolicyRule => {
    const place = clusterPolicyPlace(spec, index);
    return {
      ref: { kind: 'policy', namespace: CLUSTER_WIDE, name: metadata.name, direction, index },
      source,
      lane: laneOf(direction, place.tier, audit),
      verdict: VERDICTS[source.action],
      precedence: place.precedence,
      ports: protocolMatches(source.protocols),
      ...peersOf(source.peers, node),
    };
  };
  return {
    ref: { namespace: CLUSTER_WIDE, name: metadata.name },
    source: { tier, priority, subject, audit },
    subjects: subjectsOf(subject),
    audit,
    isolates: new Set(),
    rules: [
      ...(spec.egress ?? []).map(({ action, to, protocols }, index) =>
        compileRule('egress', index, { action, peers: to, protocols }),
      ),
      ...(spec.ingress ?? []).map(({ action, from, protocols }, index) =>
        compileRule('ingress', index, { action, peers: from, protocols }),
      ),
    ],
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

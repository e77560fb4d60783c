/** The rules of a NetworkPolicy. */
import { isAudited } from '../model/kubernetes.js';
import {
  effectivePolicyTypes,
  type NetworkPolicy,
  type PolicyPeer,
  type PolicyPort,
} from '../model/network-policy.js';
import { type Lane, laneOf } from './lanes.js';
import { portMatches } from './ports.js';
import { NETWORK_POLICY } from './precedence.js';
import { ANYBODY, type PolicyRule, type PolicyRules, type RulePeers, rulePeers, type Term } from './rules.js';
import { Selector } from './selector.js';
import type { Direction, PolicyRef } from './types.js';

interface SpecRule {
  readonly peers: readonly PolicyPeer[] | undefined;
  readonly ports: readonly PolicyPort[] | undefined;
}

export function networkPolicyRules(policy: NetworkPolicy): PolicyRules {
  const { metadata, spec } = policy;
  const ref = { namespace: metadata.namespace, name: metadata.name };
  const audit = isAudited(policy);
  const types = effectivePolicyTypes(spec);
  const rules: PolicyRule[] = [];
  const isolates = new Set<Direction>();
  if (types.includes('Egress')) {
    isolates.add('egress');
    const lane = laneOf('egress', NETWORK_POLICY.tier, audit);
    for (const [index, { to, ports }] of (spec.egress ?? []).entries()) {
      rules.push(compileRule(ref, lane, index, { peers: to, ports }));
    }
  }
  if (types.includes('Ingress')) {
    isolates.add('ingress');
    const lane = laneOf('ingress', NETWORK_POLICY.tier, audit);
    for (const [index, { from, ports }] of (spec.ingress ?? []).entries()) {
      rules.push(compileRule(ref, lane, index, { peers: from, ports }));
    }
  }
  return {
    ref,
    source: { podSelector: spec.podSelector, isolates, audit },
    subjects: { namespaces: metadata.namespace, pods: Selector.from(spec.podSelector) },
    audit,
    isolates,
    rules,
  };
}

function compileRule(policy: PolicyRef, lane: Lane, index: number, source: SpecRule): PolicyRule {
  return {
    ref: { kind: 'policy', ...policy, direction: lane.direction, index },
    source,
    lane,
    verdict: 'allow',
    precedence: NETWORK_POLICY.precedence,
    ports: portMatches(source.ports),
    ...peersOf(policy.namespace, source.peers),
  };
}

/** Missing or empty: anybody, as in Kubernetes. */
function peersOf(namespace: string, peers: readonly PolicyPeer[] | undefined): RulePeers {
  if (peers === undefined || peers.length === 0) return ANYBODY;
  return rulePeers({
    terms: peers.flatMap((peer) => termOf(namespace, peer) ?? []),
    blocks: peers.flatMap(({ ipBlock }) => ipBlock ?? []),
    host: false,
  });
}

/** Undefined: it means no endpoints by their labels. */
function termOf(namespace: string, { podSelector, namespaceSelector }: PolicyPeer): Term | undefined {
  if (podSelector === undefined && namespaceSelector === undefined) return undefined;
  return {
    namespaces: namespaceSelector === undefined ? namespace : Selector.from(namespaceSelector),
    pods: Selector.from(podSelector ?? {}),
  };
}

/** The rules of a NetworkPolicy. */
import { isAudited } from '../model/kubernetes.js';
import {
  effectivePolicyTypes,
  type NetworkPolicy,
  type PolicyPeer,
  type PolicyPort,
  type PolicyType,
} from '../model/network-policy.js';
import { laneOf } from './lanes.js';
import { portMatches } from './ports.js';
import { NETWORK_POLICY } from './precedence.js';
import {
  ANYBODY,
  type PolicyRule,
  type PolicyRules,
  type RulePeers,
  type RuleSource,
  rulePeers,
  ruleSource,
  type Term,
} from './rules.js';
import { Selector } from './selector.js';
import { DIRECTIONS, type Direction } from './types.js';

const TYPES: Readonly<Record<Direction, PolicyType>> = { egress: 'Egress', ingress: 'Ingress' };

interface SpecRule {
  readonly peers: readonly PolicyPeer[] | undefined;
  readonly ports: readonly PolicyPort[] | undefined;
}

export function networkPolicyRules(policy: NetworkPolicy): PolicyRules {
  const { metadata, spec } = policy;
  const ref = { namespace: metadata.namespace, name: metadata.name };
  const audit = isAudited(policy);
  const types = effectivePolicyTypes(spec);
  const isolates = DIRECTIONS.filter((direction) => types.includes(TYPES[direction]));
  const rules: Record<Direction, SpecRule[]> = {
    egress: (spec.egress ?? []).map(({ to, ports }) => ({ peers: to, ports })),
    ingress: (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports })),
  };
  const compile = (direction: Direction, index: number, rule: SpecRule, source: RuleSource): PolicyRule => ({
    ...source,
    ref: { kind: 'policy', ...ref, direction, index },
    lane: laneOf(direction, NETWORK_POLICY.tier, audit),
    verdict: 'allow',
    precedence: NETWORK_POLICY.precedence,
    ports: portMatches(rule.ports),
    ...peersOf(ref.namespace, rule.peers),
  });
  return {
    head: {
      ref,
      text: JSON.stringify([spec.podSelector, isolates, audit]),
      subjects: { namespaces: metadata.namespace, pods: Selector.from(spec.podSelector) },
      audit,
      isolates: new Set(isolates),
    },
    // Those of other directions have no effect.
    rules: isolates.flatMap((direction) =>
      rules[direction].map((rule, index) =>
        ruleSource(direction, index, rule, (source) => compile(direction, index, rule, source)),
      ),
    ),
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

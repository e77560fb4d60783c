/** Policies, compiled: what their rules say, and which endpoints they mean by their peers. */
import type { NetworkPolicy, PolicyPeer, PolicyPort } from '../model/policy.js';
import { effectivePolicyTypes } from '../model/policy.js';
import type { RuleTerms } from './ledger.js';
import { portMatches } from './ports.js';
import { PRECEDENCE } from './precedence.js';
import { type LabelMap, Selector } from './selector.js';
import type { Direction, PolicyRef } from './types.js';

/** The endpoints that one peer of a rule means. They are found by their labels alone, in every network. */
export interface PeerTerm {
  /** A selector of namespaces, or the name of the one namespace (the policy's own). */
  readonly namespaces: Selector | string;
  readonly pods: Selector;
}

/** What a term needs to know of an endpoint. */
export interface Labelled {
  readonly labels: LabelMap;
  readonly namespace: { readonly name: string; readonly labels: LabelMap };
}

export interface PolicyRule extends RuleTerms {
  /**
   * anybody: no `from` or `to`, host and world included. endpoints: every endpoint there is. selected: those
   * of `terms`.
   */
  readonly peers: 'anybody' | 'endpoints' | 'selected';
  /** Empty unless `peers` is `selected`. */
  readonly terms: readonly PeerTerm[];
}

export interface PolicyRules {
  readonly ref: PolicyRef;
  /** Selects endpoints of the policy's namespace, in every network. */
  readonly subjects: Selector;
  /** The directions in which its subjects may do only what policies allow. */
  readonly isolates: ReadonlySet<Direction>;
  /** Those of the isolated directions. */
  readonly rules: readonly PolicyRule[];
}

interface SpecRule {
  readonly peers: readonly PolicyPeer[] | undefined;
  readonly ports: readonly PolicyPort[] | undefined;
}

export function compileRules({ metadata, spec }: NetworkPolicy): PolicyRules {
  const ref = { namespace: metadata.namespace, name: metadata.name };
  const types = effectivePolicyTypes(spec);
  const rules: PolicyRule[] = [];
  const isolates = new Set<Direction>();
  if (types.includes('Egress')) {
    isolates.add('egress');
    for (const [index, { to, ports }] of (spec.egress ?? []).entries()) {
      rules.push(compileRule(ref, 'egress', index, { peers: to, ports }));
    }
  }
  if (types.includes('Ingress')) {
    isolates.add('ingress');
    for (const [index, { from, ports }] of (spec.ingress ?? []).entries()) {
      rules.push(compileRule(ref, 'ingress', index, { peers: from, ports }));
    }
  }
  return { ref, subjects: Selector.from(spec.podSelector), isolates, rules };
}

function compileRule(policy: PolicyRef, direction: Direction, index: number, spec: SpecRule): PolicyRule {
  const peers = peersOf(spec.peers);
  const selected = peers === 'selected' ? (spec.peers ?? []) : [];
  return {
    ref: { kind: 'policy', ...policy, direction, index },
    direction,
    verdict: 'allow',
    precedence: PRECEDENCE.networkPolicy,
    ports: portMatches(spec.ports),
    peers,
    terms: selected.map(({ podSelector, namespaceSelector }) => ({
      namespaces: namespaceSelector === undefined ? policy.namespace : Selector.from(namespaceSelector),
      pods: Selector.from(podSelector ?? {}),
    })),
  };
}

/** Missing or empty: anybody, as in Kubernetes. */
function peersOf(peers: readonly PolicyPeer[] | undefined): PolicyRule['peers'] {
  if (peers === undefined || peers.length === 0) return 'anybody';
  const all = peers.some(
    ({ podSelector, namespaceSelector }) =>
      namespaceSelector !== undefined &&
      Selector.from(namespaceSelector).matchesEverything &&
      Selector.from(podSelector ?? {}).matchesEverything,
  );
  return all ? 'endpoints' : 'selected';
}

export function termMatches({ namespaces, pods }: PeerTerm, { namespace, labels }: Labelled): boolean {
  const inside =
    typeof namespaces === 'string' ? namespaces === namespace.name : namespaces.matches(namespace.labels);
  return inside && pods.matches(labels);
}

/** Policies, compiled: what their rules say, whom they select, and whom they mean by their peers. */

import { type Block, type RuleRange, ruleRanges } from './ranges.js';
import type { LabelMap, Selector } from './selector.js';
import type { RuleTerms } from './subject.js';
import type { Direction, PolicyRef, RuleRef } from './types.js';

/** Endpoints that a policy selects, or that a peer of a rule means: by their labels alone, in every network. */
export interface Term {
  /** A selector of namespaces, or the name of the one namespace. */
  readonly namespaces: Selector | string;
  readonly pods: Selector;
}

/** What a term needs to know of an endpoint. */
export interface Labelled {
  readonly labels: LabelMap;
  readonly namespace: { readonly name: string; readonly labels: LabelMap };
}

/** Whom a rule means. With `anybody` the rest is empty, with `endpoints` the terms are. */
export interface RulePeers {
  /** Host and world included. */
  readonly anybody: boolean;
  /** Every endpoint there is. */
  readonly endpoints: boolean;
  /** The node. */
  readonly host: boolean;
  readonly terms: readonly Term[];
  /** Whoever has an address of them, whatever else it is. */
  readonly ranges: readonly RuleRange[];
}

export interface PolicyRule extends RuleTerms, RulePeers {
  readonly ref: RuleRef & { readonly kind: 'policy' };
  readonly ranges: readonly RuleRange[];
  /** Equal, of two rules in the same place, exactly when the rules are. */
  readonly source: unknown;
}

export interface PolicyRules {
  readonly ref: PolicyRef;
  /** Equal exactly when policies of one name say the same, apart from their rules. */
  readonly source: unknown;
  readonly subjects: Term;
  readonly audit: boolean;
  /** The directions in which its subjects may do only what policies allow. */
  readonly isolates: ReadonlySet<Direction>;
  readonly rules: readonly PolicyRule[];
}

export const ANYBODY: RulePeers = { anybody: true, endpoints: false, host: false, terms: [], ranges: [] };

export function rulePeers(peers: {
  terms: readonly Term[];
  blocks: readonly Block[];
  host: boolean;
}): RulePeers {
  const endpoints = peers.terms.some(
    ({ namespaces, pods }) =>
      typeof namespaces !== 'string' && namespaces.matchesEverything && pods.matchesEverything,
  );
  return {
    anybody: false,
    endpoints,
    host: peers.host,
    terms: endpoints ? [] : peers.terms,
    ranges: ruleRanges(peers.blocks),
  };
}

export function termMatches({ namespaces, pods }: Term, { namespace, labels }: Labelled): boolean {
  const inside =
    typeof namespaces === 'string' ? namespaces === namespace.name : namespaces.matches(namespace.labels);
  return inside && pods.matches(labels);
}

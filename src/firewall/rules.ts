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

/** A rule of a policy that need not be compiled when it is there already. */
export interface RuleSource {
  /** Where in its policy it stands. */
  readonly place: string;
  /** Equal, of two rules in one place of policies with the same head, only when the rules say the same. */
  readonly text: string;
}

export interface PolicyRule extends RuleTerms, RulePeers, RuleSource {
  readonly ref: RuleRef & { readonly kind: 'policy' };
  readonly ranges: readonly RuleRange[];
}

/** What a policy says apart from its rules. */
export interface PolicyHead {
  readonly ref: PolicyRef;
  /** Equal, of two policies of one name, only when the heads say the same. */
  readonly text: string;
  readonly subjects: Term;
  readonly audit: boolean;
  /** The directions in which its subjects may do only what policies allow. */
  readonly isolates: ReadonlySet<Direction>;
}

export interface PolicyRules {
  readonly head: PolicyHead;
  readonly rules: readonly (RuleSource & { compile(): PolicyRule })[];
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

export function ruleSource(
  direction: Direction,
  index: number,
  rule: object,
  compile: (source: RuleSource) => PolicyRule,
): PolicyRules['rules'][number] {
  const source = { place: `${direction}[${index}]`, text: JSON.stringify(rule) };
  return { ...source, compile: () => compile(source) };
}

export function termMatches({ namespaces, pods }: Term, { namespace, labels }: Labelled): boolean {
  const inside =
    typeof namespaces === 'string' ? namespaces === namespace.name : namespaces.matches(namespace.labels);
  return inside && pods.matches(labels);
}

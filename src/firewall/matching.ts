/**
 * Whom policies select and whom their rules mean, as policies, identities, networks and labels come and go: a rule
 * applies to those whom its policy selects, with those whom it means.
 */
import type { Labels } from '../model/names.js';
import type { Steps } from '../work/steps.js';
import type { NetworkDirectory } from './isolation.js';
import type { RuleLedger } from './ledger.js';
import type { NamespaceDirectory } from './namespaces.js';
import { ANY, HOST, type PeerKey } from './peer-key.js';
import {
  AppliedPolicyRule,
  type BoundTerm,
  type IdentityRecord,
  type NamespaceRecord,
  type PolicyRecord,
} from './records.js';
import { type PolicyRule, type PolicyRules, termMatches } from './rules.js';
import { TermIndex } from './term-index.js';
import type { Vocabulary } from './vocabulary.js';

/** What belongs to the engine. */
export interface MatchingParts {
  readonly ledger: RuleLedger;
  readonly vocabulary: Vocabulary;
  readonly networks: NetworkDirectory;
  readonly namespaces: NamespaceDirectory;
  readonly identities: ReadonlyMap<number, IdentityRecord>;
}

/** What comes may throw INSUFFICIENT_CAPACITY when it is half there; its going takes that away. */
export class Matching {
  readonly #ledger: RuleLedger;
  readonly #vocabulary: Vocabulary;
  readonly #networks: NetworkDirectory;
  readonly #namespaces: NamespaceDirectory;
  readonly #identities: ReadonlyMap<number, IdentityRecord>;
  /** Policies, by whom they select. */
  readonly #selecting = new TermIndex<PolicyRecord>();
  /** The terms of their rules, by whom they mean. */
  readonly #meaning = new TermIndex<BoundTerm>();
  /** Rules that mean every endpoint. They mean it by its network: entries per network, not per identity. */
  readonly #meaningEndpoints = new Set<AppliedPolicyRule>();

  constructor({ ledger, vocabulary, networks, namespaces, identities }: MatchingParts) {
    this.#ledger = ledger;
    this.#vocabulary = vocabulary;
    this.#networks = networks;
    this.#namespaces = namespaces;
    this.#identities = identities;
  }

  *addNetwork(key: PeerKey): Steps {
    for (const rule of this.#meaningEndpoints) yield* rule.addPeer(key);
  }

  *removeNetwork(key: PeerKey): Steps {
    for (const rule of this.#meaningEndpoints) yield* rule.removePeer(key);
  }

  *addIdentity(identity: IdentityRecord): Steps {
    // First as a peer: what it then is as a subject finds it among the peers of rules that mean it.
    for (const { owner } of this.#meaning.meaning(identity)) yield* this.#mean(owner, identity);
    for (const policy of this.#selecting.meaning(identity)) yield* this.#select(policy, identity);
  }

  *removeIdentity(identity: IdentityRecord): Steps {
    for (const policy of identity.policies) policy.identities.delete(identity);
    for (const rule of identity.meantBy) yield* rule.removePeer(identity.id);
  }

  *addPolicy(policy: PolicyRecord, rules: PolicyRules['rules']): Steps {
    this.#selecting.add(policy);
    // Rules first: until there are subjects they cost nothing but themselves.
    for (const rule of rules) yield* this.#addRule(policy, rule.compile());
    for (const identity of this.#namespaces.meant(policy)) yield* this.#select(policy, identity);
  }

  *removePolicy(policy: PolicyRecord): Steps {
    this.#selecting.remove(policy);
    for (const identity of [...policy.identities]) yield* this.#deselect(policy, identity);
    for (const rule of [...policy.rules.values()].reverse()) yield* this.#removeRule(policy, rule);
  }

  /** Rules that stay as they are, in their place, cost nothing. */
  *changeRules(policy: PolicyRecord, rules: PolicyRules['rules']): Steps {
    const wanted = new Map(rules.map((rule) => [rule.place, rule]));
    for (const [place, applied] of [...policy.rules]) {
      if (wanted.get(place)?.text === applied.rule.text) wanted.delete(place);
      else yield* this.#removeRule(policy, applied);
    }
    for (const rule of wanted.values()) yield* this.#addRule(policy, rule.compile());
  }

  /** Gives a namespace other labels; undefined: those that it has by itself. */
  *relabel(namespace: NamespaceRecord, given: Labels | undefined): Steps {
    const { identities } = namespace;
    const before = this.#namespaces.relabel(namespace, given);
    const { labels } = namespace;
    for (const policy of this.#selecting.seeing(before, labels)) {
      for (const identity of identities.matching(policy.pods)) yield* this.#deselect(policy, identity);
    }
    for (const { owner, pods } of [
      ...this.#meaning.seeing(before, labels),
      ...this.#meaning.seeing(labels, before),
    ]) {
      for (const identity of identities.matching(pods)) yield* this.#review(owner, identity);
    }
    for (const policy of this.#selecting.seeing(labels, before)) {
      for (const identity of identities.matching(policy.pods)) yield* this.#select(policy, identity);
    }
  }

  *#addRule(policy: PolicyRecord, rule: PolicyRule): Steps {
    const applied = new AppliedPolicyRule(rule, policy.identities, this.#ledger);
    policy.rules.set(rule.place, applied);
    this.#vocabulary.add(rule);
    if (rule.anybody) yield* applied.addPeer(ANY);
    if (rule.host) yield* applied.addPeer(HOST);
    if (rule.endpoints) {
      this.#meaningEndpoints.add(applied);
      for (const network of this.#networks.keys()) yield* applied.addPeer(network);
    }
    for (const term of applied.terms) {
      this.#meaning.add(term);
      for (const identity of this.#namespaces.meant(term)) yield* this.#mean(applied, identity);
    }
    for (const identity of policy.identities) yield* this.#ledger.applyRanges(identity, rule);
  }

  *#removeRule(policy: PolicyRecord, applied: AppliedPolicyRule): Steps {
    policy.rules.delete(applied.rule.place);
    this.#vocabulary.remove(applied.rule);
    this.#meaningEndpoints.delete(applied);
    for (const term of applied.terms) this.#meaning.remove(term);
    for (const identity of policy.identities) yield* applied.revokeFrom(identity);
    for (const peer of applied.peers) {
      if (typeof peer === 'number') this.#identities.get(peer)?.meantBy.delete(applied);
    }
  }

  /** Makes a rule mean an identity exactly if one of its terms does. */
  *#review(rule: AppliedPolicyRule, identity: IdentityRecord): Steps {
    if (rule.terms.some((term) => termMatches(term, identity))) {
      yield* this.#mean(rule, identity);
      return;
    }
    identity.meantBy.delete(rule);
    yield* rule.removePeer(identity.id);
  }

  *#mean(rule: AppliedPolicyRule, identity: IdentityRecord): Steps {
    identity.meantBy.add(rule);
    yield* rule.addPeer(identity.id);
  }

  /** Where it selects already, that is no error. */
  *#select(policy: PolicyRecord, identity: IdentityRecord): Steps {
    if (policy.identities.has(identity)) return;
    policy.identities.add(identity);
    identity.policies.add(policy);
    this.#ledger.isolate(identity, policy.head, 1);
    for (const rule of policy.rules.values()) yield* rule.applyTo(identity);
  }

  *#deselect(policy: PolicyRecord, identity: IdentityRecord): Steps {
    if (!policy.identities.delete(identity)) return;
    identity.policies.delete(policy);
    // Those that came last go first: rules stand in the order in which they came, and go from the end.
    for (const rule of [...policy.rules.values()].reverse()) yield* rule.revokeFrom(identity);
    this.#ledger.isolate(identity, policy.head, -1);
  }
}

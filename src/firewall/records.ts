/** What the engine knows of each object, and how the objects hang together. */
import type { IsolationMode } from '../model/network.js';
import { type Steps, stepping } from '../work/steps.js';
import type { RuleLedger } from './ledger.js';
import { networkKey, type PeerKey } from './peer-key.js';
import type { Labelled, PolicyHead, PolicyRule, PolicyRules, Term } from './rules.js';
import { type LabelMap, labelMap, type Selector } from './selector.js';
import { LabelIndex } from './selector-index.js';
import { type RuleTerms, Subject } from './subject.js';
import type { PolicyIdentity, PolicyNetwork } from './types.js';

/** A rule with the peers that it means at the moment; it applies to each of its subjects with each of them. */
export class AppliedRule<Rule extends RuleTerms = RuleTerms> {
  readonly peers = new Set<PeerKey>();

  /** `subjects` belongs to the caller, who tells what comes and goes by `applyTo` and `revokeFrom`. */
  constructor(
    readonly rule: Rule,
    readonly subjects: ReadonlySet<Subject>,
    private readonly ledger: RuleLedger,
  ) {}

  /** A peer that is there already is no error. Throws INSUFFICIENT_CAPACITY; `removePeer` undoes what was done. */
  *addPeer(peer: PeerKey): Steps {
    if (this.peers.has(peer)) return;
    this.peers.add(peer);
    yield* stepping(this.subjects, (subject) => this.ledger.apply(subject, this.rule, peer));
  }

  *removePeer(peer: PeerKey): Steps {
    if (!this.peers.delete(peer)) return;
    yield* stepping(this.subjects, (subject) => this.ledger.revoke(subject, this.rule, peer));
  }

  /** With its peers and its ranges. Throws INSUFFICIENT_CAPACITY; `revokeFrom` undoes what was done. */
  *applyTo(subject: Subject): Steps {
    yield* stepping(this.peers, (peer) => this.ledger.apply(subject, this.rule, peer));
    yield* this.ledger.applyRanges(subject, this.rule);
  }

  *revokeFrom(subject: Subject): Steps {
    yield* stepping(this.peers, (peer) => this.ledger.revoke(subject, this.rule, peer));
    yield* this.ledger.revokeRanges(subject, this.rule);
  }
}

/** A rule of a policy. */
export class AppliedPolicyRule extends AppliedRule<PolicyRule> {
  readonly terms: readonly BoundTerm[] = this.rule.terms.map((term) => ({ ...term, owner: this }));
}

/** A term of a policy's rule, with that rule. */
export interface BoundTerm extends Term {
  readonly owner: AppliedPolicyRule;
}

export class NetworkRecord {
  readonly id: number;
  readonly key: PeerKey;
  readonly name: string;
  readonly mode: IsolationMode;
  readonly peers: readonly string[];

  constructor({ id, name, isolation_mode, peers }: PolicyNetwork) {
    this.id = id;
    this.key = networkKey(id);
    this.name = name;
    this.mode = isolation_mode;
    this.peers = peers;
  }
}

export class NamespaceRecord {
  /** By their labels. */
  readonly identities = new LabelIndex<IdentityRecord>();

  /** `given`: whether somebody set the labels; the others are known only while something is in them. */
  constructor(
    readonly name: string,
    public labels: LabelMap,
    public given: boolean,
  ) {}
}

export class IdentityRecord extends Subject implements Labelled {
  readonly labels: LabelMap;
  /** The policies that select it. */
  readonly policies = new Set<PolicyRecord>();
  /** The rules that mean it by a term. */
  readonly meantBy = new Set<AppliedPolicyRule>();

  constructor(
    readonly of: PolicyIdentity,
    readonly namespace: NamespaceRecord,
  ) {
    super(of.id);
    this.labels = labelMap(of.labels);
  }
}

/** As a term it means its subjects. */
export class PolicyRecord implements Term {
  readonly namespaces: Selector | string;
  readonly pods: Selector;
  /** Those that it selects. */
  readonly identities = new Set<IdentityRecord>();
  /** By their place. */
  readonly rules = new Map<string, AppliedPolicyRule>();

  constructor(readonly head: PolicyHead) {
    this.namespaces = head.subjects.namespaces;
    this.pods = head.subjects.pods;
  }

  /** What it was made of. */
  get source(): PolicyRules {
    const rules = [...this.rules.values()].map(({ rule }) => ({
      place: rule.place,
      text: rule.text,
      compile: () => rule,
    }));
    return { head: this.head, rules };
  }
}

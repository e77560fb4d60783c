/** What the engine knows of each object, and how the objects hang together. */
import type { IsolationMode } from '../model/network.js';
import { type RuleLedger, type RuleTerms, Subject } from './ledger.js';
import { type PeerKey, peerKey } from './peer-key.js';
import type { Labelled, PeerTerm, PolicyRule, PolicyRules } from './rules.js';
import { type LabelMap, labelMap, type Selector } from './selector.js';
import { LabelIndex, SelectorIndex } from './selector-index.js';
import type { Direction, PolicyIdentity, PolicyNetwork } from './types.js';

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
  addPeer(peer: PeerKey): void {
    if (this.peers.has(peer)) return;
    this.peers.add(peer);
    for (const subject of this.subjects) this.ledger.apply(subject, this.rule, peer);
  }

  removePeer(peer: PeerKey): void {
    if (!this.peers.delete(peer)) return;
    for (const subject of this.subjects) this.ledger.revoke(subject, this.rule, peer);
  }

  /** Throws INSUFFICIENT_CAPACITY; `revokeFrom` undoes what was done. */
  applyTo(subject: Subject): void {
    for (const peer of this.peers) this.ledger.apply(subject, this.rule, peer);
  }

  revokeFrom(subject: Subject): void {
    for (const peer of this.peers) this.ledger.revoke(subject, this.rule, peer);
  }
}

/** A term of a policy's rule, with that rule. */
export interface BoundTerm extends PeerTerm {
  readonly owner: AppliedRule<PolicyRule>;
}

export class NetworkRecord {
  readonly id: number;
  readonly key: PeerKey;
  readonly name: string;
  readonly mode: IsolationMode;
  readonly peers: readonly string[];

  constructor({ id, name, isolation_mode, peers }: PolicyNetwork) {
    this.id = id;
    this.key = peerKey({ kind: 'network', id });
    this.name = name;
    this.mode = isolation_mode;
    this.peers = peers;
  }
}

export class NamespaceRecord {
  /** By their labels. */
  readonly identities = new LabelIndex<IdentityRecord>();
  /** By podSelector. */
  readonly policies = new SelectorIndex<PolicyRecord>();
  /** The terms without a namespaceSelector of the policies in this namespace; by podSelector. */
  readonly terms = new SelectorIndex<BoundTerm>();

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
  /** How many of those isolate each direction. */
  readonly isolations: Record<Direction, number> = { egress: 0, ingress: 0 };
  /** The rules that mean it by a term. */
  readonly meantBy = new Set<AppliedRule<PolicyRule>>();

  constructor(
    readonly of: PolicyIdentity,
    readonly namespace: NamespaceRecord,
  ) {
    super(of.id);
    this.labels = labelMap(of.labels);
  }
}

export class PolicyRecord {
  readonly selector: Selector;
  readonly identities = new Set<IdentityRecord>();
  readonly rules: readonly AppliedRule<PolicyRule>[];
  readonly terms: readonly BoundTerm[];

  constructor(
    readonly compiled: PolicyRules,
    readonly namespace: NamespaceRecord,
    ledger: RuleLedger,
  ) {
    this.selector = compiled.subjects;
    this.rules = compiled.rules.map((rule) => new AppliedRule(rule, this.identities, ledger));
    this.terms = this.rules.flatMap((owner) => owner.rule.terms.map((term) => ({ ...term, owner })));
  }
}

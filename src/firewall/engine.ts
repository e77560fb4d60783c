/**
 * The policy compiler: networks, namespaces, identities and policies in, map entries out. It keeps what it
 * was told and answers each change with the entries that differ, at a cost of what the change touches:
 * an identity that comes costs the policies that select it and the subjects of the rules that mean it.
 *
 * A policy applies in every network: it selects, and means by its peers, by namespace and labels alone.
 */
import type { Labels } from '../model/names.js';
import type { NetworkPolicy } from '../model/policy.js';
import { NetworkDirectory } from './isolation.js';
import { RuleLedger } from './ledger.js';
import { NamespaceDirectory } from './namespaces.js';
import { type PeerKey, peerKey } from './peer-key.js';
import { type AppliedRule, IdentityRecord, PolicyRecord } from './records.js';
import { compareText } from './rule-ref.js';
import { compileRules, type PolicyRule, termMatches } from './rules.js';
import type {
  CompiledPolicy,
  Direction,
  PolicyDelta,
  PolicyIdentity,
  PolicyNamespace,
  PolicyNetwork,
  PolicyRef,
} from './types.js';

export interface PolicyEngineOptions {
  /**
   * Bound of `size`, for the sake of memory: a change that passes it throws INSUFFICIENT_CAPACITY and is not
   * made. Whether entries fit into the map is for the caller to see.
   */
  maxSize?: number;
}

/**
 * Pure state, no I/O. Every change either happens as a whole or throws and changes nothing:
 * INSUFFICIENT_CAPACITY at the bound; RangeError for what callers must never ask (an identity of a network
 * that is not there, a network removed before its identities, two networks of one name).
 */
export class PolicyEngine {
  readonly #ledger: RuleLedger;
  readonly #networks: NetworkDirectory;
  readonly #namespaces = new NamespaceDirectory();
  readonly #identities = new Map<number, IdentityRecord>();
  readonly #policies = new Map<string, { source: NetworkPolicy; record: PolicyRecord }>();
  /** Rules that mean every endpoint. They mean it by its network: entries per network, not per identity. */
  readonly #meaningEndpoints = new Set<AppliedRule<PolicyRule>>();

  constructor({ maxSize = Number.POSITIVE_INFINITY }: PolicyEngineOptions = {}) {
    this.#ledger = new RuleLedger(maxSize);
    this.#networks = new NetworkDirectory(this.#ledger);
  }

  /** Port matches applied: at least the number of entries; more where several rules give the same key. */
  get size(): number {
    return this.#ledger.size;
  }

  upsertNetwork(network: PolicyNetwork): void {
    const isNew = this.#networks.get(network.id) === undefined;
    const { key } = this.#networks.upsert(network);
    if (!isNew) return;
    this.#orUndo(
      () => {
        for (const rule of this.#meaningEndpoints) rule.addPeer(key);
      },
      () => this.removeNetwork(network.id),
    );
  }

  /** What is not there is no error, here and in the other removals. */
  removeNetwork(id: number): void {
    const key = this.#networks.get(id)?.key;
    this.#networks.remove(id);
    if (key === undefined) return;
    for (const rule of this.#meaningEndpoints) rule.removePeer(key);
  }

  /** Sets the labels of a namespace. One that is not set exists all the same, with its implied label. */
  setNamespace({ name, labels }: PolicyNamespace): void {
    this.#relabel(name, labels);
  }

  /** Its labels are forgotten; its identities and policies stay. */
  removeNamespace(name: string): void {
    this.#relabel(name, undefined);
  }

  upsertIdentity(identity: PolicyIdentity): void {
    if (!Number.isInteger(identity.id) || identity.id <= 0) throw new RangeError(`identity ${identity.id}`);
    if (this.#networks.get(identity.network_id) === undefined) {
      throw new RangeError(
        `identity ${identity.id} is in network ${identity.network_id}, which does not exist`,
      );
    }
    const before = this.#identities.get(identity.id)?.of;
    this.removeIdentity(identity.id);
    this.#orUndo(
      () => this.#addIdentity(identity),
      () => {
        this.removeIdentity(identity.id);
        if (before !== undefined) this.#addIdentity(before);
      },
    );
  }

  removeIdentity(id: number): void {
    const identity = this.#identities.get(id);
    if (identity === undefined) return;
    this.#identities.delete(id);
    this.#ledger.removeSubject(identity);
    this.#networks.part(identity);
    for (const policy of identity.policies) policy.identities.delete(identity);
    for (const rule of identity.meantBy) rule.removePeer(id);
    identity.namespace.identities.remove(identity);
    this.#namespaces.leave(identity.namespace);
  }

  upsertPolicy(policy: NetworkPolicy): void {
    const { namespace, name } = policy.metadata;
    const before = this.#policies.get(policyKey({ namespace, name }))?.source;
    this.removePolicy({ namespace, name });
    this.#orUndo(
      () => this.#addPolicy(policy),
      () => {
        this.removePolicy({ namespace, name });
        if (before !== undefined) this.#addPolicy(before);
      },
    );
  }

  removePolicy(ref: PolicyRef): void {
    const policy = this.#policies.get(policyKey(ref))?.record;
    if (policy === undefined) return;
    this.#policies.delete(policyKey(ref));
    for (const identity of [...policy.identities]) this.#deselect(policy, identity);
    for (const term of policy.terms) this.#namespaces.removeTerm(term);
    for (const rule of policy.rules) {
      this.#meaningEndpoints.delete(rule);
      for (const peer of rule.peers) this.#identities.get(peer)?.meantBy.delete(rule);
    }
    policy.namespace.policies.remove(policy);
    this.#namespaces.leave(policy.namespace);
  }

  /** The policies that isolate the identity in that direction, by namespace and name. None: the mode counts. */
  selectedBy(identity: number, direction: Direction): PolicyRef[] {
    return [...(this.#identities.get(identity)?.policies ?? [])]
      .filter(({ compiled }) => compiled.isolates.has(direction))
      .map(({ compiled }) => compiled.ref)
      .sort(
        (left, right) => compareText(left.namespace, right.namespace) || compareText(left.name, right.name),
      );
  }

  /** What changed since the last call; the first tells everything. */
  takeDelta(): PolicyDelta {
    return this.#ledger.takeDelta();
  }

  /** Everything, whatever the deltas told: what the maps are compared with. */
  snapshot(): CompiledPolicy {
    return this.#ledger.snapshot();
  }

  #addIdentity(of: PolicyIdentity): void {
    const identity = new IdentityRecord(of, this.#namespaces.enter(of.namespace));
    this.#identities.set(of.id, identity);
    identity.namespace.identities.add(identity);
    this.#ledger.addSubject(identity);
    this.#networks.join(identity);
    // First as a peer: what it then is as a subject finds it among the peers of rules that mean it.
    for (const { owner } of this.#namespaces.meaning(identity)) this.#mean(owner, identity);
    for (const policy of identity.namespace.policies.matching(identity.labels)) {
      this.#select(policy, identity);
    }
  }

  #addPolicy(source: NetworkPolicy): void {
    const compiled = compileRules(source);
    const policy = new PolicyRecord(compiled, this.#namespaces.enter(compiled.ref.namespace), this.#ledger);
    this.#policies.set(policyKey(compiled.ref), { source, record: policy });
    policy.namespace.policies.add(policy, policy.selector);
    // Peers first: until there are subjects they cost nothing but themselves.
    for (const rule of policy.rules) {
      if (rule.rule.peers === 'anybody') rule.addPeer(ANYBODY);
      if (rule.rule.peers !== 'endpoints') continue;
      this.#meaningEndpoints.add(rule);
      for (const network of this.#networks.keys()) rule.addPeer(network);
    }
    for (const term of policy.terms) {
      this.#namespaces.addTerm(term);
      for (const identity of this.#namespaces.meant(term)) this.#mean(term.owner, identity);
    }
    for (const identity of policy.namespace.identities.matching(policy.selector)) {
      this.#select(policy, identity);
    }
  }

  #relabel(name: string, labels: Labels | undefined): void {
    const namespace = this.#namespaces.enter(name);
    const before = namespace.given ? Object.fromEntries(namespace.labels) : undefined;
    const become = (given: Labels | undefined) => {
      for (const { owner, pods } of this.#namespaces.relabel(namespace, given)) {
        for (const identity of namespace.identities.matching(pods)) this.#review(owner, identity);
      }
    };
    this.#orUndo(
      () => become(labels),
      () => become(before),
    );
    this.#namespaces.leave(namespace);
  }

  /** Makes a rule mean an identity exactly if one of its terms does. */
  #review(rule: AppliedRule<PolicyRule>, identity: IdentityRecord): void {
    if (rule.rule.terms.some((term) => termMatches(term, identity))) {
      this.#mean(rule, identity);
      return;
    }
    identity.meantBy.delete(rule);
    rule.removePeer(identity.id);
  }

  #mean(rule: AppliedRule<PolicyRule>, identity: IdentityRecord): void {
    identity.meantBy.add(rule);
    rule.addPeer(identity.id);
  }

  #select(policy: PolicyRecord, identity: IdentityRecord): void {
    policy.identities.add(identity);
    identity.policies.add(policy);
    for (const direction of policy.compiled.isolates) {
      identity.isolations[direction] += 1;
      this.#networks.select(identity, direction);
    }
    for (const rule of policy.rules) rule.applyTo(identity);
  }

  #deselect(policy: PolicyRecord, identity: IdentityRecord): void {
    policy.identities.delete(identity);
    identity.policies.delete(policy);
    for (const rule of policy.rules) rule.revokeFrom(identity);
    for (const direction of policy.compiled.isolates) {
      identity.isolations[direction] -= 1;
      if (identity.isolations[direction] === 0) this.#networks.release(identity, direction);
    }
  }

  #orUndo(change: () => void, undo: () => void): void {
    try {
      change();
    } catch (error) {
      this.#ledger.unlimited(undo);
      throw error;
    }
  }
}

const ANYBODY: PeerKey = peerKey({ kind: 'any' });

function policyKey({ namespace, name }: PolicyRef): string {
  return `${namespace}/${name}`;
}

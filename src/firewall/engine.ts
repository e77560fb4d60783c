/**
 * The policy compiler: networks, namespaces, identities and policies in, map entries out. It keeps what it
 * was told and answers each change with the entries that differ, at a cost of what the change touches:
 * an identity that comes costs the policies that select it and the subjects of the rules that mean it, a policy that
 * changes costs the rules of it that differ.
 *
 * A policy applies in every network: it selects, and means by its peers, by namespace and labels alone.
 */
import type { Labels } from '../model/names.js';
import type { Policy } from '../model/policy.js';
import { finish, type Steps } from '../work/steps.js';
import { HOST_ACCESS_RULE } from './host-access.js';
import { InForce } from './in-force.js';
import { NetworkDirectory } from './isolation.js';
import { compiling, RuleLedger } from './ledger.js';
import { Matching } from './matching.js';
import { NamespaceDirectory } from './namespaces.js';
import { HOST } from './peer-key.js';
import { policyRules } from './policy-rules.js';
import { IdentityRecord, PolicyRecord } from './records.js';
import type { PolicyRules } from './rules.js';
import { type LabelMap, labelMap } from './selector.js';
import type {
  CompiledPolicy,
  PolicyDelta,
  PolicyIdentity,
  PolicyNamespace,
  PolicyNetwork,
  PolicyNode,
  PolicyRef,
} from './types.js';
import { type Unnamed, Vocabulary } from './vocabulary.js';

export interface PolicyEngineOptions {
  /**
   * Bound of `size`, for the sake of memory: a change that passes it throws INSUFFICIENT_CAPACITY and is not
   * made. Whether entries fit into the map is for the caller to see.
   */
  maxSize?: number;
  /** By default it has no labels, and reaches containers only where policies let it. */
  node?: PolicyNode | undefined;
}

/**
 * Pure state, no I/O. Every change either happens as a whole or throws and changes nothing:
 * INSUFFICIENT_CAPACITY at the bound; RangeError for what callers must never ask (an identity of a network
 * that is not there, a network removed before its identities, two networks of one name).
 *
 * Each is there in steps as well (`upsertingPolicy()` and the like): between two of them nothing else may change, and
 * what is asked is answered of what is half done, but for `inForce` of what is held. They must be run to their end.
 */
export class PolicyEngine {
  readonly #nodeLabels: LabelMap;
  readonly #hostAccess: PolicyNode['hostAccess'];
  readonly #ledger: RuleLedger;
  readonly #vocabulary = new Vocabulary();
  readonly #networks: NetworkDirectory;
  readonly #namespaces = new NamespaceDirectory();
  readonly #identities = new Map<number, IdentityRecord>();
  readonly #policies = new Map<string, PolicyRecord>();
  readonly #matching: Matching;
  readonly inForce: InForce;

  constructor({ maxSize = Number.POSITIVE_INFINITY, node }: PolicyEngineOptions = {}) {
    this.#nodeLabels = labelMap(node?.labels ?? {});
    this.#hostAccess = node?.hostAccess ?? 'policy';
    this.#ledger = new RuleLedger(maxSize);
    this.inForce = new InForce(
      (identity) => this.#ledger.inForce(identity),
      () => this.#ledger.keep(),
    );
    this.#networks = new NetworkDirectory(this.#ledger, this.#vocabulary);
    this.#matching = new Matching({
      ledger: this.#ledger,
      vocabulary: this.#vocabulary,
      networks: this.#networks,
      namespaces: this.#namespaces,
      identities: this.#identities,
    });
  }

  /**
   * From now on `max` bounds it; where there is more already, that does: what is taken away can be put back. Asked for
   * when what is recorded is loaded, which may be more than the bound that it was made under.
   */
  bound(max: number): void {
    this.#ledger.bound(Math.max(max, this.size));
  }

  /**
   * Runs steps that bring back what was there before a change, whatever the bound: networks and identities come without
   * asking for room, so what a policy takes may not be free again once it was given up.
   */
  undoing(undo: () => Steps): Steps {
    return this.#ledger.unlimited(undo);
  }

  /** Until what it returns is disposed of, `inForce` tells of what is now, whatever changes meanwhile. Once at a time. */
  hold(): Disposable {
    return this.#ledger.hold();
  }

  /** Port matches and ranges applied: at least the number of entries; more where several rules give the same key. */
  get size(): number {
    return this.#ledger.size;
  }

  upsertNetwork(network: PolicyNetwork): void {
    finish(this.upsertingNetwork(network));
  }

  *upsertingNetwork(network: PolicyNetwork): Steps {
    const isNew = this.#networks.get(network.id) === undefined;
    const { key } = this.#networks.upsert(network);
    if (!isNew) return;
    yield* this.#orUndo(
      () => this.#matching.addNetwork(key),
      () => this.removingNetwork(network.id),
    );
  }

  /** What is not there is no error, here and in the other removals. */
  removeNetwork(id: number): void {
    finish(this.removingNetwork(id));
  }

  *removingNetwork(id: number): Steps {
    const key = this.#networks.get(id)?.key;
    this.#networks.remove(id);
    if (key !== undefined) yield* this.#matching.removeNetwork(key);
  }

  /** Sets the labels of a namespace. One that is not set exists all the same, with its implied label. */
  setNamespace(namespace: PolicyNamespace): void {
    finish(this.settingNamespace(namespace));
  }

  *settingNamespace({ name, labels }: PolicyNamespace): Steps {
    yield* this.#relabel(name, labels);
  }

  /** Its labels are forgotten; its identities and policies stay. */
  removeNamespace(name: string): void {
    finish(this.removingNamespace(name));
  }

  *removingNamespace(name: string): Steps {
    yield* this.#relabel(name, undefined);
  }

  upsertIdentity(identity: PolicyIdentity): void {
    finish(this.upsertingIdentity(identity));
  }

  *upsertingIdentity(identity: PolicyIdentity): Steps {
    if (!Number.isInteger(identity.id) || identity.id <= 0) throw new RangeError(`identity ${identity.id}`);
    if (this.#networks.get(identity.network_id) === undefined) {
      throw new RangeError(
        `identity ${identity.id} is in network ${identity.network_id}, which does not exist`,
      );
    }
    const before = this.#identities.get(identity.id)?.of;
    yield* this.removingIdentity(identity.id);
    yield* this.#orUndo(
      () => this.#addIdentity(identity),
      () => this.#replaceIdentity(identity.id, before),
    );
  }

  removeIdentity(id: number): void {
    finish(this.removingIdentity(id));
  }

  *removingIdentity(id: number): Steps {
    const identity = this.#identities.get(id);
    if (identity === undefined) return;
    this.#identities.delete(id);
    yield* this.#ledger.removeSubject(identity);
    this.#networks.part(identity);
    yield* this.#matching.removeIdentity(identity);
    identity.namespace.identities.remove(identity);
    this.#namespaces.leave(identity.namespace);
  }

  /** Rules that stay as they are, in their place in a policy that stays otherwise as it is, cost nothing. */
  upsertPolicy(policy: Policy): void {
    finish(this.upsertingPolicy(policy));
  }

  *upsertingPolicy(source: Policy): Steps {
    const after = policyRules(source, this.#nodeLabels);
    const { ref, text } = after.head;
    const policy = this.#policies.get(policyKey(ref));
    const before = policy?.source;
    if (policy !== undefined && before?.head.text === text) {
      yield* this.#orUndo(
        () => this.#matching.changeRules(policy, after.rules),
        () => this.#matching.changeRules(policy, before.rules),
      );
      return;
    }
    yield* this.removingPolicy(ref);
    yield* this.#orUndo(
      () => this.#addPolicy(after),
      () => this.#replacePolicy(ref, before),
    );
  }

  removePolicy(ref: PolicyRef): void {
    finish(this.removingPolicy(ref));
  }

  *removingPolicy(ref: PolicyRef): Steps {
    const policy = this.#policies.get(policyKey(ref));
    if (policy === undefined) return;
    this.#policies.delete(policyKey(ref));
    yield* this.#matching.removePolicy(policy);
  }

  /** What the maps must hold of one identity; nothing when there is none of that number. */
  rulesOf(identity: number): CompiledPolicy {
    return finish(this.takingRulesOf(identity));
  }

  takingRulesOf(identity: number): Steps<CompiledPolicy> {
    const view = this.#ledger.view(identity);
    return compiling(view === undefined ? [] : [view]);
  }

  /** What changed since the last call; the first tells everything. */
  takeDelta(): PolicyDelta {
    return finish(this.takingDelta());
  }

  takingDelta(): Steps<PolicyDelta> {
    return this.#ledger.takeDelta();
  }

  /** What no rule names any more, be it that it never became an entry; each once. */
  takeUnnamed(): Unnamed {
    return this.#vocabulary.takeUnnamed();
  }

  /** Everything, whatever the deltas told: what the maps are compared with. */
  snapshot(): CompiledPolicy {
    return finish(this.takingSnapshot());
  }

  takingSnapshot(): Steps<CompiledPolicy> {
    return this.#ledger.takingSnapshot();
  }

  *#addIdentity(of: PolicyIdentity): Steps {
    const identity = new IdentityRecord(of, this.#namespaces.enter(of.namespace));
    this.#identities.set(of.id, identity);
    identity.namespace.identities.add(identity);
    this.#ledger.addSubject(identity);
    this.#networks.join(identity);
    if (this.#hostAccess === 'full') this.#ledger.apply(identity, HOST_ACCESS_RULE, HOST);
    yield* this.#matching.addIdentity(identity);
  }

  *#replaceIdentity(id: number, by: PolicyIdentity | undefined): Steps {
    yield* this.removingIdentity(id);
    if (by !== undefined) yield* this.#addIdentity(by);
  }

  *#addPolicy({ head, rules }: PolicyRules): Steps {
    const policy = new PolicyRecord(head);
    this.#policies.set(policyKey(head.ref), policy);
    yield* this.#matching.addPolicy(policy, rules);
  }

  *#replacePolicy(ref: PolicyRef, by: PolicyRules | undefined): Steps {
    yield* this.removingPolicy(ref);
    if (by !== undefined) yield* this.#addPolicy(by);
  }

  *#relabel(name: string, labels: Labels | undefined): Steps {
    const namespace = this.#namespaces.enter(name);
    const before = namespace.given ? Object.fromEntries(namespace.labels) : undefined;
    yield* this.#orUndo(
      () => this.#matching.relabel(namespace, labels),
      () => this.#matching.relabel(namespace, before),
    );
    this.#namespaces.leave(namespace);
  }

  *#orUndo(change: () => Steps, undo: () => Steps): Steps {
    try {
      yield* change();
    } catch (error) {
      yield* this.undoing(undo);
      throw error;
    }
  }
}

/** No namespace is called `-`, which stands for cluster-wide. */
function policyKey({ namespace, name }: PolicyRef): string {
  return `${namespace}/${name}`;
}

/**
 * Networks and their isolation modes: what an identity may do where no policy decides. The rule of the mode is always
 * there, in the last tier; a NetworkPolicy that isolates the identity ends the decision before that.
 *
 * full: nothing. peer: endpoints of its own network. mesh: those, and of the networks in `peers` that exist.
 * none: anybody, host and world included. Both sides must allow a packet, so a network of mode mesh talks to
 * a peer only if that one lets it: by its own mode and peers, or by a policy.
 */

import { finish } from '../work/steps.js';
import { laneOf } from './lanes.js';
import type { RuleLedger } from './ledger.js';
import { ANY, type PeerKey } from './peer-key.js';
import { ANY_PORT } from './ports.js';
import { ISOLATION } from './precedence.js';
import { AppliedRule, type IdentityRecord, NetworkRecord } from './records.js';
import type { RuleTerms } from './subject.js';
import { DIRECTIONS, type Direction, type PolicyNetwork } from './types.js';
import type { Vocabulary } from './vocabulary.js';

/** A network with the identities in it, and the rule of its mode per direction. */
interface Member {
  record: NetworkRecord;
  readonly identities: Set<IdentityRecord>;
  readonly rules: Record<Direction, AppliedRule>;
}

export class NetworkDirectory {
  readonly #ledger: RuleLedger;
  readonly #vocabulary: Vocabulary;
  readonly #members = new Map<number, Member>();
  readonly #byName = new Map<string, Member>();
  /** The networks that name a network as their peer, whether it exists or not. */
  readonly #naming = new Map<string, Set<Member>>();

  constructor(ledger: RuleLedger, vocabulary: Vocabulary) {
    this.#ledger = ledger;
    this.#vocabulary = vocabulary;
  }

  get(id: number): NetworkRecord | undefined {
    return this.#members.get(id)?.record;
  }

  *keys(): Iterable<PeerKey> {
    for (const { record } of this.#members.values()) yield record.key;
  }

  /** Throws RangeError when another network has the name. */
  upsert(network: PolicyNetwork): NetworkRecord {
    const namesake = this.#byName.get(network.name)?.record.id;
    if (namesake !== undefined && namesake !== network.id) {
      throw new RangeError(`network ${network.name} exists with id ${namesake}`);
    }
    const record = new NetworkRecord(network);
    const known = this.#members.get(network.id);
    if (known === undefined) this.#add(record);
    else this.#change(known, record);
    return record;
  }

  /** Throws RangeError while identities are in it. */
  remove(id: number): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    if (member.identities.size > 0) throw new RangeError(`network ${member.record.name} has identities`);
    this.#unname(member);
    for (const direction of DIRECTIONS) this.#vocabulary.remove(member.rules[direction].rule);
    this.#members.delete(id);
    this.#settleNaming(member.record.name);
  }

  /** A new identity. Throws RangeError when its network does not exist. */
  join(identity: IdentityRecord): void {
    const { identities, rules } = this.#memberOf(identity);
    identities.add(identity);
    for (const direction of DIRECTIONS) finish(rules[direction].applyTo(identity));
  }

  /** An identity that is gone from the ledger. */
  part(identity: IdentityRecord): void {
    this.#memberOf(identity).identities.delete(identity);
  }

  #memberOf({ of }: IdentityRecord): Member {
    const member = this.#members.get(of.network_id);
    if (member === undefined) {
      throw new RangeError(`identity ${of.id} is in network ${of.network_id}, which does not exist`);
    }
    return member;
  }

  #add(record: NetworkRecord): void {
    const identities = new Set<IdentityRecord>();
    const member: Member = {
      record,
      identities,
      rules: {
        egress: this.#rule(record, 'egress', identities),
        ingress: this.#rule(record, 'ingress', identities),
      },
    };
    this.#members.set(record.id, member);
    this.#name(member);
    this.#settle(member);
    this.#settleNaming(record.name);
  }

  #change(member: Member, record: NetworkRecord): void {
    const before = member.record;
    this.#unname(member);
    member.record = record;
    this.#name(member);
    if (before.name !== record.name || before.mode !== record.mode) this.#replaceRules(member);
    this.#settle(member);
    if (before.name === record.name) return;
    this.#settleNaming(before.name);
    this.#settleNaming(record.name);
  }

  #replaceRules(member: Member): void {
    for (const direction of DIRECTIONS) {
      const old = member.rules[direction];
      for (const peer of [...old.peers]) finish(old.removePeer(peer));
      this.#vocabulary.remove(old.rule);
      member.rules[direction] = this.#rule(member.record, direction, member.identities);
    }
  }

  /** Makes the rules mean whom the mode, the peers and the existing networks say. */
  #settle({ record, rules }: Member): void {
    const wanted = this.#peersOf(record);
    for (const direction of DIRECTIONS) {
      const rule = rules[direction];
      for (const peer of [...rule.peers]) if (!wanted.has(peer)) finish(rule.removePeer(peer));
      for (const peer of wanted) finish(rule.addPeer(peer));
    }
  }

  #settleNaming(name: string): void {
    for (const member of this.#naming.get(name) ?? []) this.#settle(member);
  }

  #peersOf({ mode, key, peers }: NetworkRecord): Set<PeerKey> {
    switch (mode) {
      case 'full':
        return new Set();
      case 'peer':
        return new Set([key]);
      case 'mesh':
        return new Set([key, ...peers.flatMap((name) => this.#byName.get(name)?.record.key ?? [])]);
      case 'none':
        return new Set([ANY]);
    }
  }

  #rule(
    { name, mode }: NetworkRecord,
    direction: Direction,
    subjects: ReadonlySet<IdentityRecord>,
  ): AppliedRule {
    const rule: RuleTerms = {
      ref: { kind: 'isolation', network: name, mode },
      lane: laneOf(direction, ISOLATION.tier, false),
      verdict: 'allow',
      precedence: ISOLATION.precedence,
      ports: [ANY_PORT],
      ranges: [],
    };
    this.#vocabulary.add(rule);
    return new AppliedRule(rule, subjects, this.#ledger);
  }

  #name(member: Member): void {
    this.#byName.set(member.record.name, member);
    for (const peer of member.record.peers) {
      const naming = this.#naming.get(peer) ?? new Set();
      this.#naming.set(peer, naming.add(member));
    }
  }

  #unname(member: Member): void {
    this.#byName.delete(member.record.name);
    for (const peer of member.record.peers) {
      const naming = this.#naming.get(peer);
      naming?.delete(member);
      if (naming?.size === 0) this.#naming.delete(peer);
    }
  }
}

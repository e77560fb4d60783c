/** The compiled policy in keys and numbers of the maps. Pure. */
import {
  Identity,
  PolicyPeer,
  PolicyTier,
  type RangeLengths,
  type SubjectSlot,
  Verdict,
} from '../../datapath/abi/generated.js';
import type { PolicyCidr } from '../../datapath/policy-cells.js';
import {
  directionCode,
  type PolicyChange,
  type PolicyEntry,
  type PolicySubject,
} from '../../datapath/policy-table.js';
import {
  type CidrKey,
  DIRECTIONS,
  type Peer,
  type PolicyDelta,
  type PrefixLengths,
  type RuleEntry,
  type RuleKey,
  type RuleRef,
  type Verdict as RuleVerdict,
  type SubjectEntry,
  type SubjectRules,
  TIERS,
  type Tier,
} from '../../firewall/types.js';
import { parseCidr } from '../../model/address.js';
import { mapping, type Steps, stepping } from '../../work/steps.js';

/** What the kernel calls things that it knows by number only. */
export interface PolicyNumbers {
  readonly rules: ReadonlyMap<RuleRef, number>;
  /** By name of a port. */
  readonly names: ReadonlyMap<string, number>;
  /** By canonical text of a range. */
  readonly cidrs: ReadonlyMap<string, number>;
}

const TIER_CODES: Readonly<Record<Tier, number>> = {
  admin: PolicyTier.ADMIN,
  'network-policy': PolicyTier.NETWORK_POLICY,
  baseline: PolicyTier.BASELINE,
  default: PolicyTier.DEFAULT,
};

const VERDICT_CODES: Readonly<Record<RuleVerdict, Verdict>> = {
  allow: Verdict.ALLOW,
  deny: Verdict.DENY,
  pass: Verdict.PASS,
};

/** Each once, as the others below. */
export function* rulesOf({ set }: PolicyDelta): Steps<Set<RuleRef>> {
  const rules = new Set<RuleRef>();
  yield* stepping(set, ({ rule }) => rules.add(rule));
  return rules;
}

export function* namesOfPorts({ set, delete: gone }: PolicyDelta): Steps<Set<string>> {
  const names = new Set<string>();
  for (const keys of [set, gone]) yield* stepping(keys, ({ name }) => name !== undefined && names.add(name));
  return names;
}

/** The ranges that are named, as entries of their own or as peers. */
export function* rangesOf({ set, delete: gone, cidrs }: PolicyDelta): Steps<Set<string>> {
  const ranges = new Set<string>();
  for (const keys of [set, gone]) {
    yield* stepping(keys, ({ peer }) => peer.kind === 'cidr' && ranges.add(peer.cidr));
  }
  for (const keys of [cidrs.set, cidrs.delete]) yield* stepping(keys, ({ cidr }) => ranges.add(cidr));
  return ranges;
}

export function* encodeDelta(delta: PolicyDelta, numbers: PolicyNumbers): Steps<PolicyChange> {
  return {
    set: yield* mapping(delta.set, (entry) => encodeEntry(entry, numbers)),
    delete: yield* mapping(delta.delete, (key) => encodeKey(key, numbers)),
    subjects: {
      set: yield* mapping(delta.subjects.set, encodeSubject),
      delete: [...delta.subjects.delete],
    },
    cidrs: {
      set: yield* mapping(delta.cidrs.set, (key) => ({
        ...encodeCidr(key),
        cidrClass: known(numbers.cidrs, key.cidr),
      })),
      delete: yield* mapping(delta.cidrs.delete, encodeCidr),
    },
  };
}

function encodeEntry(entry: RuleEntry, numbers: PolicyNumbers): PolicyEntry {
  return {
    key: encodeKey(entry, numbers),
    decision: {
      rule: known(numbers.rules, entry.rule),
      precedence: entry.precedence,
      verdict: VERDICT_CODES[entry.verdict],
    },
  };
}

function encodeKey(key: RuleKey, { names, cidrs }: PolicyNumbers): PolicyEntry['key'] {
  return {
    subject: key.subject,
    peer: encodePeer(key.peer, cidrs),
    direction: directionCode(key.direction),
    tier: TIER_CODES[key.tier] | (key.audit ? PolicyTier.AUDIT_FLAG : 0),
    protocol: key.protocol,
    portBits: key.portBits,
    port: key.name === undefined ? key.port : known(names, key.name),
  };
}

function encodePeer(peer: Peer, cidrs: PolicyNumbers['cidrs']): number {
  switch (peer.kind) {
    case 'any':
      return PolicyPeer.ANY;
    case 'network':
      return PolicyPeer.NETWORK_FLAG | peer.id;
    case 'identity':
      return peer.id;
    case 'host':
      return Identity.HOST;
    case 'world':
      return Identity.WORLD;
    case 'cidr':
      return PolicyPeer.CIDR_FLAG | known(cidrs, peer.cidr);
  }
}

function encodeSubject({ identity, enforced, audited, cidrs }: SubjectEntry): PolicySubject {
  const audits = DIRECTIONS.map(
    (direction, index) =>
      audited.isolated[direction] || TIERS.some((tier) => audited.portBits[tier][index] !== 0),
  );
  return {
    identity,
    slot: {
      enforced: encodeRules(enforced),
      audited: encodeRules(audited),
      audits: bitsOf(audits),
      ranges: [encodeLengths(cidrs.egress), encodeLengths(cidrs.ingress)],
      present: 1,
    },
  };
}

function encodeRules({ portBits, isolated }: SubjectRules): SubjectSlot['enforced'] {
  const { admin, baseline } = portBits;
  return {
    portBits: [...admin, ...portBits['network-policy'], ...baseline, ...portBits.default],
    isolated: bitsOf(DIRECTIONS.map((direction) => isolated[direction])),
  };
}

function encodeLengths(lengths: PrefixLengths): RangeLengths {
  const word = (bits: bigint, at: number) => Number((bits >> BigInt(32 * at)) & 0xffffffffn);
  const ip6 = lengths[6];
  return {
    ip4: [word(lengths[4], 0), word(lengths[4], 1)],
    ip6: [word(ip6, 0), word(ip6, 1), word(ip6, 2), word(ip6, 3), word(ip6, 4)],
  };
}

function encodeCidr({ subject, direction, cidr }: CidrKey): PolicyCidr {
  return { subject, direction: directionCode(direction), cidr: parseCidr(cidr) };
}

/** Bit n: the n-th flag. */
function bitsOf(flags: readonly boolean[]): number {
  return flags.reduce((bits, flag, index) => (flag ? bits | (1 << index) : bits), 0);
}

function known<K>(numbers: ReadonlyMap<K, number>, key: K): number {
  const number = numbers.get(key);
  if (number === undefined) throw new Error(`no number was given to ${JSON.stringify(key)}`);
  return number;
}

/** A compiled policy as keys and values of the maps, the numbers of its rules, ranges and names included. */
import {
  type CidrKey,
  CidrKeyBits,
  Identity,
  type PolicyKey,
  PolicyPeer,
  PolicyTier,
  type PolicyValue,
  type SubjectRules,
  type SubjectSlot,
  Verdict,
} from '../../src/datapath/abi/generated.js';
import { formatRuleRef } from '../../src/firewall/rule-ref.js';
import {
  type CompiledPolicy,
  DIRECTIONS,
  type Peer,
  type RuleEntry,
  type SubjectEntry,
  type SubjectRules as SymbolicRules,
  TIERS,
} from '../../src/firewall/types.js';
import { mappedAddress } from './packet.js';
import { directionOf, NO_DECISION, NO_SUBJECT, rangePeer } from './rule-maps.js';

const VERDICTS = { allow: Verdict.ALLOW, deny: Verdict.DENY, pass: Verdict.PASS } as const;

/** Texts as numbers from 1 on, the same for the same text. */
export class Numbers {
  readonly #numbers = new Map<string, number>();
  readonly #texts: string[] = [];

  of(text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    this.#texts.push(text);
    this.#numbers.set(text, this.#texts.length);
    return this.#texts.length;
  }

  /** 0 stands for nothing. */
  text(number: number): string | undefined {
    return this.#texts[number - 1];
  }
}

export class PolicyEncoding {
  readonly rules = new Numbers();
  readonly names = new Numbers();
  readonly #ranges = new Numbers();

  entry(entry: RuleEntry, slot: number): { key: PolicyKey; value: PolicyValue } {
    const tier = PolicyTier[TIER_NAMES[entry.tier]];
    const key: PolicyKey = {
      subject: entry.subject,
      peer: this.#peer(entry.peer),
      direction: directionOf(entry.direction),
      tier: entry.audit ? tier | PolicyTier.AUDIT_FLAG : tier,
      protocol: entry.protocol,
      portBits: entry.portBits,
      port: entry.name === undefined ? entry.port : this.names.of(entry.name),
    };
    const decision = {
      rule: this.rules.of(formatRuleRef(entry.rule)),
      precedence: entry.precedence,
      verdict: VERDICTS[entry.verdict],
    };
    return { key, value: { key, slot: slot === 0 ? [decision, NO_DECISION] : [NO_DECISION, decision] } };
  }

  subject({ identity, enforced, audited }: SubjectEntry, { cidrs }: CompiledPolicy, slot: number) {
    const bitsWhere = (holds: (direction: (typeof DIRECTIONS)[number], side: number) => boolean) =>
      DIRECTIONS.reduce((bits, one, side) => (holds(one, side) ? bits | (1 << side) : bits), 0);
    const rules: SubjectSlot = {
      enforced: encodeRules(enforced),
      audited: encodeRules(audited),
      audits: bitsWhere(
        (one, side) => audited.isolated[one] || TIERS.some((tier) => audited.portBits[tier][side] !== 0),
      ),
      cidrs: bitsWhere((one) =>
        cidrs.some(({ subject, direction }) => subject === identity && direction === one),
      ),
      present: 1,
    };
    const slots: [SubjectSlot, SubjectSlot] = slot === 0 ? [rules, NO_SUBJECT] : [NO_SUBJECT, rules];
    return { key: { identity }, value: { key: { identity }, slot: slots } };
  }

  range({ subject, direction, cidr }: CompiledPolicy['cidrs'][number], slot: number) {
    const [address = '', bits = ''] = cidr.split('/');
    const family = address.includes(':') ? 6 : 4;
    const key: CidrKey = {
      prefixLength: CidrKeyBits.BITS + (family === 4 ? 96 : 0) + Number(bits),
      subject,
      direction: directionOf(direction),
      family,
      address: mappedAddress(address),
    };
    const number = this.#ranges.of(cidr);
    const cidrClass: [number, number] = slot === 0 ? [number, 0] : [0, number];
    return { key, value: { cidrClass } };
  }

  #peer(peer: Peer): number {
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
        return rangePeer(this.#ranges.of(peer.cidr));
    }
  }
}

const TIER_NAMES = {
  admin: 'ADMIN',
  'network-policy': 'NETWORK_POLICY',
  baseline: 'BASELINE',
  default: 'DEFAULT',
} as const;

function encodeRules({ portBits, isolated }: SymbolicRules): SubjectRules {
  return {
    portBits: TIERS.flatMap((tier) => [...portBits[tier]]) as SubjectRules['portBits'],
    isolated: DIRECTIONS.reduce((bits, one, side) => (isolated[one] ? bits | (1 << side) : bits), 0),
  };
}

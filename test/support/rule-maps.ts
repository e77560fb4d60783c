/** Rules as the maps hold them, written by hand: what the programs do with each, whatever a compiler would write. */
import {
  Direction,
  type PolicyDecision,
  PolicyPeer,
  PolicyTier,
  PortBits,
  type RangeLengths,
  type SubjectRules,
  type SubjectSlot,
  Verdict,
} from '../../src/datapath/abi/generated.js';
import { mappedAddress } from './packet.js';
import type { Programs } from './programs.js';

export interface MapRule {
  subject: number;
  direction: 'egress' | 'ingress';
  /** An identity, or a class of enum policy_peer. Default: any. */
  peer?: number;
  /** Enum policy_tier. Default: ADMIN. */
  tier?: number;
  /** Counted, not enforced. */
  audit?: boolean;
  protocol?: number;
  port?: number;
  portBits?: number;
  /** Number of a name of ports, instead of a port. */
  portName?: number;
  verdict?: 'allow' | 'deny' | 'pass';
  precedence?: number;
  /** Cookie. */
  rule?: number;
}

export const NO_DECISION: PolicyDecision = { rule: 0, precedence: 0, verdict: Verdict.NONE };
const NO_RULES: SubjectRules = { portBits: [0, 0, 0, 0, 0, 0, 0, 0], isolated: 0 };
const NO_LENGTHS: RangeLengths = { ip4: [0, 0], ip6: [0, 0, 0, 0, 0] };
export const NO_SUBJECT: SubjectSlot = {
  enforced: NO_RULES,
  audited: NO_RULES,
  audits: 0,
  ranges: [NO_LENGTHS, NO_LENGTHS],
  present: 0,
};
const VERDICTS = { allow: Verdict.ALLOW, deny: Verdict.DENY, pass: Verdict.PASS } as const;

export function directionOf(direction: 'egress' | 'ingress'): number {
  return direction === 'egress' ? Direction.EGRESS : Direction.INGRESS;
}

/** The peer that stands for the addresses of a range and of no narrower one. */
export function rangePeer(cidrClass: number): number {
  return PolicyPeer.CIDR_FLAG | cidrClass;
}

export function writeRule(programs: Programs, slot: number, rule: MapRule): void {
  const { subject, peer = PolicyPeer.ANY, tier = PolicyTier.ADMIN, audit = false, protocol = 0 } = rule;
  const port = rule.portName ?? rule.port ?? 0;
  const portBits = rule.portName === undefined ? (rule.portBits ?? (port ? 16 : 0)) : PortBits.NAMED;
  const direction = directionOf(rule.direction);
  const tierCode = audit ? tier | PolicyTier.AUDIT_FLAG : tier;
  const key = { subject, peer, direction, tier: tierCode, protocol, portBits, port };
  const { rule: cookie = 0, precedence = 100, verdict = 'allow' } = rule;
  const value = programs.policy.get(key) ?? { slot: [NO_DECISION, NO_DECISION] };
  const decision = { rule: cookie, precedence, verdict: VERDICTS[verdict] };
  programs.policy.set(key, { key, slot: withSlot<PolicyDecision>(value.slot, slot, decision) });
  changeSubject(programs, slot, subject, (rules) => {
    const kind = audit ? 'audited' : 'enforced';
    const at = 2 * tier + direction;
    const bits = rules[kind].portBits.map((known, index) => (index === at ? known | (1 << portBits) : known));
    const changed = { ...rules[kind], portBits: bits as SubjectRules['portBits'] };
    return { ...rules, [kind]: changed, audits: audit ? rules.audits | (1 << direction) : rules.audits };
  });
}

/** What no rule of NetworkPolicy allows is denied; the tiers behind it are not asked. */
export function writeIsolation(
  programs: Programs,
  slot: number,
  { subject, direction, audit = false }: Pick<MapRule, 'subject' | 'direction' | 'audit'>,
): void {
  const bit = 1 << directionOf(direction);
  changeSubject(programs, slot, subject, (rules) => {
    const kind = audit ? 'audited' : 'enforced';
    const changed = { ...rules[kind], isolated: rules[kind].isolated | bit };
    return { ...rules, [kind]: changed, audits: audit ? rules.audits | bit : rules.audits };
  });
}

/** Gives a range of the subject's rules its class; 0: this generation has no range there. */
export function writeRange(
  programs: Programs,
  slot: number,
  range: Pick<MapRule, 'subject' | 'direction'> & { cidr: string; cidrClass: number },
): void {
  const [address = '', bits = ''] = range.cidr.split('/');
  const family = address.includes(':') ? 6 : 4;
  const direction = directionOf(range.direction);
  const prefixLength = (family === 4 ? 96 : 0) + Number(bits);
  const key = { subject: range.subject, direction, family, prefixLength, address: mappedAddress(address) };
  const known = programs.ranges.get(key) ?? { slot: [0, 0] };
  programs.ranges.set(key, { key, slot: withSlot(known.slot, slot, range.cidrClass) });
  writeRangeLength(programs, slot, { ...range, family, prefixLength });
}

/** Ranges of that length, in the mapped form, are looked for among the subject's. */
export function writeRangeLength(
  programs: Programs,
  slot: number,
  {
    subject,
    direction,
    family,
    prefixLength,
  }: Pick<MapRule, 'subject' | 'direction'> & { family: 4 | 6; prefixLength: number },
): void {
  const word = prefixLength >> 5;
  const withLength = ({ ip4, ip6 }: RangeLengths): RangeLengths => {
    const add = <Words extends number[]>(words: Words, first: number) =>
      words.map((bits, at) =>
        at + first === word ? (bits | (1 << (prefixLength & 31))) >>> 0 : bits,
      ) as Words;
    return family === 4 ? { ip4: add(ip4, 3), ip6 } : { ip4, ip6: add(ip6, 0) };
  };
  changeSubject(programs, slot, subject, (rules) => {
    const [egress, ingress] = rules.ranges;
    const isEgress = directionOf(direction) === Direction.EGRESS;
    return { ...rules, ranges: isEgress ? [withLength(egress), ingress] : [egress, withLength(ingress)] };
  });
}

/** What the endpoint calls one of its ports: numbers of names. */
export function writePortNames(
  programs: Programs,
  { endpointId, protocol, port }: { endpointId: number; protocol: number; port: number },
  names: number[],
): void {
  const key = { endpointId, protocol, port };
  const [first = 0, second = 0, third = 0, fourth = 0] = names;
  programs.portNames.set(key, { key, name: [first, second, third, fourth] });
}

/** Changes what there is to know of the subject's rules, which are computed with that. */
export function changeSubject(
  programs: Programs,
  slot: number,
  identity: number,
  change: (rules: SubjectSlot) => SubjectSlot,
): void {
  const value = programs.subjects.get({ identity }) ?? { slot: [NO_SUBJECT, NO_SUBJECT] };
  const rules = { ...change(value.slot[slot & 1] ?? NO_SUBJECT), present: 1 };
  programs.subjects.set({ identity }, { key: { identity }, slot: withSlot(value.slot, slot, rules) });
}

/** Takes every rule out of a slot; the subjects stay, without any. */
export function emptySlot(programs: Programs, slot: number): void {
  for (const { key, value } of programs.policy.entries()) {
    programs.policy.set(key, { key, slot: withSlot<PolicyDecision>(value.slot, slot, NO_DECISION) });
  }
  for (const { key, value } of programs.ranges.entries()) {
    programs.ranges.set(key, { key, slot: withSlot(value.slot, slot, 0) });
  }
  for (const { key } of programs.subjects.entries()) {
    changeSubject(programs, slot, key.identity, () => NO_SUBJECT);
  }
}

function withSlot<T>(slots: readonly [T, T], slot: number, content: T): [T, T] {
  return slot & 1 ? [slots[0], content] : [content, slots[1]];
}

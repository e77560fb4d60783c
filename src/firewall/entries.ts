/** Map entries, made of the rules that apply. */
import type { Lane } from './lanes.js';
import { type PeerKey, peerFromKey } from './peer-key.js';
import { portKey } from './ports.js';
import { STRENGTH } from './precedence.js';
import { compareRuleRefs } from './rule-ref.js';
import type { Cell, RuleTerms } from './subject.js';
import type { Peer, PolicyDelta, PortMatch, RuleEntry, RuleKey } from './types.js';

/** Where the rules of a cell apply. */
export interface Place {
  readonly subject: number;
  readonly lane: Lane;
  readonly peer: Peer;
}

export function placeAt(subject: number, lane: Lane, peer: PeerKey): Place {
  return { subject, lane, peer: peerFromKey(peer) };
}

/** Puts the rule where it belongs: by precedence, verdict, then reference. Usually that is the end. */
export function insertRule(cell: Cell, rule: RuleTerms): void {
  const last = cell.at(-1);
  if (last === undefined || compareRules(last, rule) <= 0) cell.push(rule);
  else cell.splice(firstNotBefore(cell, rule), 0, rule);
}

/** Where the rule is; -1: it is not there. */
export function positionOf(cell: Cell, rule: RuleTerms): number {
  if (cell.at(-1) === rule) return cell.length - 1;
  for (let index = firstNotBefore(cell, rule); ; index += 1) {
    const found = cell[index];
    if (found === rule) return index;
    if (found === undefined || compareRules(found, rule) !== 0) return -1;
  }
}

/** By halves: that very many policies say something of one peer must not cost the square of their number. */
function firstNotBefore(cell: Cell, rule: RuleTerms): number {
  let low = 0;
  let high = cell.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = cell[middle];
    if (other !== undefined && compareRules(other, rule) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compareRules(left: RuleTerms, right: RuleTerms): number {
  return (
    right.precedence - left.precedence ||
    STRENGTH[right.verdict] - STRENGTH[left.verdict] ||
    compareRuleRefs(left.ref, right.ref)
  );
}

interface Owned {
  readonly match: PortMatch;
  readonly rule: RuleTerms;
}

/** The rule that owns each key of a cell: the first that gives it. */
function owners(cell: readonly RuleTerms[]): Map<number | string, Owned> {
  const owned = new Map<number | string, Owned>();
  for (const rule of cell) {
    for (const match of rule.ports) {
      const key = portKey(match);
      if (!owned.has(key)) owned.set(key, { match, rule });
    }
  }
  return owned;
}

export function appendCell(place: Place, cell: readonly RuleTerms[], entries: RuleEntry[]): void {
  const [only, second] = cell;
  if (only !== undefined && second === undefined) {
    for (const match of only.ports) entries.push(entryOf(place, match, only));
  } else {
    for (const { match, rule } of owners(cell).values()) entries.push(entryOf(place, match, rule));
  }
}

export function diffCell(
  place: Place,
  before: readonly RuleTerms[],
  after: readonly RuleTerms[],
  delta: Pick<PolicyDelta, 'set' | 'delete'>,
): void {
  if (before.length === 0) {
    appendCell(place, after, delta.set);
    return;
  }
  const had = owners(before);
  const has = owners(after);
  for (const [key, { match, rule }] of has) {
    const old = had.get(key);
    if (old === undefined || compareRules(old.rule, rule) !== 0) delta.set.push(entryOf(place, match, rule));
  }
  for (const [key, { match }] of had) {
    if (!has.has(key)) delta.delete.push(keyOf(place, match));
  }
}

function keyOf({ subject, lane, peer }: Place, { protocol, port, portBits, name }: PortMatch): RuleKey {
  const { direction, tier, audit } = lane;
  const key = { subject, direction, tier, audit, peer, protocol, port, portBits };
  return name === undefined ? key : { ...key, name };
}

/** Written out: there are hundreds of thousands, and spreading an object costs more than all else. */
function entryOf(
  { subject, lane, peer }: Place,
  { protocol, port, portBits, name }: PortMatch,
  { verdict, precedence, ref: rule }: RuleTerms,
): RuleEntry {
  const { direction, tier, audit } = lane;
  return name === undefined
    ? { subject, direction, tier, audit, peer, protocol, port, portBits, verdict, precedence, rule }
    : { subject, direction, tier, audit, peer, protocol, port, portBits, name, verdict, precedence, rule };
}

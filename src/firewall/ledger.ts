/**
 * The ledger of which rule applies to which subject and peer, the map entries that follow from it, and what
 * changed of them since the last delta.
 *
 * A *cell* is (subject, direction, peer) with the rules that apply there, best first. Entries are made from
 * cells on demand only, so that a change costs the cells that it touches.
 */
import { AppError } from '../model/errors.js';
import { type PeerKey, peerFromKey } from './peer-key.js';
import { portKey } from './ports.js';
import { compareRuleRefs } from './rule-ref.js';
import {
  type CompiledPolicy,
  DIRECTIONS,
  type Direction,
  type PolicyDelta,
  type PortMatch,
  type RuleEntry,
  type RuleKey,
  type RuleRef,
  type SubjectPorts,
  type Verdict,
} from './types.js';

/** What a rule says, wherever it applies. */
export interface RuleTerms {
  readonly ref: RuleRef;
  readonly direction: Direction;
  readonly verdict: Verdict;
  readonly precedence: number;
  /** Each once. */
  readonly ports: readonly PortMatch[];
}

type Cells = Record<Direction, Map<PeerKey, RuleTerms[]>>;
type PortBits = readonly [number, number];

/** One identity as the owner of rules. */
export class Subject {
  readonly cells: Cells = emptyCells();
  /** How many applied port matches have portBits n. */
  readonly portBitsUse: Record<Direction, number[]> = { egress: emptyUse(), ingress: emptyUse() };

  constructor(readonly id: number) {}
}

/** How a subject was at the last delta: of the cells, those that changed since. Undefined: it was not there. */
type Before = { readonly portBits: PortBits; readonly cells: Cells } | undefined;

export class RuleLedger {
  #limit: number;
  readonly #subjects = new Map<number, Subject>();
  readonly #before = new Map<number, Before>();
  #size = 0;

  /** `limit`: see `size`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Port matches applied: the number of entries, or more where several rules give the same key. */
  get size(): number {
    return this.#size;
  }

  addSubject(subject: Subject): void {
    this.#subjects.set(subject.id, subject);
    // When it was removed since the last delta, what is remembered of that one stays.
    if (!this.#before.has(subject.id)) this.#before.set(subject.id, undefined);
  }

  /** Removes the subject with all of its cells. */
  removeSubject(subject: Subject): void {
    const before = this.#remember(subject);
    for (const direction of DIRECTIONS) {
      for (const [peer, rules] of subject.cells[direction]) {
        if (before?.cells[direction].has(peer) === false) before.cells[direction].set(peer, rules);
        for (const rule of rules) this.#size -= rule.ports.length;
      }
    }
    this.#subjects.delete(subject.id);
    if (before === undefined) this.#before.delete(subject.id);
  }

  /** The rule must not apply there yet. Throws INSUFFICIENT_CAPACITY at the limit, with nothing changed. */
  apply(subject: Subject, rule: RuleTerms, peer: PeerKey): void {
    const cells = subject.cells[rule.direction];
    const cell = cells.get(peer);
    // Isolation is not limited: it comes back when a policy goes, and that must not fail.
    if (this.#size + rule.ports.length > this.#limit && rule.ref.kind === 'policy') {
      throw new AppError('INSUFFICIENT_CAPACITY', `policies need more than ${this.#limit} entries`);
    }
    this.#rememberCell(subject, rule.direction, peer, cell);
    if (cell === undefined) cells.set(peer, [rule]);
    else insertRule(cell, rule);
    for (const { portBits } of rule.ports) this.#count(subject, rule.direction, portBits, 1);
    this.#size += rule.ports.length;
  }

  /** The reverse of `apply`; a rule that does not apply is no error. */
  revoke(subject: Subject, rule: RuleTerms, peer: PeerKey): void {
    const cells = subject.cells[rule.direction];
    const cell = cells.get(peer);
    const index = cell?.indexOf(rule) ?? -1;
    if (cell === undefined || index < 0) return;
    this.#rememberCell(subject, rule.direction, peer, cell);
    if (cell.length === 1) cells.delete(peer);
    else cell.splice(index, 1);
    for (const { portBits } of rule.ports) this.#count(subject, rule.direction, portBits, -1);
    this.#size -= rule.ports.length;
  }

  /** Runs the undo of a change that passed the limit: what was there before is put back, whatever the limit. */
  unlimited(undo: () => void): void {
    const limit = this.#limit;
    this.#limit = Number.POSITIVE_INFINITY;
    try {
      undo();
    } finally {
      this.#limit = limit;
    }
  }

  /** What changed since the last call. */
  takeDelta(): PolicyDelta {
    const delta: PolicyDelta = { set: [], delete: [], subjects: { set: [], delete: [] } };
    for (const [id, before] of this.#before) {
      const subject = this.#subjects.get(id);
      if (before === undefined) {
        if (subject !== undefined) append(subject, delta.set, delta.subjects.set);
        continue;
      }
      for (const direction of DIRECTIONS) {
        for (const [peer, rules] of before.cells[direction]) {
          const place = { subject: id, direction, peer: peerFromKey(peer) };
          diffCell(place, rules, subject?.cells[direction].get(peer) ?? [], delta);
        }
      }
      if (subject === undefined) delta.subjects.delete.push(id);
      else if (!samePortBits(before.portBits, portBitsOf(subject))) {
        delta.subjects.set.push({ identity: id, portBits: portBitsOf(subject) });
      }
    }
    this.#before.clear();
    return delta;
  }

  /** Everything, whatever the deltas told. */
  snapshot(): CompiledPolicy {
    const compiled: CompiledPolicy = { entries: [], subjects: [] };
    for (const subject of this.#subjects.values()) append(subject, compiled.entries, compiled.subjects);
    return compiled;
  }

  #remember(subject: Subject): Before {
    if (this.#before.has(subject.id)) return this.#before.get(subject.id);
    const before = { portBits: portBitsOf(subject), cells: emptyCells() };
    this.#before.set(subject.id, before);
    return before;
  }

  #rememberCell(
    subject: Subject,
    direction: Direction,
    peer: PeerKey,
    cell: readonly RuleTerms[] | undefined,
  ): void {
    const before = this.#remember(subject)?.cells[direction];
    if (before !== undefined && !before.has(peer)) before.set(peer, cell === undefined ? [] : [...cell]);
  }

  #count(subject: Subject, direction: Direction, portBits: number, change: 1 | -1): void {
    const use = subject.portBitsUse[direction];
    use[portBits] = (use[portBits] ?? 0) + change;
  }
}

type Place = Pick<RuleKey, 'subject' | 'direction' | 'peer'>;

/** Puts the rule where it belongs: by precedence, deny first, then by reference. Usually that is the end. */
function insertRule(cell: RuleTerms[], rule: RuleTerms): void {
  let index = cell.length;
  for (; index > 0; index -= 1) {
    const other = cell[index - 1];
    if (other === undefined || compareRules(other, rule) <= 0) break;
  }
  cell.splice(index, 0, rule);
}

function compareRules(left: RuleTerms, right: RuleTerms): number {
  return (
    right.precedence - left.precedence ||
    Number(left.verdict === 'allow') - Number(right.verdict === 'allow') ||
    compareRuleRefs(left.ref, right.ref)
  );
}

/** The rule that owns each key of a cell: the first that gives it. */
function owners(rules: readonly RuleTerms[]): Map<number, { match: PortMatch; rule: RuleTerms }> {
  const owned = new Map<number, { match: PortMatch; rule: RuleTerms }>();
  for (const rule of rules) {
    for (const match of rule.ports) {
      const key = portKey(match);
      if (!owned.has(key)) owned.set(key, { match, rule });
    }
  }
  return owned;
}

function diffCell(
  place: Place,
  before: readonly RuleTerms[],
  after: readonly RuleTerms[],
  delta: PolicyDelta,
): void {
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

function append(subject: Subject, entries: RuleEntry[], subjects: SubjectPorts[]): void {
  for (const direction of DIRECTIONS) {
    for (const [peer, rules] of subject.cells[direction]) {
      const place = { subject: subject.id, direction, peer: peerFromKey(peer) };
      const [only, second] = rules;
      if (only !== undefined && second === undefined) {
        for (const match of only.ports) entries.push(entryOf(place, match, only));
      } else {
        for (const { match, rule } of owners(rules).values()) entries.push(entryOf(place, match, rule));
      }
    }
  }
  subjects.push({ identity: subject.id, portBits: portBitsOf(subject) });
}

function keyOf({ subject, direction, peer }: Place, { protocol, port, portBits }: PortMatch): RuleKey {
  return { subject, direction, peer, protocol, port, portBits };
}

/** Written out: there are hundreds of thousands, and spreading an object costs more than all else. */
function entryOf(
  { subject, direction, peer }: Place,
  { protocol, port, portBits }: PortMatch,
  { verdict, precedence, ref }: RuleTerms,
): RuleEntry {
  return { subject, direction, peer, protocol, port, portBits, verdict, precedence, rule: ref };
}

function portBitsOf(subject: Subject): PortBits {
  const mask = (use: readonly number[]) =>
    use.reduce((bits, count, portBits) => (count > 0 ? bits | (1 << portBits) : bits), 0);
  return [mask(subject.portBitsUse.egress), mask(subject.portBitsUse.ingress)];
}

function samePortBits(left: PortBits, right: PortBits): boolean {
  return left[0] === right[0] && left[1] === right[1];
}

function emptyCells(): Cells {
  return { egress: new Map(), ingress: new Map() };
}

function emptyUse(): number[] {
  return new Array<number>(17).fill(0);
}

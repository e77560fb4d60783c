/**
 * The ledger of which rule applies to which subject and peer, the map entries that follow from it, and what
 * changed of them since the last delta.
 *
 * A *cell* is (subject, lane, peer) with the rules that apply there, best first. Entries are made from cells on
 * demand only, so that a change costs the cells that it touches.
 */
import { AppError } from '../model/errors.js';
import { appendCell, diffCell, insertRule, placeAt, positionOf } from './entries.js';
import { LANES, type Lane } from './lanes.js';
import type { PeerKey } from './peer-key.js';
import { RangeTable } from './range-table.js';
import type { Range } from './ranges.js';
import { type Steps, stepping } from './steps.js';
import {
  type Cell,
  isSameState,
  LaneRules,
  type RuleTerms,
  type Subject,
  type SubjectState,
  stateOf,
  subjectEntry,
} from './subject.js';
import { type CompiledPolicy, DIRECTIONS, type Direction, type PolicyDelta } from './types.js';

/** How a subject was at the last delta. Undefined: it was not there. */
type Before =
  | {
      readonly state: SubjectState;
      /** By Lane.index: the cells that changed since; missing where none did. */
      readonly cells: (Map<PeerKey, readonly RuleTerms[]> | undefined)[];
      /** Ranges that have come (1), gone (-1), or both (0); missing where none did. */
      readonly ranges: Partial<Record<Direction, Map<string, number>>>;
    }
  | undefined;

/** Rules of cells that are compared in one step of a delta. */
const RULES_PER_STEP = 64;

export class RuleLedger {
  #limit: number;
  readonly #subjects = new Map<number, Subject>();
  readonly #before = new Map<number, Before>();
  #size = 0;

  /** `limit`: see `size`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Port matches and ranges applied: the number of entries, or more where several rules give the same key. */
  get size(): number {
    return this.#size;
  }

  bound(limit: number): void {
    this.#limit = limit;
  }

  addSubject(subject: Subject): void {
    this.#subjects.set(subject.id, subject);
    // When it was removed since the last delta, what is remembered of that one stays.
    if (!this.#before.has(subject.id)) this.#before.set(subject.id, undefined);
  }

  /** Removes the subject with all of its cells and ranges. */
  *removeSubject(subject: Subject): Steps {
    for (const [lane, { cells }] of lanesOf(subject)) {
      yield* stepping(cells, ([peer, cell]) => {
        this.#rememberCell(subject, lane, peer, cell);
        for (const rule of cell) this.#size -= rule.ports.length;
      });
    }
    for (const direction of DIRECTIONS) {
      for (const { range } of subject.ranges[direction] ?? [])
        this.#countRange(subject, direction, range, -1);
    }
    // Of one that came since the last delta nothing is told.
    if (this.#remember(subject) === undefined) this.#before.delete(subject.id);
    this.#subjects.delete(subject.id);
  }

  /** One more (1) or one less (-1) of the policies that isolate a subject. */
  isolate(subject: Subject, direction: Direction, audit: boolean, change: 1 | -1): void {
    this.#remember(subject);
    subject.isolate(direction, audit, change);
  }

  /** The rule must not apply there yet. Throws INSUFFICIENT_CAPACITY at the limit, with nothing changed. */
  apply(subject: Subject, rule: RuleTerms, peer: PeerKey): void {
    // Only policies are limited: a network or an identity that comes must not fail because of them.
    if (rule.ref.kind === 'policy') this.#require(rule.ports.length);
    const lane = subject.lanes[rule.lane.index] ?? new LaneRules();
    const cell = lane.cells.get(peer);
    this.#rememberCell(subject, rule.lane, peer, cell);
    subject.lanes[rule.lane.index] = lane;
    if (cell === undefined) lane.cells.set(peer, [rule]);
    else insertRule(cell, rule);
    for (const match of rule.ports) lane.count(match, 1);
    this.#size += rule.ports.length;
  }

  /** The reverse of `apply`; a rule that does not apply is no error. */
  revoke(subject: Subject, rule: RuleTerms, peer: PeerKey): void {
    const lane = subject.lanes[rule.lane.index];
    const cell = lane?.cells.get(peer);
    const position = cell === undefined ? -1 : positionOf(cell, rule);
    if (lane === undefined || cell === undefined || position < 0) return;
    this.#rememberCell(subject, rule.lane, peer, cell);
    if (cell.length === 1) lane.cells.delete(peer);
    else cell.splice(position, 1);
    for (const match of rule.ports) lane.count(match, -1);
    this.#size -= rule.ports.length;
    if (lane.cells.size === 0) subject.lanes[rule.lane.index] = undefined;
  }

  /**
   * Makes a rule apply to the ranges that it speaks of; when it does already, that is no error. Throws
   * INSUFFICIENT_CAPACITY at the limit, with nothing changed.
   */
  *applyRanges(subject: Subject, rule: RuleTerms): Steps {
    if (rule.ranges.length === 0) return;
    const { direction } = rule.lane;
    this.#remember(subject);
    const table = subject.ranges[direction] ?? new RangeTable<RuleTerms>();
    const change = yield* table.add(rule, (count) => this.#require(count));
    if (change === undefined) return;
    subject.ranges[direction] = table;
    for (const range of change.ranges) this.#countRange(subject, direction, range, 1);
    try {
      this.#require(0);
      yield* stepping(change.rules, ({ rule: one, range }) => this.apply(subject, one, range.text));
    } catch (error) {
      yield* this.revokeRanges(subject, rule);
      throw error;
    }
  }

  /** The reverse of `applyRanges`. */
  *revokeRanges(subject: Subject, rule: RuleTerms): Steps {
    if (rule.ranges.length === 0) return;
    const { direction } = rule.lane;
    this.#remember(subject);
    const table = subject.ranges[direction];
    if (table === undefined) return;
    const change = yield* table.remove(rule);
    if (change === undefined) return;
    yield* stepping(change.rules, ({ rule: one, range }) => this.revoke(subject, one, range.text));
    for (const range of change.ranges) this.#countRange(subject, direction, range, -1);
    if (table.size === 0) delete subject.ranges[direction];
  }

  /** Runs the undo of a change that passed the limit: what was there before is put back, whatever the limit. */
  *unlimited(undo: () => Steps): Steps {
    const limit = this.#limit;
    this.#limit = Number.POSITIVE_INFINITY;
    try {
      yield* undo();
    } finally {
      this.#limit = limit;
    }
  }

  /** What changed since the last call; nothing may change until it is told. */
  *takeDelta(): Steps<PolicyDelta> {
    const delta: PolicyDelta = {
      set: [],
      delete: [],
      subjects: { set: [], delete: [] },
      cidrs: { set: [], delete: [] },
    };
    for (const [id, before] of this.#before) {
      const subject = this.#subjects.get(id);
      if (before !== undefined) yield* appendDifference(id, before, subject, delta);
      else if (subject !== undefined) {
        append(subject, { entries: delta.set, subjects: delta.subjects.set, cidrs: delta.cidrs.set });
        yield;
      }
    }
    this.#before.clear();
    return delta;
  }

  /** Everything, whatever the deltas told. */
  snapshot(): CompiledPolicy {
    return compiled(this.#subjects.values());
  }

  #require(entries: number): void {
    if (this.#size + entries <= this.#limit) return;
    throw new AppError('INSUFFICIENT_CAPACITY', `policies need more than ${this.#limit} entries`, {
      hint: 'raise policy_max, and restart the node',
    });
  }

  #remember(subject: Subject): Before {
    if (this.#before.has(subject.id)) return this.#before.get(subject.id);
    const before: Before = {
      state: stateOf(subject),
      cells: [],
      ranges: {},
    };
    this.#before.set(subject.id, before);
    return before;
  }

  #rememberCell(subject: Subject, { index }: Lane, peer: PeerKey, cell: Cell | undefined): void {
    const before = this.#remember(subject);
    if (before === undefined) return;
    const cells = before.cells[index] ?? new Map<PeerKey, readonly RuleTerms[]>();
    before.cells[index] = cells;
    if (!cells.has(peer)) cells.set(peer, cell === undefined ? [] : [...cell]);
  }

  #countRange(subject: Subject, direction: Direction, { text }: Range, change: 1 | -1): void {
    this.#size += change;
    const before = this.#remember(subject);
    if (before === undefined) return;
    const ranges = before.ranges[direction] ?? new Map<string, number>();
    before.ranges[direction] = ranges.set(text, (ranges.get(text) ?? 0) + change);
  }
}

/** All that the maps hold of some subjects. */
export function compiled(subjects: Iterable<Subject>): CompiledPolicy {
  const all: CompiledPolicy = { entries: [], subjects: [], cidrs: [] };
  for (const subject of subjects) append(subject, all);
  return all;
}

function append(subject: Subject, to: CompiledPolicy): void {
  for (const [lane, { cells }] of lanesOf(subject)) {
    for (const [peer, cell] of cells) appendCell(placeAt(subject.id, lane, peer), cell, to.entries);
  }
  to.subjects.push(subjectEntry(subject));
  for (const direction of DIRECTIONS) {
    for (const { range } of subject.ranges[direction] ?? []) {
      to.cidrs.push({ subject: subject.id, direction, cidr: range.text });
    }
  }
}

function* appendDifference(
  id: number,
  before: NonNullable<Before>,
  subject: Subject | undefined,
  delta: PolicyDelta,
): Steps {
  for (const lane of LANES) {
    let rules = 0;
    for (const [peer, cell] of before.cells[lane.index] ?? []) {
      const now = subject?.lanes[lane.index]?.cells.get(peer) ?? [];
      diffCell(placeAt(id, lane, peer), cell, now, delta);
      rules += cell.length + now.length;
      if (rules < RULES_PER_STEP) continue;
      yield;
      rules = 0;
    }
  }
  for (const direction of DIRECTIONS) {
    for (const [cidr, change] of before.ranges[direction] ?? []) {
      if (change !== 0) delta.cidrs[change > 0 ? 'set' : 'delete'].push({ subject: id, direction, cidr });
    }
  }
  if (subject === undefined) delta.subjects.delete.push(id);
  else if (!isSameState(before.state, stateOf(subject))) delta.subjects.set.push(subjectEntry(subject));
}

function* lanesOf({ lanes }: Subject): Iterable<[Lane, LaneRules]> {
  for (const lane of LANES) {
    const rules = lanes[lane.index];
    if (rules !== undefined) yield [lane, rules];
  }
}

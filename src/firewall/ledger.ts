/**
 * The ledger of which rule applies to which subject and peer, the map entries that follow from it, and what
 * changed of them since the last delta.
 *
 * A *cell* is (subject, lane, peer) with the rules that apply there, best first. Entries are made from cells on
 * demand only, so that a change costs the cells that it touches.
 */
import { AppError } from '../model/errors.js';
import { type Steps, stepping } from '../work/steps.js';
import { diffCell, insertRule, placeAt, positionOf } from './entries.js';
import { LANES, type Lane } from './lanes.js';
import { Past, type PastSubject } from './past.js';
import type { PeerKey } from './peer-key.js';
import { RangeTable } from './range-table.js';
import type { Range } from './ranges.js';
import {
  type Cell,
  type IsolatingPolicy,
  isSameState,
  LaneRules,
  type RuleTerms,
  type Subject,
  stateOf,
  subjectEntry,
} from './subject.js';
import { appending, type Kept, SubjectView } from './subject-view.js';
import { type CompiledPolicy, DIRECTIONS, type Direction, type PolicyDelta } from './types.js';

/** Rules of cells that are compared in one step of a delta. */
const RULES_PER_STEP = 64;

export class RuleLedger {
  #limit: number;
  readonly #subjects = new Map<number, Subject>();
  /** Since the last delta. */
  #untold = new Past();
  /** Since hold(). Where nothing had changed then that was not told, it is one with the other until the next delta. */
  #held: Past | undefined;
  /** Since moments that somebody still reads of, with how many do. */
  readonly #kept = new Map<Past, number>();
  /** All of them, each once. */
  #pasts: readonly Past[] = [this.#untold];
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

  /**
   * Until what it returns is disposed of, inForce() tells of subjects as they are now, whatever becomes of them. Once at
   * a time.
   */
  hold(): Disposable {
    if (this.#held !== undefined) throw new RangeError('something is held already');
    this.#keep(this.#untold, this.#untold.isEmpty ? this.#untold : new Past());
    return { [Symbol.dispose]: () => this.#keep(this.#untold, undefined) };
  }

  /** A subject as it was at hold(), or as it is where nothing is held; undefined: there is none of that number. */
  inForce(id: number): SubjectView | undefined {
    return this.#held === undefined ? this.view(id) : this.#viewSince(this.#held, id);
  }

  /** What inForce() tells now, whatever changes or is held from now on. As often at a time as one likes. */
  keep(): Kept {
    // Where nothing has changed since somebody else began to read, there is nothing to tell the two moments apart.
    const unchanged = () => [...this.#kept.keys()].find(({ isEmpty }) => isEmpty);
    const past = this.#held ?? unchanged() ?? new Past();
    this.#countReaders(past, 1);
    let isOver = false;
    return {
      view: (id) => this.#viewSince(past, id),
      [Symbol.dispose]: () => {
        if (!isOver) this.#countReaders(past, -1);
        isOver = true;
      },
    };
  }

  /** A subject as it is now. */
  view(id: number): SubjectView | undefined {
    const subject = this.#subjects.get(id);
    return subject && new SubjectView(subject);
  }

  addSubject(subject: Subject): void {
    this.#subjects.set(subject.id, subject);
    for (const past of this.#pasts) past.come(subject);
  }

  /** Removes the subject with all of its cells and ranges. */
  *removeSubject(subject: Subject): Steps {
    for (const lane of LANES) {
      yield* stepping(
        subject.lanes[lane.index]?.cells ?? [],
        ([peer, cell]) => {
          this.#rememberCell(subject, lane, peer, cell);
          for (const rule of cell) this.#size -= rule.ports.length;
        },
        ([, cell]) => cell.length,
      );
    }
    for (const direction of DIRECTIONS) {
      yield* stepping(subject.ranges[direction] ?? [], ({ range }) =>
        this.#countRange(subject, direction, range, -1),
      );
    }
    for (const past of this.#pasts) past.go(subject);
    this.#subjects.delete(subject.id);
  }

  /** One more (1) or one less (-1) of the policies that isolate a subject. */
  isolate(subject: Subject, policy: IsolatingPolicy, change: 1 | -1): void {
    if (policy.isolates.size === 0) return;
    for (const past of this.#pasts) past.rememberIsolating(subject, policy);
    subject.changing();
    subject.isolate(policy, change);
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
    for (const [id, past] of this.#untold) {
      const subject = this.#subjects.get(id);
      if (past !== undefined) yield* appendDifference(id, past, subject, delta);
      else if (subject !== undefined) {
        const told = { entries: delta.set, subjects: delta.subjects.set, cidrs: delta.cidrs.set };
        yield* appending(new SubjectView(subject), told);
      }
    }
    this.#keep(new Past(), this.#held);
    return delta;
  }

  /** Everything, whatever the deltas told. */
  takingSnapshot(): Steps<CompiledPolicy> {
    return compiling([...this.#subjects.values()].map((subject) => new SubjectView(subject)));
  }

  #require(entries: number): void {
    if (this.#size + entries <= this.#limit) return;
    throw new AppError('INSUFFICIENT_CAPACITY', `policies need more than ${this.#limit} entries`, {
      hint: 'raise policy_max, and restart the node',
    });
  }

  #viewSince(past: Past, id: number): SubjectView | undefined {
    const subject = past.has(id) ? past.get(id)?.subject : this.#subjects.get(id);
    return subject && new SubjectView(subject, past);
  }

  #countReaders(past: Past, change: 1 | -1): void {
    const readers = (this.#kept.get(past) ?? 0) + change;
    if (readers === 0) this.#kept.delete(past);
    else this.#kept.set(past, readers);
    this.#keep(this.#untold, this.#held);
  }

  #keep(untold: Past, held: Past | undefined): void {
    this.#untold = untold;
    this.#held = held;
    const pasts = new Set([untold, ...this.#kept.keys()]);
    if (held !== undefined) pasts.add(held);
    this.#pasts = [...pasts];
  }

  #remember(subject: Subject): void {
    for (const past of this.#pasts) past.remember(subject);
    subject.changing();
  }

  #rememberCell(subject: Subject, lane: Lane, peer: PeerKey, cell: Cell | undefined): void {
    for (const past of this.#pasts) past.rememberCell(subject, lane, peer, cell);
    subject.changing();
  }

  #countRange(subject: Subject, direction: Direction, range: Range, change: 1 | -1): void {
    this.#size += change;
    for (const past of this.#pasts) past.countRange(subject, direction, range, change);
    subject.changing();
  }
}

/** All that the maps hold of some subjects. */
export function* compiling(views: Iterable<SubjectView>): Steps<CompiledPolicy> {
  const all: CompiledPolicy = { entries: [], subjects: [], cidrs: [] };
  for (const view of views) yield* appending(view, all);
  return all;
}

function* appendDifference(
  id: number,
  before: PastSubject,
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
    yield* stepping(before.moved[direction] ?? [], ([cidr, change]) => {
      if (change !== 0) delta.cidrs[change > 0 ? 'set' : 'delete'].push({ subject: id, direction, cidr });
    });
  }
  if (subject === undefined) delta.subjects.delete.push(id);
  else if (!isSameState(before.state, stateOf(subject)))
    delta.subjects.set.push(subjectEntry(id, stateOf(subject)));
}

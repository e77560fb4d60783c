/** A subject with its rules, as it is or as it was. */

import { type Steps, stepping } from '../work/steps.js';
import { appendCell, placeAt } from './entries.js';
import { LANES, type Lane } from './lanes.js';
import type { Past, PastSubject } from './past.js';
import type { PeerKey } from './peer-key.js';
import type { Range } from './ranges.js';
import {
  type IsolatingPolicy,
  type RuleTerms,
  type Subject,
  type SubjectState,
  stateOf,
  subjectEntry,
} from './subject.js';
import { type CompiledPolicy, DIRECTIONS, type Direction } from './types.js';

/** To be read before anything else changes. */
export class SubjectView {
  readonly #subject: Subject;
  readonly #since: Past | undefined;

  /** `since`: what has changed from the moment on as which it is seen; without, as it is. */
  constructor(subject: Subject, since?: Past) {
    this.#subject = subject;
    this.#since = since;
  }

  get #past(): PastSubject | undefined {
    return this.#since?.get(this.#subject.id);
  }

  get id(): number {
    return this.#subject.id;
  }

  /** Where it is the same, so is all that it tells. */
  get version(): object {
    return this.#past?.version ?? this.#subject.version;
  }

  get state(): SubjectState {
    return this.#past?.state ?? stateOf(this.#subject);
  }

  /** Whether there may be rules of that lane. */
  hasRules({ index }: Lane): boolean {
    return this.#subject.lanes[index] !== undefined || this.#past?.cells[index] !== undefined;
  }

  /** The rules that apply to a peer, best first. */
  cell({ index }: Lane, peer: PeerKey): readonly RuleTerms[] {
    return this.#past?.cells[index]?.get(peer) ?? this.#subject.lanes[index]?.cells.get(peer) ?? [];
  }

  *cells({ index }: Lane): Iterable<[PeerKey, readonly RuleTerms[]]> {
    const changed = this.#past?.cells[index];
    for (const found of this.#subject.lanes[index]?.cells ?? [])
      if (changed?.has(found[0]) !== true) yield found;
    if (changed !== undefined) yield* changed;
  }

  /** Those that its rules name, in the order of `compareRanges`. */
  ranges(direction: Direction): readonly { readonly range: Range }[] {
    return this.#past?.ranges[direction] ?? this.#subject.ranges[direction]?.ranges ?? [];
  }

  /** The policies that isolate it. */
  *isolating(): Iterable<IsolatingPolicy> {
    const changed = this.#past?.isolating;
    for (const policy of this.#subject.isolating) if (changed?.has(policy) !== true) yield policy;
    for (const [policy, did] of changed ?? []) if (did) yield policy;
  }
}

/** As much of it as can be read, one thing after the other, whatever changes in between: see Kept. */
export type KeptView = Pick<SubjectView, 'id' | 'version' | 'state' | 'hasRules' | 'cell' | 'ranges'>;

/** What was in force at one moment, whatever has changed since. Until it is disposed of, all that changes is remembered. */
export interface Kept extends Disposable {
  /** Of an identity; undefined: it had no rules. */
  view(identity: number): KeptView | undefined;
}

/** Adds all that the maps hold of a subject. */
export function* appending(view: SubjectView, { entries, subjects, cidrs }: CompiledPolicy): Steps {
  const { id } = view;
  for (const lane of LANES) {
    yield* stepping(
      view.cells(lane),
      ([peer, cell]) => appendCell(placeAt(id, lane, peer), cell, entries),
      ([, cell]) => Math.max(1, cell.length),
    );
  }
  subjects.push(subjectEntry(id, view.state));
  for (const direction of DIRECTIONS) {
    yield* stepping(view.ranges(direction), ({ range }) =>
      cidrs.push({ subject: id, direction, cidr: range.text }),
    );
  }
}

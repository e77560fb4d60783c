/** How subjects were at some time, as far as they have changed since. */
import type { Lane } from './lanes.js';
import type { PeerKey } from './peer-key.js';
import type { Range } from './ranges.js';
import {
  type Cell,
  type IsolatingPolicy,
  type RuleTerms,
  type Subject,
  type SubjectState,
  stateOf,
} from './subject.js';
import type { Direction } from './types.js';

export interface PastSubject {
  /** As it is now where nothing here says otherwise; not changed any more where another has taken its place. */
  readonly subject: Subject;
  readonly version: object;
  readonly state: SubjectState;
  /** By Lane.index: the cells that changed since; missing where none did. */
  readonly cells: (Map<PeerKey, readonly RuleTerms[]> | undefined)[];
  readonly ranges: Readonly<Record<Direction, readonly { readonly range: Range }[]>>;
  /** Ranges that have come (1), gone (-1), or both (0); missing where none did. */
  readonly moved: Partial<Record<Direction, Map<string, number>>>;
  /** Whether a policy isolated it, of those that have come to do so or ceased to. */
  readonly isolating: Map<IsolatingPolicy, boolean>;
}

export class Past implements Iterable<[number, PastSubject | undefined]> {
  /** Undefined: it was not there. */
  readonly #subjects = new Map<number, PastSubject | undefined>();

  get isEmpty(): boolean {
    return this.#subjects.size === 0;
  }

  [Symbol.iterator](): Iterator<[number, PastSubject | undefined]> {
    return this.#subjects.entries();
  }

  /** Whether anything of the subject has changed, or is about to. */
  has(id: number): boolean {
    return this.#subjects.has(id);
  }

  get(id: number): PastSubject | undefined {
    return this.#subjects.get(id);
  }

  /** A subject comes. What is remembered of one that has gone stays. */
  come({ id }: Subject): void {
    if (!this.#subjects.has(id)) this.#subjects.set(id, undefined);
  }

  /** A subject has gone: of one that came since there is nothing to remember. */
  go(subject: Subject): void {
    if (this.remember(subject) === undefined) this.#subjects.delete(subject.id);
  }

  /** Before anything of a subject changes. */
  remember(subject: Subject): PastSubject | undefined {
    const { id, ranges } = subject;
    if (this.#subjects.has(id)) return this.#subjects.get(id);
    const past: PastSubject = {
      subject,
      version: subject.version,
      state: stateOf(subject),
      cells: [],
      ranges: { egress: ranges.egress?.ranges ?? [], ingress: ranges.ingress?.ranges ?? [] },
      moved: {},
      isolating: new Map(),
    };
    this.#subjects.set(id, past);
    return past;
  }

  rememberCell(subject: Subject, { index }: Lane, peer: PeerKey, cell: Cell | undefined): void {
    const past = this.remember(subject);
    if (past === undefined) return;
    const cells = past.cells[index] ?? new Map<PeerKey, readonly RuleTerms[]>();
    past.cells[index] = cells;
    if (!cells.has(peer)) cells.set(peer, cell === undefined ? [] : [...cell]);
  }

  rememberIsolating(subject: Subject, policy: IsolatingPolicy): void {
    const past = this.remember(subject);
    if (past?.subject !== subject || past.isolating.has(policy)) return;
    past.isolating.set(policy, subject.isolating.has(policy));
  }

  countRange(subject: Subject, direction: Direction, { text }: Range, change: 1 | -1): void {
    const past = this.remember(subject);
    if (past === undefined) return;
    const ranges = past.moved[direction] ?? new Map<string, number>();
    past.moved[direction] = ranges.set(text, (ranges.get(text) ?? 0) + change);
  }
}

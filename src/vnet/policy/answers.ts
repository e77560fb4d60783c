/** Answers about subjects, remembered until their rules change. */
import type { KeptView } from '../../firewall/subject-view.js';

/** Answers that are remembered at most: 350 bytes each where every one is about another subject. */
const ANSWERS_MAX = 50_000;

type Subject = Pick<KeptView, 'id' | 'version'>;

interface Known {
  readonly version: object;
  readonly answers: Map<string, boolean>;
}

export class Answers {
  /** By identity. */
  private readonly subjects = new Map<number, Known>();
  private size = 0;

  constructor(private readonly max = ANSWERS_MAX) {}

  /** Undefined: it is not known of that version of the subject. */
  get({ id, version }: Subject, question: string): boolean | undefined {
    const known = this.subjects.get(id);
    return known?.version === version ? known.answers.get(question) : undefined;
  }

  /** Whoever was asked about first is forgotten where there are too many. */
  set({ id, version }: Subject, question: string, answer: boolean): void {
    const { answers } = this.known(id, version);
    const before = answers.size;
    this.size += answers.set(question, answer).size - before;
    for (const oldest of this.subjects.keys()) {
      if (this.size <= this.max) break;
      this.forget(oldest);
    }
  }

  private known(id: number, version: object): Known {
    const known = this.subjects.get(id);
    if (known?.version === version) return known;
    this.forget(id);
    const made: Known = { version, answers: new Map() };
    this.subjects.set(id, made);
    return made;
  }

  private forget(id: number): void {
    this.size -= this.subjects.get(id)?.answers.size ?? 0;
    this.subjects.delete(id);
  }
}

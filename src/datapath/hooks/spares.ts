/**
 * Second copies of programs. The kernel takes a program once at each place, and its links cannot move: who is to go before
 * others without being off for a moment needs another copy to stand there meanwhile. Loaded when they are first asked for.
 */
import { AppError } from '../../model/errors.js';
import type { BpfProgram } from '../../native/bpf.js';
import { KernelError } from '../../native/errors.js';
import type { LinkedProgram } from './repair-ledger.js';

export class Spares<Name extends LinkedProgram = LinkedProgram> implements Disposable {
  private readonly loaded = new Map<LinkedProgram, BpfProgram>();
  private readonly wanted = new Set<Name>();
  private failures: string[] = [];

  constructor(private readonly loader: (name: Name) => Promise<BpfProgram>) {}

  /** Undefined: it is not loaded, and is with the next load(). */
  get(name: Name): BpfProgram | undefined {
    const program = this.loaded.get(name);
    if (program === undefined) this.wanted.add(name);
    return program;
  }

  /** Loads what was asked for; whether there are others now. What does not load is asked for again by whoever needs it. */
  async load(): Promise<boolean> {
    const before = this.loaded.size;
    this.failures = [];
    for (const name of [...this.wanted]) {
      this.wanted.delete(name);
      try {
        this.loaded.set(name, await this.loader(name));
      } catch (error) {
        if (!(error instanceof AppError || error instanceof KernelError)) throw error;
        this.failures.push(`a second ${name} cannot be loaded: ${error.message}`);
      }
    }
    return this.loaded.size > before;
  }

  /** What the last load() could not load, a sentence each. */
  problems(): string[] {
    return [...this.failures];
  }

  [Symbol.dispose](): void {
    for (const program of this.loaded.values()) program.close();
    this.loaded.clear();
  }
}

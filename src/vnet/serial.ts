/** Runs changes of the node one after another: each sees everything that the one before it did. */
export class Serial {
  private tail: Promise<unknown>;

  /** Nothing runs before `ready`, and nothing at all where that is rejected: who asks is told why. */
  constructor(private readonly ready: Promise<void> = Promise.resolve()) {
    this.tail = ready.catch(() => undefined);
  }

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.tail.then(() => this.ready).then(task);
    this.tail = result.catch(() => undefined);
    return result;
  }

  /** Resolves when everything that was asked for before is done. */
  async idle(): Promise<void> {
    await this.tail;
  }
}

/** Steps of a change that can be taken back, last first, when a later one fails. */
export class Rollback {
  private readonly steps: (() => void | Promise<void>)[] = [];

  /** Remembers how to take back what was just done. It must be fine to take back what is gone already. */
  add(undo: () => void | Promise<void>): void {
    this.steps.push(undo);
  }

  /** Takes everything back, also when some of it fails; returns those failures. */
  async run(): Promise<unknown[]> {
    const failures: unknown[] = [];
    for (const undo of this.steps.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }
}

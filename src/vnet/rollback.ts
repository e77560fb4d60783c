type Step = () => unknown;

/** Takes each step, also when others fail; returns those failures. What it is all about is the error before. */
export async function takeBack(...steps: readonly Step[]): Promise<unknown[]> {
  const failures: unknown[] = [];
  for (const undo of steps) {
    try {
      await undo();
    } catch (error) {
      failures.push(error);
    }
  }
  return failures;
}

/** Steps of a change that can be taken back, last first, when a later one fails. */
export class Rollback {
  private readonly steps: Step[] = [];

  /** Remembers how to take back what was just done. It must be fine to take back what is gone already. */
  add(undo: () => void | Promise<void>): void {
    this.steps.push(undo);
  }

  /** Takes everything back, also when some of it fails; returns those failures. */
  run(): Promise<unknown[]> {
    return takeBack(...this.steps.splice(0).reverse());
  }
}

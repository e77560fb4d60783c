/** Taking back what a change has done before it failed. */

/** Told of what could not be taken back, and why: it is left as it is. */
export type OnLeft = (error: unknown, what: string) => void;

interface Step {
  /** What is left when it fails, for whoever reads the log. */
  readonly what: string;
  readonly undo: () => unknown;
}

/** Steps of a change that can be taken back, last first, when a later one fails. What it is all about is that failure. */
export class Rollback {
  private readonly steps: Step[] = [];

  constructor(private readonly onLeft: OnLeft) {}

  /** Remembers how to take back what was just done. It must be fine to take back what is gone already. */
  add(what: string, undo: () => unknown): void {
    this.steps.push({ what, undo });
  }

  /** Takes everything back, also when some of it fails. Never throws. */
  async run(): Promise<void> {
    for (const { what, undo } of this.steps.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        this.onLeft(error, what);
      }
    }
  }
}

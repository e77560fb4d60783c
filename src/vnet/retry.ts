/** Does again by itself what has failed, after a while that grows, until it is done. */

/** How long it waits the first time, and at most, milliseconds. */
const FIRST_MS = 1000;
const MOST_MS = 60_000;

export class Retry {
  private timer: NodeJS.Timeout | undefined;
  private delay = FIRST_MS;
  private isStopped = false;

  constructor(
    private readonly task: () => Promise<void>,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** Something has failed that the task does. Where it is to be done anyway, nothing changes. */
  start(): void {
    if (this.isStopped || this.timer !== undefined) return;
    this.timer = setTimeout(() => void this.run(), this.delay).unref();
    this.delay = Math.min(2 * this.delay, MOST_MS);
  }

  /** For good. What is under way comes to its end. */
  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
  }

  private async run(): Promise<void> {
    this.timer = undefined;
    try {
      await this.task();
      this.delay = FIRST_MS;
    } catch (error) {
      this.onError(error);
      this.start();
    }
  }
}

/** What is looked after at intervals. What one part cannot do keeps the others from nothing. */
export class Upkeep {
  private timer: NodeJS.Timeout | undefined;
  private soon: NodeJS.Timeout | undefined;
  /** When that is, of performance.now(). */
  private soonAt = 0;
  private isStopped = false;
  private isUnderWay = false;
  private isAskedAgain = false;
  private underWay: Promise<void> = Promise.resolve();

  constructor(
    private readonly parts: readonly (() => unknown)[],
    private readonly onError: (error: unknown) => void,
  ) {}

  start(intervalMs: number): void {
    this.timer = setInterval(() => void this.run(), intervalMs).unref();
  }

  /**
   * Once, that much later or after what is under way then: for whatever else is asked for until then, too. Who asks for it
   * sooner has it sooner.
   */
  request(delayMs: number): void {
    const at = performance.now() + delayMs;
    if (this.soon !== undefined && this.soonAt <= at) return;
    clearTimeout(this.soon);
    this.soonAt = at;
    this.soon = setTimeout(() => {
      this.soon = undefined;
      this.isAskedAgain = this.isUnderWay;
      void this.run();
    }, delayMs).unref();
  }

  /** For good: no part begins any more. Resolves when the one that is under way has ended. */
  async stop(): Promise<void> {
    this.isStopped = true;
    clearInterval(this.timer);
    clearTimeout(this.soon);
    this.soon = undefined;
    this.isAskedAgain = false;
    await this.underWay;
  }

  /** Every part in turn. Nothing while that is under way: what waits behind a long change must not pile up. */
  async run(): Promise<void> {
    if (this.isUnderWay) return;
    this.isUnderWay = true;
    this.underWay = this.runParts();
    await this.underWay;
    this.isUnderWay = false;
    if (!this.isAskedAgain) return;
    this.isAskedAgain = false;
    await this.run();
  }

  private async runParts(): Promise<void> {
    for (const part of this.parts) {
      if (this.isStopped) return;
      try {
        await part();
      } catch (error) {
        this.onError(error);
      }
    }
  }
}

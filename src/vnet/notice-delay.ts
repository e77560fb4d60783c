/**
 * How long notices of changed filters wait for those that come with them. Whoever removes ours in a loop must not drive a
 * look at all endpoints twice a second: each look that had to put something back makes the next notice wait twice as long,
 * as long as the looks at intervals take at most. What a look itself changes is noticed too, and asks for no more than one.
 */

/** Each endpoint that is made or removed is several. */
const SETTLE_MS = 500;
const CALM_MS = 60_000;

export class NoticeDelay {
  private delay = SETTLE_MS;
  private repairedAt = Number.NEGATIVE_INFINITY;

  /** `now`: milliseconds, of a clock that nobody sets. */
  constructor(
    private readonly longestMs: number,
    private readonly now = () => performance.now(),
  ) {}

  get ms(): number {
    return this.now() - this.repairedAt >= CALM_MS ? SETTLE_MS : this.delay;
  }

  /** A look had to put something back. */
  repaired(): void {
    this.delay = Math.min(2 * this.ms, this.longestMs);
    this.repairedAt = this.now();
  }
}

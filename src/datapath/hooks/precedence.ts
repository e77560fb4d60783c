/**
 * Where programs of others run before ours. What stands there can pass, change or take what ours has not judged, so we go
 * to the front again; but whoever comes back each time is not fought for ever at the rate of our looks.
 */
import type { LinkedProgram, Predecessor } from './repair-ledger.js';

/** One of our programs that is not the first at its place. */
export interface Preceded {
  /** As in a Repair. */
  pin: string;
  program: LinkedProgram;
  by: Predecessor[];
}

/** After the second time in a row; it doubles with each one more. */
const FIRST_PAUSE_MS = 10_000;
const LONGEST_PAUSE_MS = 300_000;
/** Who has been in front for that long is not in a contest any more. */
const CALM_MS = 2 * LONGEST_PAUSE_MS;

interface Contest {
  /** In a row. */
  moves: number;
  movedAt: number;
}

export class Precedence {
  private readonly contests = new Map<string, Contest>();
  private readonly behind = new Map<string, Preceded>();

  /** `now`: milliseconds, of a clock that nobody sets. */
  constructor(private readonly now = () => performance.now()) {}

  /** Whether to go to the front now. */
  mayMove(pin: string): boolean {
    const contest = this.contests.get(pin);
    return contest === undefined || this.now() - contest.movedAt >= pauseAfter(contest.moves);
  }

  /** Others are not before it any more, by our doing. */
  moved(pin: string): void {
    const now = this.now();
    const last = this.contests.get(pin);
    const isCalm = last === undefined || now - last.movedAt >= CALM_MS;
    this.contests.set(pin, { moves: isCalm ? 1 : last.moves + 1, movedAt: now });
    this.behind.delete(pin);
  }

  /** Nobody is before it. */
  isFirst(pin: string): void {
    this.behind.delete(pin);
  }

  isBehind(preceded: Preceded): void {
    this.behind.set(preceded.pin, preceded);
  }

  /** It is taken off. */
  forget(pin: string): void {
    this.behind.delete(pin);
    this.contests.delete(pin);
  }

  /** Those that are not first by the last look at each. */
  list(): Preceded[] {
    return [...this.behind.values()];
  }
}

function pauseAfter(moves: number): number {
  return moves < 2 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (moves - 2), LONGEST_PAUSE_MS);
}

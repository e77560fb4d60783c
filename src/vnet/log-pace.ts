/** How often lines of the log come that would come with each look, and how long they may be. */
import { PRECEDED_TOLD } from '../model/health.js';

const INTERVAL_MS = 60_000;
/** Lines of events at once: what happens once is told at once. */
const BURST = 5;

/** Of a state: told when it is another than was told last, and that at most once a minute. */
export class StatePace {
  private told = '';
  private toldAt = Number.NEGATIVE_INFINITY;

  /** `now`: milliseconds, of a clock that nobody sets. */
  constructor(private readonly now = () => performance.now()) {}

  /** `state`: what of it counts; empty: there is nothing to tell. */
  isDue(state: string): boolean {
    if (state === '') this.told = '';
    if (state === this.told || this.now() - this.toldAt < INTERVAL_MS) return false;
    this.told = state;
    this.toldAt = this.now();
    return true;
  }
}

/** Of events: the first ones of a minute are told at once, what comes then together. */
export class EventPace<Event> {
  private readonly waiting = new Map<string, Event>();
  private lines = 0;
  private since = Number.NEGATIVE_INFINITY;

  constructor(private readonly now = () => performance.now()) {}

  /** What is to be told now, of each key the last. */
  due(events: readonly (readonly [key: string, event: Event])[]): Event[] {
    for (const [key, event] of events) this.waiting.set(key, event);
    if (this.now() - this.since >= INTERVAL_MS) {
      this.since = this.now();
      this.lines = 0;
    }
    if (this.waiting.size === 0 || this.lines >= BURST) return [];
    this.lines++;
    const due = [...this.waiting.values()];
    this.waiting.clear();
    return due;
  }
}

/** Fields of a line: the first of the list, and how many more there are. */
export function bounded<Name extends string>(name: Name, list: readonly unknown[]): Record<string, unknown> {
  const more = list.length - PRECEDED_TOLD;
  return { [name]: list.slice(0, PRECEDED_TOLD), ...(more > 0 ? { more } : {}) };
}

/** 1, 10, 100, …: a count that grows a little says nothing new. */
export function magnitude(count: number): number {
  return count === 0 ? 0 : 10 ** Math.floor(Math.log10(count));
}

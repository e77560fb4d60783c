/** Tells of programs and pins that somebody has taken away, or put others before, while the daemon ran. */
import type { LinkPins } from '../datapath/hooks/link-pins.js';
import type { Precedence } from '../datapath/hooks/precedence.js';
import type { Loss, Repair, RepairLedger } from '../datapath/hooks/repair-ledger.js';
import type { Spares } from '../datapath/hooks/spares.js';
import { bounded, EventPace, magnitude, StatePace } from './log-pace.js';

/** Of pins in a file system that is mounted for the daemon alone. */
const PRIVATE =
  ', but only where the daemon sees them, and they end with it. Do not restart it before the BPF file system is mounted on the' +
  " node again, the daemon's own is unmounted, and pins are there (ARCHITECTURE.md, When links or pins are taken away)";

export interface RepairsParts {
  links: Pick<LinkPins, 'problems' | 'isPrivate'>;
  repairs: Pick<RepairLedger, 'take' | 'recurring'>;
  precedence: Pick<Precedence, 'list'>;
  spares: Pick<Spares, 'problems'>;
  log: Record<'warn' | 'error', (fields: object, message: string) => void>;
  /** Milliseconds, of a clock that nobody sets. */
  now?: () => number;
}

export class Repairs {
  private told = '';
  private ofEndpoints: readonly string[] = [];
  private readonly taken: EventPace<string>;
  private readonly unpinned: EventPace<string>;
  private readonly moved: EventPace<Pick<Repair, 'pin' | 'by'>>;
  private readonly preceded: StatePace;

  constructor(private readonly parts: RepairsParts) {
    const { now } = parts;
    this.taken = new EventPace(now);
    this.unpinned = new EventPace(now);
    this.moved = new EventPace(now);
    this.preceded = new StatePace(now);
  }

  /** What could not be put back by the last look, or is taken off again and again, a sentence each. */
  problems(): string[] {
    const recurring = this.parts.repairs
      .recurring()
      .map(({ pin, times }) => `${pin} is taken off again and again: it was put back ${times} times`);
    return [...this.unmended(), ...recurring];
  }

  /**
   * After each look at everything that is pinned; `ofEndpoints`: what that look could not put back there. Whether there was
   * something to put back.
   */
  tell(ofEndpoints: readonly string[]): boolean {
    this.ofEndpoints = ofEndpoints;
    const repairs = this.parts.repairs.take();
    this.tellOfRepairs(repairs);
    this.tellOfPreceded();
    const problems = this.unmended();
    const text = problems.join('\n');
    if (problems.length > 0 && text !== this.told)
      this.parts.log.error(
        bounded('problems', problems),
        'programs or pins that were taken away could not be put back',
      );
    this.told = text;
    return repairs.length > 0;
  }

  /** What could not be put back. */
  private unmended(): string[] {
    const { links, spares } = this.parts;
    return [...this.ofEndpoints, ...links.problems(), ...spares.problems()];
  }

  private tellOfRepairs(repairs: readonly Repair[]): void {
    const { links, log } = this.parts;
    const pinsOf = (...losses: Loss[]) =>
      repairs.filter(({ lost }) => losses.includes(lost)).map(({ pin }) => [pin, pin] as const);
    const taken = this.taken.due(pinsOf('link', 'program'));
    // What they are to drop could pass meanwhile.
    if (taken.length > 0) log.error(bounded('pins', taken), 'programs were taken off: they are there again');
    const unpinned = this.unpinned.due(pinsOf('pin'));
    if (unpinned.length > 0) {
      const isPrivate = links.isPrivate();
      log.warn(
        bounded('pins', unpinned),
        `pins were taken away: they are there again${isPrivate ? PRIVATE : ''}`,
      );
    }
    const moved = this.moved.due(
      repairs.filter(({ lost }) => lost === 'position').map((repair) => [repair.pin, repair]),
    );
    if (moved.length > 0)
      log.error(
        bounded(
          'programs',
          moved.map(({ pin, by }) => ({ pin, in_front: by })),
        ),
        'programs of others had been put before ours: ours are first again',
      );
  }

  private tellOfPreceded(): void {
    const preceded = this.parts.precedence.list().map(({ pin, by }) => ({ pin, in_front: by }));
    const names = [...new Set(preceded.flatMap(({ in_front }) => in_front.map(({ name }) => name)))].sort();
    const state = preceded.length === 0 ? '' : JSON.stringify([magnitude(preceded.length), names]);
    if (this.preceded.isDue(state))
      this.parts.log.error(
        bounded('programs', preceded),
        'programs of others run before ours, and can pass what ours would drop',
      );
  }
}

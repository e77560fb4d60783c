/** Tells of programs and pins that somebody has taken away while the daemon ran. */
import type { LinkPins } from '../datapath/link-pins.js';

export interface RepairsParts {
  links: Pick<LinkPins, 'takeRepairs'>;
  log: Record<'warn' | 'error', (fields: object, message: string) => void>;
}

export class Repairs {
  private told = '';

  constructor(private readonly parts: RepairsParts) {}

  /** After each look at everything that is pinned; `problems`: what that look could not put back. */
  tell(problems: readonly string[]): void {
    const { links, log } = this.parts;
    const repairs = links.takeRepairs();
    const pinsOf = (isUnpinned: boolean) =>
      repairs.filter(({ lost }) => (lost === 'pin') === isUnpinned).map(({ pin }) => pin);
    const [lost, unpinned] = [pinsOf(false), pinsOf(true)];
    // What they are to drop could pass meanwhile.
    if (lost.length > 0) log.error({ pins: lost }, 'programs were taken off: they are there again');
    if (unpinned.length > 0) log.warn({ pins: unpinned }, 'pins were taken away: they are there again');
    // Once, not at each attempt.
    const text = problems.join('\n');
    if (problems.length > 0 && text !== this.told)
      log.error({ problems }, 'programs that were taken off could not be put back');
    this.told = text;
  }
}

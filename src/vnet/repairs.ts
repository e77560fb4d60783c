/** Tells of programs and pins that somebody has taken away while the daemon ran. */
import type { LinkPins } from '../datapath/link-pins.js';

/** Of pins in a file system that is mounted for the daemon alone. */
const PRIVATE =
  ', but only where the daemon sees them, and they end with it. Do not restart it before the BPF file system is mounted on the' +
  " node again, the daemon's own is unmounted, and pins are there (ARCHITECTURE.md, When links or pins are taken away)";

export interface RepairsParts {
  links: Pick<LinkPins, 'takeRepairs' | 'problems' | 'isPrivate'>;
  log: Record<'warn' | 'error', (fields: object, message: string) => void>;
}

export class Repairs {
  private told = '';

  constructor(private readonly parts: RepairsParts) {}

  /** After each look at everything that is pinned; `ofEndpoints`: what that look could not put back there. */
  tell(ofEndpoints: readonly string[]): void {
    const { links, log } = this.parts;
    const problems = [...ofEndpoints, ...links.problems()];
    const repairs = links.takeRepairs();
    const pinsOf = (isUnpinned: boolean) =>
      repairs.filter(({ lost }) => (lost === 'pin') === isUnpinned).map(({ pin }) => pin);
    const [lost, unpinned] = [pinsOf(false), pinsOf(true)];
    // What they are to drop could pass meanwhile.
    if (lost.length > 0) log.error({ pins: lost }, 'programs were taken off: they are there again');
    if (unpinned.length > 0) {
      const isPrivate = links.isPrivate();
      log.warn({ pins: unpinned }, `pins were taken away: they are there again${isPrivate ? PRIVATE : ''}`);
    }
    // Once, not at each attempt.
    const text = problems.join('\n');
    if (problems.length > 0 && text !== this.told)
      log.error({ problems }, 'programs or pins that were taken away could not be put back');
    this.told = text;
  }
}

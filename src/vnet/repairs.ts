/** Tells of programs and pins that somebody has taken away, or put others before, while the daemon ran. */
import type { LinkPins } from '../datapath/link-pins.js';
import type { Precedence } from '../datapath/precedence.js';
import type { Loss, RepairLedger } from '../datapath/repair-ledger.js';
import type { Spares } from '../datapath/spares.js';

/** Of pins in a file system that is mounted for the daemon alone. */
const PRIVATE =
  ', but only where the daemon sees them, and they end with it. Do not restart it before the BPF file system is mounted on the' +
  " node again, the daemon's own is unmounted, and pins are there (ARCHITECTURE.md, When links or pins are taken away)";

export interface RepairsParts {
  links: Pick<LinkPins, 'problems' | 'isPrivate'>;
  repairs: Pick<RepairLedger, 'take'>;
  precedence: Pick<Precedence, 'list'>;
  spares: Pick<Spares, 'problems'>;
  log: Record<'warn' | 'error', (fields: object, message: string) => void>;
}

export class Repairs {
  private told = '';
  private toldOfPreceded = '';

  constructor(private readonly parts: RepairsParts) {}

  /** After each look at everything that is pinned; `ofEndpoints`: what that look could not put back there. */
  tell(ofEndpoints: readonly string[]): void {
    const { links, precedence, spares, log } = this.parts;
    const problems = [...ofEndpoints, ...links.problems(), ...spares.problems()];
    const repairs = this.parts.repairs.take();
    const pinsOf = (...losses: Loss[]) =>
      repairs.filter(({ lost }) => losses.includes(lost)).map(({ pin }) => pin);
    const [lost, unpinned] = [pinsOf('link', 'program'), pinsOf('pin')];
    // What they are to drop could pass meanwhile.
    if (lost.length > 0) log.error({ pins: lost }, 'programs were taken off: they are there again');
    if (unpinned.length > 0) {
      const isPrivate = links.isPrivate();
      log.warn({ pins: unpinned }, `pins were taken away: they are there again${isPrivate ? PRIVATE : ''}`);
    }
    const moved = repairs.filter(({ lost: what }) => what === 'position');
    if (moved.length > 0) {
      const programs = moved.map(({ pin, by }) => ({ pin, in_front: by }));
      log.error({ programs }, 'programs of others had been put before ours: ours are first again');
    }
    // Once, not at each attempt.
    const preceded = precedence.list().map(({ pin, by }) => ({ pin, in_front: by }));
    const precededText = JSON.stringify(preceded);
    if (preceded.length > 0 && precededText !== this.toldOfPreceded)
      log.error(
        { programs: preceded },
        'programs of others run before ours, and can pass what ours would drop',
      );
    this.toldOfPreceded = precededText;
    const text = problems.join('\n');
    if (problems.length > 0 && text !== this.told)
      log.error({ problems }, 'programs or pins that were taken away could not be put back');
    this.told = text;
  }
}

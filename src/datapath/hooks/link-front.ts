/** Puts links before those of others at their hooks. */
import type { BpfLink, BpfProgram } from '../../native/bpf.js';
import { expediteGracePeriods } from '../../native/rcu.js';
import { predecessors } from './link-place.js';
import type { PinDirectory } from './pin-directory.js';
import type { Precedence } from './precedence.js';
import type { LinkedProgram, Predecessor } from './repair-ledger.js';
import type { Inside, WantedLink } from './wanted-link.js';

export class LinkFront {
  /** Why links could not be put first, by name. */
  private readonly failures = new Map<string, string>();

  constructor(
    private readonly pins: PinDirectory,
    private readonly precedence: Precedence,
    /** A second copy of the program; undefined: it is not there yet. */
    private readonly spare: (name: LinkedProgram) => BpfProgram | undefined,
  ) {}

  /**
   * Puts the program before those of others that are before it, by another link under the name of this one. Until that is
   * there and pinned, this one goes on: a packet may meet both for as long as the kernel takes to end it, none meets neither.
   * Undefined: `link` stays, since nobody is before it or we cannot be first now, which precedence and problems() then tell.
   */
  move(
    pin: string,
    link: BpfLink,
    { name, program, attach }: WantedLink,
    inside: Inside,
  ): { link: BpfLink; by: Predecessor[] } | undefined {
    let next: BpfLink | undefined;
    let by: Predecessor[];
    let spare: BpfProgram | undefined;
    try {
      by = inside(() => predecessors(link.info()));
      if (by.length === 0) {
        this.isFirst(pin);
        return undefined;
      }
      this.precedence.isBehind({ pin, program: name, by });
      spare = this.precedence.mayMove(pin) ? this.spare(name) : undefined;
    } catch (error) {
      this.failed(pin, error);
      return undefined;
    }
    if (spare === undefined) return undefined;
    using _ = expediteGracePeriods();
    try {
      this.pins.endDraft(pin);
      next = attach(spare);
      this.pins.replace(pin, next);
    } catch (error) {
      next?.detach();
      next?.close();
      this.pins.endDraft(pin);
      this.failed(pin, error);
      return undefined;
    }
    link.detach();
    next.update(program);
    this.failures.delete(pin);
    this.precedence.moved(pin);
    return { link: next, by };
  }

  /** Nobody is before it. */
  isFirst(pin: string): void {
    this.failures.delete(pin);
    this.precedence.isFirst(pin);
  }

  /** Others are. Whether ours is to wait before it goes first again, which is told of meanwhile. */
  waits(pin: string, program: LinkedProgram, by: () => Predecessor[]): boolean {
    if (this.precedence.mayMove(pin)) return false;
    this.precedence.isBehind({ pin, program, by: by() });
    return true;
  }

  /** It is taken off. */
  forget(pin: string): void {
    this.failures.delete(pin);
    this.precedence.forget(pin);
  }

  /** A sentence each. */
  problems(): string[] {
    return [...this.failures.values()];
  }

  private failed(pin: string, error: unknown): void {
    this.failures.set(pin, `${pin} cannot be first: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * Filters of clsact, for kernels without TCX: first at their hooks, put back when somebody has taken them away. They have no
 * pins, and live with the interface.
 */

import { AppError } from '../../model/errors.js';
import {
  attachClsact,
  type BpfProgram,
  type ClsactEntry,
  clsactLine,
  DEFAULT_HANDLE,
  type Direction,
  detachClsact,
  ensureClsact,
  replaceIngress,
} from '../../native/bpf.js';
import { KernelError } from '../../native/errors.js';
import { Precedence } from './precedence.js';
import {
  type LinkedProgram,
  type Loss,
  type Predecessor,
  predecessorsOf,
  RepairLedger,
} from './repair-ledger.js';

/** Of our filter while another is to take its place: one is always there. */
const DRAFT_HANDLE = DEFAULT_HANDLE + 1;

const DIRECTIONS = ['ingress', 'egress'] as const;

export interface Hook {
  ifindex: number;
  direction: Direction;
}

export interface WantedFilter extends Hook {
  name: LinkedProgram;
  program: BpfProgram;
}

export class ClsactFilters {
  /** Ids of the programs that this daemon has put at hooks, by the name of the filter. */
  private readonly known = new Map<string, number>();

  constructor(
    private readonly ledger = new RepairLedger(),
    private readonly precedence = new Precedence(),
  ) {}

  /**
   * Makes sure that the interface has a hook for egress: `ingress` in the place of clsact has none, filters for it land
   * among those of the other, and is replaced, with all its filters. Throws INTERNAL when it is there again at once.
   */
  requireBothHooks(ifindex: number): void {
    const [one, other] = DIRECTIONS.map((direction) => clsactLine(ifindex, direction));
    const hasBoth = one?.length !== 0 && other?.length !== 0;
    // Of `ingress` both are the same line. To ask what it is takes longer the more interfaces there are.
    if (hasBoth && JSON.stringify(one) !== JSON.stringify(other)) return;
    if (ensureClsact(ifindex) !== 'ingress') return;
    if (replaceIngress(ifindex) === 'ingress')
      throw new AppError('INTERNAL', `"ingress" is again in the place of clsact on interface ${ifindex}`);
  }

  /**
   * Makes sure that the program is at the hook, before all others; takes over what an earlier daemon left. What was
   * missing, if anything: after `link` it had to be attached. Throws INTERNAL when it is not there then.
   */
  keep({ name, program, ...hook }: WantedFilter): Loss | undefined {
    const pin = nameOf(hook);
    const { id } = program.info();
    const line = clsactLine(hook.ifindex, hook.direction);
    const own = line.find(isOwn);
    const lost = own === undefined ? 'link' : own.programId === id ? undefined : 'program';
    if (lost !== undefined) attachClsact({ program, ...hook });
    // An earlier daemon may have ended while it moved.
    if (line.some(isDraft)) detachClsact({ ...hook, handle: DRAFT_HANDLE });
    const wasKnown = this.known.has(pin);
    this.known.set(pin, id);
    const tell = (what: Loss, by?: Predecessor[]) => {
      const repair = { pin, program: name, lost: what };
      if (wasKnown) this.ledger.add(by === undefined ? repair : { ...repair, by });
    };
    if (lost !== undefined) {
      requireThere(hook, id);
      tell(lost);
    }
    // A new one is put before those that are there.
    const others = own === undefined ? [] : line.slice(0, line.indexOf(own)).filter((one) => !isDraft(one));
    const by = predecessorsOf(others.map(({ programId }) => programId));
    if (by.length === 0) this.precedence.isFirst(pin);
    else if (this.precedence.mayMove(pin)) {
      toFront(program, hook);
      this.precedence.moved(pin);
      tell('position', by);
    } else this.precedence.isBehind({ pin, program: name, by });
    return lost;
  }

  /** Whether what keep() has put there is so still, and is first. */
  isIntact(hook: Hook): boolean {
    const [first] = clsactLine(hook.ifindex, hook.direction);
    return first !== undefined && isOwn(first) && first.programId === this.known.get(nameOf(hook));
  }

  /** Nothing there is fine. */
  remove(hook: Hook): void {
    const pin = nameOf(hook);
    this.known.delete(pin);
    this.precedence.forget(pin);
    for (const handle of [DRAFT_HANDLE, DEFAULT_HANDLE]) {
      try {
        detachClsact({ ...hook, handle });
      } catch (error) {
        // The filter goes with its interface.
        if (!(error instanceof KernelError && (error.code === 'ENOENT' || error.code === 'ENODEV')))
          throw error;
      }
    }
  }

  /** Of an interface that is gone, and whose number another may get. */
  forget(ifindex: number): void {
    for (const direction of DIRECTIONS) {
      const pin = nameOf({ ifindex, direction });
      this.known.delete(pin);
      this.precedence.forget(pin);
    }
  }
}

function requireThere(hook: Hook, id: number): void {
  const line = clsactLine(hook.ifindex, hook.direction);
  if (line.some((one) => isOwn(one) && one.programId === id)) return;
  throw new AppError('INTERNAL', `the filter ${nameOf(hook)} was put there, and is not there`);
}

/** A new filter comes before those of its priority, and lower priorities there are none: each step leaves one of ours. */
function toFront(program: BpfProgram, hook: Hook): void {
  attachClsact({ program, ...hook, handle: DRAFT_HANDLE });
  detachClsact(hook);
  attachClsact({ program, ...hook });
  detachClsact({ ...hook, handle: DRAFT_HANDLE });
}

function nameOf({ ifindex, direction }: Hook): string {
  return `clsact-${direction}-${ifindex}`;
}

function isOwn({ handle, priority }: ClsactEntry): boolean {
  return priority === 1 && handle === DEFAULT_HANDLE;
}

function isDraft({ handle, priority }: ClsactEntry): boolean {
  return priority === 1 && handle === DRAFT_HANDLE;
}

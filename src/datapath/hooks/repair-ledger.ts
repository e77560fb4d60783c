/** What was lost of programs while the daemon ran, and was put back: told of once, and counted. */

import { programName } from '../../native/bpf.js';
import { KernelError } from '../../native/errors.js';

/** By which what was lost is told and counted; all hooks of sockets are one. */
export const LINKED_PROGRAMS = [
  'from_container',
  'to_container',
  'leave_container',
  'from_uplink',
  'uplink_xdp',
  'node_connect',
] as const;
export type LinkedProgram = (typeof LINKED_PROGRAMS)[number];

/**
 * `pin`: that alone, and the program went on; `position`: the program went on, behind one of somebody else; `program`: the
 * link or filter has had another; `link`: there was none, or no filter, and no program.
 */
export const LOSSES = ['pin', 'position', 'program', 'link'] as const;
export type Loss = (typeof LOSSES)[number];

export interface Repair {
  /** Name of the pin; of a filter, which has none, where it is: `clsact-ingress-<ifindex>`. */
  pin: string;
  program: LinkedProgram;
  lost: Loss;
  /** Of a position: who had it. */
  by?: Predecessor[];
}

/** A program of somebody else; without a name: it could not be asked for. */
export interface Predecessor {
  id: number;
  name: string;
}

/** Programs by their ids. */
export function predecessorsOf(ids: readonly number[]): Predecessor[] {
  return ids.map((id) => ({ id, name: nameOf(id) }));
}

function nameOf(id: number): string {
  try {
    return id === 0 ? '' : (programName(id) ?? '');
  } catch (error) {
    // The process may have no file left.
    if (!(error instanceof KernelError)) throw error;
    return '';
  }
}

/** Put back that often, each time within CALM_MS of the time before: somebody takes it off again and again. */
const RECURRING_MIN = 3;
const CALM_MS = 60_000;

interface Recurrence {
  times: number;
  lastAt: number;
}

export class RepairLedger {
  private readonly counts = new Map<string, number>();
  private untold: Repair[] = [];
  /** Of what was off, by pin. */
  private readonly recurrences = new Map<string, Recurrence>();

  /** `now`: milliseconds, of a clock that nobody sets. */
  constructor(private readonly now = () => performance.now()) {}

  add(repair: Repair): void {
    const key = `${repair.program} ${repair.lost}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
    this.untold.push(repair);
    if (repair.lost !== 'link' && repair.lost !== 'program') return;
    this.forgetCalm();
    const { times = 0 } = this.recurrences.get(repair.pin) ?? {};
    this.recurrences.set(repair.pin, { times: times + 1, lastAt: this.now() });
  }

  /** What is taken off again and again, and may be off by now. */
  recurring(): { pin: string; times: number }[] {
    this.forgetCalm();
    return [...this.recurrences]
      .filter(([, { times }]) => times >= RECURRING_MIN)
      .map(([pin, { times }]) => ({ pin, times }));
  }

  private forgetCalm(): void {
    const before = this.now() - CALM_MS;
    for (const [pin, { lastAt }] of this.recurrences) if (lastAt < before) this.recurrences.delete(pin);
  }

  /** What was added since the last call. */
  take(): Repair[] {
    const repairs = this.untold;
    this.untold = [];
    return repairs;
  }

  /** How often, since the start; of everything that can be lost. */
  totals(): { program: LinkedProgram; lost: Loss; count: number }[] {
    return LINKED_PROGRAMS.flatMap((program) =>
      LOSSES.map((lost) => ({ program, lost, count: this.counts.get(`${program} ${lost}`) ?? 0 })),
    );
  }
}

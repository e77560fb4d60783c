/**
 * The compiled policy in the kernel. Every entry has two slots, and the low bit of the epoch says which one
 * counts. A change is written into the slots that do not count and takes effect with the one write that advances
 * the epoch: each packet is judged by the old set or by the new one. Each flow is then judged again once.
 */

import { AppError } from '../model/errors.js';
import { KernelError } from '../native/errors.js';
import {
  Direction,
  type PolicyDecision,
  type PolicyKey,
  type PolicyValue,
  type SubjectSlot,
  Verdict,
} from './abi/generated.js';
import type { DatapathMaps } from './maps.js';

export interface PolicyEntry {
  key: PolicyKey;
  decision: PolicyDecision;
}

export interface PolicySubject {
  identity: number;
  /** Bit n: some key of the subject in that direction has port_bits n. */
  portBits: { egress: number; ingress: number };
}

/** What becomes different. Keys that are not named stay as they are. */
export interface PolicyChange {
  set: PolicyEntry[];
  delete: PolicyKey[];
  subjects: { set: PolicySubject[]; delete: number[] };
}

type Slots<T> = [T, T];

const NO_DECISION: PolicyDecision = { rule: 0, precedence: 0, verdict: Verdict.NONE };
const NO_SUBJECT: SubjectSlot = { portBits: [0, 0], present: 0 };

/** One change of one map, as a pair of slots. */
interface Cell<T> {
  read(): Slots<T> | undefined;
  write(slots: Slots<T>): void;
  remove(): void;
  isEmpty(value: T): boolean;
  readonly empty: T;
  readonly wanted: T;
}

export class PolicyTable {
  /** Cells of the last change whose other slot still has the old value. */
  private unsettled: Cell<unknown>[] = [];
  private settling: Promise<void> = Promise.resolve();

  constructor(
    private readonly maps: Pick<DatapathMaps, 'policy' | 'subjects' | 'control'>,
    /** Resolves when no program runs any more that started before the call. */
    private readonly waitForPrograms: () => Promise<void>,
  ) {}

  get epoch(): number {
    return this.maps.control.get(0)?.policyEpoch ?? 0;
  }

  /**
   * Makes the change, as a whole or not at all: INSUFFICIENT_CAPACITY when it does not fit, and the old set stays.
   * Resolves when it is in force.
   */
  async commit(change: PolicyChange): Promise<void> {
    await this.settling;
    const epoch = this.epoch;
    const next = ((epoch & 1) ^ 1) as 0 | 1;
    const cells = this.cells(change);
    this.write(
      cells,
      (slots, cell) => {
        slots[next] = cell.wanted;
        return slots;
      },
      (slots) => {
        slots[next] = slots[next ^ 1] as never;
        return slots;
      },
    );
    this.maps.control.set(0, { policyEpoch: (epoch + 1) >>> 0 });
    this.unsettled = cells;
    this.settling = this.settle();
  }

  /**
   * Adds or removes rules that no packet can ask for, those of or about an identity that no endpoint has: in force
   * without a new epoch, so that no flow is judged again. The same guarantees as commit().
   */
  async applyUnobserved(change: PolicyChange): Promise<void> {
    await this.settling;
    const both = (_: Slots<unknown>, cell: Cell<unknown>): Slots<unknown> => [cell.wanted, cell.wanted];
    const none = (_: Slots<unknown>, cell: Cell<unknown>): Slots<unknown> => [cell.empty, cell.empty];
    this.write(this.cells(change), both, none);
  }

  /** Judges every flow again under the rules as they are; for changes of who an endpoint is. */
  async advance(): Promise<void> {
    await this.commit({ set: [], delete: [], subjects: { set: [], delete: [] } });
  }

  /** Waits until the slots of the last change are alike; the daemon may end without it. */
  async settled(): Promise<void> {
    await this.settling;
  }

  /**
   * What is in force, and makes the other slots like it, in case a daemon ended between the epoch and the settling
   * of its last change. Once, before the first commit.
   */
  async load(): Promise<{ entries: PolicyEntry[]; subjects: PolicySubject[] }> {
    await this.waitForPrograms();
    const slot = (this.epoch & 1) as 0 | 1;
    const entries: PolicyEntry[] = [];
    for (const [key, value] of await this.maps.policy.entries()) {
      const cell = this.policyCell(key, value.slot[slot]);
      if (!sameDecision(value.slot[0], value.slot[1])) settleCell(cell);
      else if (value.slot[slot].verdict === Verdict.NONE) cell.remove();
      if (value.slot[slot].verdict !== Verdict.NONE) entries.push({ key, decision: value.slot[slot] });
    }
    const subjects: PolicySubject[] = [];
    for (const [{ identity }, value] of await this.maps.subjects.entries()) {
      const current = value.slot[slot];
      settleCell(this.subjectCell(identity, current));
      if (!current.present) continue;
      const [egress, ingress] = current.portBits;
      subjects.push({ identity, portBits: { egress, ingress } });
    }
    return { entries, subjects };
  }

  private async settle(): Promise<void> {
    await this.waitForPrograms();
    for (const cell of this.unsettled) settleCell(cell);
    this.unsettled = [];
  }

  private cells(change: PolicyChange): Cell<unknown>[] {
    return [
      ...change.set.map(({ key, decision }) => this.policyCell(key, decision)),
      ...change.delete.map((key) => this.policyCell(key, NO_DECISION)),
      ...change.subjects.set.map(({ identity, portBits }) =>
        this.subjectCell(identity, { portBits: [portBits.egress, portBits.ingress], present: 1 }),
      ),
      ...change.subjects.delete.map((identity) => this.subjectCell(identity, NO_SUBJECT)),
    ] as Cell<unknown>[];
  }

  private policyCell(key: PolicyKey, wanted: PolicyDecision): Cell<PolicyDecision> {
    const { policy } = this.maps;
    return {
      read: () => policy.get(key)?.slot,
      write: (slot) => policy.set(key, { key, slot } satisfies PolicyValue),
      remove: () => policy.delete(key),
      isEmpty: (decision) => decision.verdict === Verdict.NONE,
      empty: NO_DECISION,
      wanted,
    };
  }

  private subjectCell(identity: number, wanted: SubjectSlot): Cell<SubjectSlot> {
    const { subjects } = this.maps;
    return {
      read: () => subjects.get({ identity })?.slot,
      write: (slot) => subjects.set({ identity }, { slot }),
      remove: () => subjects.delete({ identity }),
      isEmpty: (slot) => slot.present === 0,
      empty: NO_SUBJECT,
      wanted,
    };
  }

  /** Changes every cell; when one does not fit, takes back what was done and throws. */
  private write(
    cells: Cell<unknown>[],
    change: (slots: Slots<unknown>, cell: Cell<unknown>) => Slots<unknown>,
    undo: (slots: Slots<unknown>, cell: Cell<unknown>) => Slots<unknown>,
  ): void {
    let done = 0;
    try {
      for (const cell of cells) {
        store(cell, change(cell.read() ?? [cell.empty, cell.empty], cell));
        done++;
      }
    } catch (error) {
      for (const cell of cells.slice(0, done))
        store(cell, undo(cell.read() ?? [cell.empty, cell.empty], cell));
      if (
        error instanceof KernelError &&
        (error.code === 'E2BIG' || error.code === 'ENOMEM' || error.code === 'ENOSPC')
      ) {
        throw new AppError('INSUFFICIENT_CAPACITY', 'the compiled policy does not fit into the kernel', {
          cause: error,
          hint: 'raise policy_max or subjects_max; the policies in force have not changed',
        });
      }
      throw error;
    }
  }
}

function store(cell: Cell<unknown>, slots: Slots<unknown>): void {
  if (cell.isEmpty(slots[0]) && cell.isEmpty(slots[1])) cell.remove();
  else cell.write(slots);
}

/** Both slots get the wanted value. */
function settleCell(cell: Cell<unknown> | Cell<PolicyDecision> | Cell<SubjectSlot>): void {
  const any = cell as Cell<unknown>;
  store(any, [any.wanted, any.wanted]);
}

function sameDecision(a: PolicyDecision, b: PolicyDecision): boolean {
  return a.rule === b.rule && a.precedence === b.precedence && a.verdict === b.verdict;
}

/** Index of a direction as the maps have it. */
export function directionCode(direction: 'egress' | 'ingress'): Direction {
  return direction === 'egress' ? Direction.EGRESS : Direction.INGRESS;
}

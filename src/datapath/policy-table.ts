/**
 * The compiled policy in the kernel. Every entry has two slots, and the low bit of the epoch says which one
 * counts. A change is written into the slots that do not count and takes effect with the one write that advances
 * the epoch: each packet is judged by the old set or by the new one. Each flow is then judged again once.
 *
 * To write an element of a hash map is to put another in its place, and a program that looks for it at that moment may
 * find neither (htab_map_update_elem() of Linux). So nothing is written but before the epoch advances: whoever has missed
 * a rule then is judged again right after. The slots of a change are made alike only with the next change.
 */
import { formatCidr } from '../model/address.js';
import type { PolicyRoom } from '../model/cut-off.js';
import { AppError } from '../model/errors.js';
import { isFull } from '../native/errors.js';
import { expediteGracePeriods } from '../native/rcu.js';
import { mapping, stepping } from '../work/steps.js';
import { inTurns } from '../work/turns.js';
import { Direction, type PolicyDecision, type PolicyKey, type SubjectSlot } from './abi/generated.js';
import type { DatapathMaps } from './maps.js';
import {
  type Cell,
  CIDR_CLASSES,
  cidrKey,
  cidrOfKey,
  DECISIONS,
  type PolicyCidr,
  type SlotIndex,
  SlottedMap,
  SUBJECTS,
} from './policy-cells.js';

export interface PolicyEntry {
  key: PolicyKey;
  decision: PolicyDecision;
}

export interface PolicySubject {
  identity: number;
  slot: SubjectSlot;
}

/** A range with the number of its class. */
export interface PolicyCidrClass extends PolicyCidr {
  cidrClass: number;
}

/** What becomes different. What is not named stays as it is. */
export interface PolicyChange {
  set: PolicyEntry[];
  delete: PolicyKey[];
  subjects: { set: PolicySubject[]; delete: number[] };
  cidrs: { set: PolicyCidrClass[]; delete: PolicyCidr[] };
}

/** All that is in force. */
export interface PolicyContents {
  entries: PolicyEntry[];
  subjects: PolicySubject[];
  cidrs: PolicyCidrClass[];
}

/** Of what is done with a cell, a few system calls, in what a step is counted in. */
const COST_OF_CELL = 16;

export class PolicyTable {
  /** Cells of the last change whose other slot still has the old value. */
  private unsettled: readonly Cell[] = [];
  /** The epoch has advanced, and programs may still run that have read the one before. */
  private isFresh = false;
  private readonly control;
  private readonly policy;
  private readonly subjects;
  private readonly cidrs;

  constructor(
    { control, policy, subjects, cidrs }: Pick<DatapathMaps, 'policy' | 'subjects' | 'cidrs' | 'control'>,
    /** Resolves when no program runs any more that started before the call. */
    private readonly waitForPrograms: () => Promise<void>,
  ) {
    this.control = control;
    this.policy = new SlottedMap(policy, DECISIONS);
    this.subjects = new SlottedMap(subjects, SUBJECTS);
    this.cidrs = new SlottedMap(cidrs, CIDR_CLASSES);
  }

  get epoch(): number {
    return this.control.get(0)?.policyEpoch ?? 0;
  }

  /**
   * Makes the change, as a whole or not at all: INSUFFICIENT_CAPACITY when it does not fit, and the old set stays.
   * Resolves when it is in force. One change after the other.
   */
  async commit(change: PolicyChange): Promise<void> {
    await this.settle();
    const next: SlotIndex = this.current === 0 ? 1 : 0;
    const cells = await this.cells(change);
    this.unsettled = cells;
    try {
      await eachInTurns(cells, (cell) => cell.stage(next));
    } catch (error) {
      // On the same slots. What was staged is taken out before the next change, if not now.
      this.proceed(2);
      await this.advance().catch(() => undefined);
      throw roomError(error);
    }
    this.proceed(1);
  }

  /**
   * Adds or removes rules that no packet can ask for, those of or about an identity that no endpoint has: in force
   * without a new epoch, so that no flow is judged again. As a whole or not at all, as commit().
   */
  async applyUnobserved(change: PolicyChange): Promise<void> {
    if (change.delete.length + change.subjects.delete.length + change.cidrs.delete.length > 0) {
      // A program that still runs may have seen the endpoint that is gone, and would miss a rule of its.
      using _ = expediteGracePeriods();
      await this.waitForPrograms();
    }
    const cells = await this.cells(change);
    try {
      await this.replace(cells);
    } catch (error) {
      if (!isNoRoom(error) || this.unsettled.length === 0) throw error;
      // What the last change has deleted is still there.
      await this.advance();
      await this.replace(cells);
    }
  }

  /** Judges every flow again under the rules as they are; for changes of who an endpoint is. */
  async advance(): Promise<void> {
    // Who runs may have seen who the endpoint was, whenever the last change was.
    this.isFresh = true;
    await this.commit({
      set: [],
      delete: [],
      subjects: { set: [], delete: [] },
      cidrs: { set: [], delete: [] },
    });
  }

  /**
   * What is in force, and makes the other slots like it, in case a daemon ended between the epoch and the settling
   * of its last change. Not at the same time as a commit.
   */
  async load(): Promise<PolicyContents> {
    await this.waitForPrograms();
    const slot = this.current;
    const entries = await this.policy.settleOn(slot);
    const subjects = await this.subjects.settleOn(slot);
    const cidrs: PolicyCidrClass[] = [];
    const ranges = stepping(await this.cidrs.settleOn(slot), ([key, cidrClass]) => {
      const range = cidrOfKey(key);
      if (range === undefined) this.cidrs.cell(key).replace();
      else cidrs.push({ ...range, cidrClass });
    });
    await inTurns(ranges);
    return {
      entries: await inTurns(mapping(entries, ([key, decision]) => ({ key, decision }))),
      subjects: await inTurns(mapping(subjects, ([{ identity }, rules]) => ({ identity, slot: rules }))),
      cidrs,
    };
  }

  /**
   * What there is room for beside what is in force, in the next commit(); known from load() on. Not at the same time as a
   * commit. What a change deletes makes room for the one after it.
   */
  async room(): Promise<PolicyRoom> {
    const { current } = this;
    const going = new Map<unknown, number>();
    await eachInTurns(this.unsettled, (cell) => {
      const map = cell.leaves(current);
      if (map !== undefined) going.set(map, (going.get(map) ?? 0) + 1);
    });
    const roomOf = (map: { readonly room: number }) => map.room + (going.get(map) ?? 0);
    return {
      policy_max: roomOf(this.policy),
      policy_cidrs_max: roomOf(this.cidrs),
      subjects_max: roomOf(this.subjects),
    };
  }

  /** The slot that counts. */
  private get current(): SlotIndex {
    return (this.epoch & 1) === 0 ? 0 : 1;
  }

  /**
   * Waits before, for programs that read the other slots, and after: one that began to read an element meanwhile must not
   * find it given to another rule and back. When it fails, the next change does it.
   */
  private async settle(): Promise<void> {
    if (!this.isFresh) return;
    using _ = expediteGracePeriods();
    await this.waitForPrograms();
    if (this.unsettled.length > 0) {
      const { current } = this;
      await eachInTurns(this.unsettled, (cell) => cell.settle(current));
      this.unsettled = [];
      await this.waitForPrograms();
    }
    this.isFresh = false;
  }

  private proceed(epochs: number): void {
    this.isFresh = true;
    this.control.set(0, { policyEpoch: (this.epoch + epochs) >>> 0 });
  }

  /** Gives both slots of each cell its value; when one does not fit, takes back what was done, last first, and throws. */
  private async replace(cells: readonly Cell[]): Promise<void> {
    let done = 0;
    try {
      await eachInTurns(cells, (cell) => {
        cell.replace();
        done++;
      });
    } catch (error) {
      await this.waitForPrograms(); // as in settle()
      await eachInTurns(cells.slice(0, done).reverse(), (cell) => cell.restore());
      throw roomError(error);
    }
  }

  private async cells({ set, delete: gone, subjects, cidrs }: PolicyChange): Promise<Cell[]> {
    const cells: Cell[] = [];
    const add = <T>(things: readonly T[], cellOf: (thing: T) => Cell) =>
      inTurns(stepping(things, (thing) => cells.push(cellOf(thing))));
    await add(set, ({ key, decision }) => this.policy.cell(key, decision));
    await add(gone, (key) => this.policy.cell(key));
    await add(subjects.set, ({ identity, slot }) => this.subjects.cell({ identity }, slot));
    await add(subjects.delete, (identity) => this.subjects.cell({ identity }));
    await add(cidrs.set, ({ cidrClass, ...range }) => this.cidrs.cell(cidrKey(range), cidrClass));
    await add(cidrs.delete, (range) => this.cidrs.cell(cidrKey(range)));
    return cells;
  }
}

/** What is thrown of a write that failed. */
function roomError(cause: unknown): unknown {
  return isFull(cause) ? noRoom({ cause }) : cause;
}

/** What a change is refused with that does not fit. */
export function noRoom(why: { readonly cause?: unknown } = {}): AppError {
  return new AppError('INSUFFICIENT_CAPACITY', 'the compiled policy does not fit into the kernel', {
    ...why,
    hint: 'raise policy_max, policy_cidrs_max or subjects_max, and restart the node; the policies in force have not changed',
  });
}

function isNoRoom(error: unknown): boolean {
  return error instanceof AppError && error.code === 'INSUFFICIENT_CAPACITY';
}

/** One after the other; a change of many entries does not keep others waiting. */
function eachInTurns(cells: readonly Cell[], act: (cell: Cell) => void): Promise<void> {
  return inTurns(stepping(cells, act, () => COST_OF_CELL));
}

/** Index of a direction as the maps have it. */
export function directionCode(direction: 'egress' | 'ingress'): Direction {
  return direction === 'egress' ? Direction.EGRESS : Direction.INGRESS;
}

/** A range as text, equal exactly when subject, direction and range are equal. */
export function policyCidrText({ subject, direction, cidr }: PolicyCidr): string {
  return `${subject}/${direction}/${formatCidr(cidr)}`;
}

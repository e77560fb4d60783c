/**
 * The deny list: stored, then in force. The store has it in parts, so that a change writes what it touches, and a list of
 * its greatest size is not as many records.
 */
import type { DenyTable } from '../../datapath/deny-table.js';
import {
  DENY_LIST_MAX,
  type DenyList,
  type DenyListChange,
  type DenyListQuery,
} from '../../model/deny-list.js';
import { AppError } from '../../model/errors.js';
import type { Store } from '../../store/store.js';
import { denyParts } from '../../store/tables.js';
import type { DenyListService } from '../contract.js';
import { type OnLeft, Rollback } from '../rollback.js';
import { Serial } from '../serial.js';

/** A power of two. */
const PARTS = 256;

export class DenyListKeeper implements DenyListService {
  /** Of its own: a large list keeps no container waiting. */
  private readonly serial: Serial;
  /** Every range; replaced, never changed. */
  private ranges: ReadonlySet<string>;
  /** The same in the order of pages; made when it is asked for. */
  private ordered: readonly string[] | undefined;

  constructor(
    private readonly parts: { store: Store; table: DenyTable; ready: Promise<void>; onLeft: OnLeft },
  ) {
    this.serial = new Serial(parts.ready);
    this.ranges = new Set(parts.store.list(denyParts).flatMap(({ cidrs }) => cidrs));
  }

  /** After a start; before `ready`. */
  async sync(): Promise<void> {
    await this.parts.table.sync([...this.ranges]);
  }

  idle(): Promise<void> {
    return this.serial.idle();
  }

  get size(): number {
    return this.ranges.size;
  }

  list({ after, limit }: DenyListQuery): DenyList {
    this.ordered ??= [...this.ranges].sort();
    const first = after === undefined ? 0 : firstAfter(this.ordered, after);
    const cidrs = this.ordered.slice(first, first + limit);
    const last = cidrs.at(-1);
    const isLast = first + limit >= this.ordered.length;
    return { cidrs, total: this.ordered.length, ...(isLast || last === undefined ? {} : { next: last }) };
  }

  replace(cidrs: readonly string[]): Promise<DenyListChange> {
    return this.serial.run(() => this.become(new Set(cidrs)));
  }

  add(cidrs: readonly string[]): Promise<DenyListChange> {
    return this.serial.run(() => this.become(new Set([...this.ranges, ...cidrs])));
  }

  remove(cidrs: readonly string[]): Promise<DenyListChange> {
    return this.serial.run(() => {
      const rest = new Set(this.ranges);
      for (const cidr of cidrs) rest.delete(cidr);
      return this.become(rest);
    });
  }

  private async become(after: ReadonlySet<string>): Promise<DenyListChange> {
    const before = this.ranges;
    if (after.size > DENY_LIST_MAX) {
      throw new AppError(
        'INSUFFICIENT_CAPACITY',
        `the deny list would have ${after.size} ranges, and may have ${DENY_LIST_MAX}`,
      );
    }
    const added = [...after].filter((cidr) => !before.has(cidr));
    const removed = [...before].filter((cidr) => !after.has(cidr));
    const changed = new Set([...added, ...removed].map(partOf));
    const rollback = new Rollback(this.parts.onLeft);
    await this.record(after, changed);
    rollback.add('a deny list is recorded that is not in force', () => this.record(before, changed));
    try {
      await this.parts.table.change(added, removed, after.size);
    } catch (error) {
      await rollback.run();
      throw error;
    }
    this.ranges = after;
    this.ordered = undefined;
    return { added: added.length, removed: removed.length, total: after.size };
  }

  private async record(ranges: ReadonlySet<string>, changed: ReadonlySet<number>): Promise<void> {
    const parts = new Map([...changed].map((part): [number, string[]] => [part, []]));
    for (const cidr of ranges) parts.get(partOf(cidr))?.push(cidr);
    await this.parts.store.transaction((transaction) => {
      for (const [part, cidrs] of parts) {
        if (cidrs.length === 0) transaction.delete(denyParts, [part]);
        else transaction.put(denyParts, [part], { cidrs });
      }
    });
  }
}

/** The same in every version: it says in which record a range is (FNV-1a). */
function partOf(cidr: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < cidr.length; at++) hash = Math.imul(hash ^ cidr.charCodeAt(at), 0x01000193);
  return ((hash >>> 16) ^ hash) & (PARTS - 1);
}

/** Index of the first that comes after the text. */
function firstAfter(ordered: readonly string[], text: string): number {
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ordered[middle] ?? '') <= text) low = middle + 1;
    else high = middle;
  }
  return low;
}

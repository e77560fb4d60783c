/**
 * Ranges of addresses in rules. The ranges that the rules of one subject name in one direction, in cidr or in
 * except, are nested or apart: each address is in a narrowest one, and that one decides which rules apply to it. A
 * rule applies to a range when it is inside one of the rule's blocks and inside none of that block's exceptions.
 */
import { type Cidr, formatCidr, lastAddress, parseCidr } from '../model/address.js';

export interface Range extends Cidr {
  /** Canonical. */
  readonly text: string;
  /** The last address. */
  readonly last: bigint;
}

/** From a first address to a last one. */
export type Span = Pick<Range, 'family' | 'base' | 'last'>;

/** As rules are written. */
export interface Block {
  readonly cidr: string;
  /** Parts of it. */
  readonly except?: readonly string[] | undefined;
}

/** A range that a rule names, and whether the rule applies to it. */
export interface RuleRange {
  readonly range: Range;
  readonly applies: boolean;
}

/** Each range once, in the order of `compareRanges`. */
export interface Ranged {
  readonly ranges: readonly RuleRange[];
}

/** Throws INVALID_REQUEST when the text is no range. */
export function rangeOf(text: string): Range {
  const cidr = parseCidr(text);
  return { ...cidr, text: formatCidr(cidr), last: lastAddress(cidr).value };
}

/** By first address, then the wider one first: what is inside a range stands behind it, in a row. */
export function compareRanges(left: Cidr, right: Cidr): number {
  if (left.family !== right.family) return left.family - right.family;
  if (left.base !== right.base) return left.base < right.base ? -1 : 1;
  return left.prefixLength - right.prefixLength;
}

/** Whether every address of `inner` is in `outer`, equal ranges included. */
export function isWithin(inner: Span, outer: Span): boolean {
  return inner.family === outer.family && inner.base >= outer.base && inner.last <= outer.last;
}

/** A range that blocks name, while they are being sorted out. */
interface NamedRange {
  readonly range: Range;
  /** How many blocks begin here. */
  begins: number;
  /** The blocks that it is an exception of, by their position. */
  readonly exceptOf: Set<number>;
}

/** The ranges that the blocks of a rule name. */
export function ruleRanges(blocks: readonly Block[]): RuleRange[] {
  const inside = new BlockSweep();
  return namedRanges(blocks).map((named) => ({ range: named.range, applies: inside.enter(named) }));
}

function namedRanges(blocks: readonly Block[]): NamedRange[] {
  const named = new Map<string, NamedRange>();
  const name = (text: string): NamedRange => {
    const range = rangeOf(text);
    const found = named.get(range.text) ?? { range, begins: 0, exceptOf: new Set() };
    named.set(range.text, found);
    return found;
  };
  for (const [index, block] of blocks.entries()) {
    name(block.cidr).begins += 1;
    for (const except of block.except ?? []) name(except).exceptOf.add(index);
  }
  return [...named.values()].sort((left, right) => compareRanges(left.range, right.range));
}

/** Goes through ranges in their order and knows in how many blocks, exceptions left out, it stands. */
class BlockSweep {
  readonly #stack: NamedRange[] = [];
  /** In how many exceptions of each block. */
  readonly #exceptions = new Map<number, number>();
  #blocks = 0;

  /** Whether some block applies there. */
  enter(named: NamedRange): boolean {
    for (let top = this.#stack.at(-1); top !== undefined; top = this.#stack.at(-1)) {
      if (isWithin(named.range, top.range)) break;
      this.#stack.pop();
      this.#count(top, -1);
    }
    this.#stack.push(named);
    this.#count(named, 1);
    return this.#blocks > 0;
  }

  #count({ begins, exceptOf }: NamedRange, change: 1 | -1): void {
    this.#blocks += change * begins;
    for (const block of exceptOf) {
      // An exception inside an exception takes nothing more away.
      const depth = this.#exceptions.get(block) ?? 0;
      if ((change === 1 ? depth : depth - 1) === 0) this.#blocks -= change;
      this.#exceptions.set(block, depth + change);
    }
  }
}

/**
 * Ranges of addresses in rules. The ranges that the rules of one subject name in one direction, in cidr or in
 * except, are nested or apart: each address is in a narrowest one, and that one decides which rules apply to it. A
 * rule applies to a range when it is inside one of the rule's blocks and inside none of that block's exceptions.
 */
import {
  addressBits,
  type Cidr,
  cidrOf,
  type Family,
  formatCidr,
  lastAddress,
  parseCidr,
} from '../model/address.js';
import { type Steps, stepping } from './steps.js';
import type { PrefixLengths } from './types.js';

export interface Range extends Cidr {
  /** Canonical. */
  readonly text: string;
  /** The last address. */
  readonly last: bigint;
}

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
function isWithin(inner: Range, outer: Range): boolean {
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

/** What the coming or going of a rule changed. */
export interface RangeChange<Rule> {
  /** Those that are named now, or are no longer. */
  readonly ranges: Range[];
  /** Which rules apply now, or do no longer, to which ranges. */
  readonly rules: { readonly rule: Rule; readonly range: Range }[];
}

export const NO_LENGTHS: PrefixLengths = { 4: 0n, 6: 0n };

/** How many ranges there are of each length. */
class LengthCounts {
  readonly #counts: Record<Family, number[]> = { 4: [], 6: [] };
  #present = NO_LENGTHS;

  get present(): PrefixLengths {
    return this.#present;
  }

  count({ family, prefixLength }: Cidr, change: 1 | -1): void {
    const counts = this.#counts[family];
    const before = counts[prefixLength] ?? 0;
    counts[prefixLength] = before + change;
    if (before > 0 && before + change > 0) return;
    this.#present = { ...this.#present, [family]: this.#present[family] ^ (1n << BigInt(prefixLength)) };
  }
}

interface RangeNode<Rule> {
  readonly range: Range;
  /** How many rules name it. */
  uses: number;
  /** Those that apply to it. */
  readonly rules: Rule[];
}

/** Of so many ranges that come or go at once, each is put in its place alone; of more, all places are made anew. */
const MOVED_ALONE = 8;

/**
 * The ranges of one subject and direction. A rule that comes or goes costs the ranges inside its own blocks: what
 * other rules say about a range that it names first is what they say about the narrowest range around it.
 */
export class RangeTable<Rule extends Ranged> {
  /** In the order of `compareRanges`. */
  #nodes: RangeNode<Rule>[] = [];
  readonly #rules = new Set<Rule>();
  readonly #lengths = new LengthCounts();

  /** How long its ranges are. */
  get lengths(): PrefixLengths {
    return this.#lengths.present;
  }

  get size(): number {
    return this.#nodes.length;
  }

  /** Each range with the rules that apply to it. */
  [Symbol.iterator](): Iterator<{ readonly range: Range; readonly rules: readonly Rule[] }> {
    return this.#nodes.values();
  }

  /**
   * Undefined: it is there already. `require` is asked whether there is room for so many ranges, and rules that apply to
   * them, as will have come by then; it throws where there is none, and nothing has changed.
   */
  *add(rule: Rule, require: (count: number) => void = () => undefined): Steps<RangeChange<Rule> | undefined> {
    if (this.#rules.has(rule)) return undefined;
    const change: RangeChange<Rule> = { ranges: [], rules: [] };
    const fresh: RangeNode<Rule>[] = [];
    for (const { range } of rule.ranges) {
      const index = this.#firstFrom(range);
      if (this.#nodes[index]?.range.text === range.text) continue;
      const around = this.#narrowestAround(range, index - 1)?.rules ?? [];
      require(change.ranges.length + change.rules.length + around.length + 1);
      fresh.push({ range, uses: 0, rules: [...around] });
      change.ranges.push(range);
      yield* stepping(around, (other) => change.rules.push({ rule: other, range }));
    }
    this.#insert(fresh);
    this.#rules.add(rule);
    for (const { range } of rule.ranges) this.#nodeOf(range).uses += 1;
    yield;
    yield* stepping(this.#covered(rule), ({ range, rules }) => {
      rules.push(rule);
      change.rules.push({ rule, range });
    });
    return change;
  }

  /** The reverse of `add`. Undefined: it is not there. */
  *remove(rule: Rule): Steps<RangeChange<Rule> | undefined> {
    if (!this.#rules.delete(rule)) return undefined;
    const change: RangeChange<Rule> = { ranges: [], rules: [] };
    yield* stepping(this.#covered(rule), ({ range, rules }) => {
      // Those that came last usually go first.
      rules.splice(rules.lastIndexOf(rule), 1);
      change.rules.push({ rule, range });
    });
    const gone = new Set<RangeNode<Rule>>();
    for (const { range } of rule.ranges) {
      const node = this.#nodeOf(range);
      node.uses -= 1;
      if (node.uses > 0) continue;
      gone.add(node);
      change.ranges.push(range);
      yield* stepping(node.rules, (other) => change.rules.push({ rule: other, range }));
    }
    this.#delete(gone);
    return change;
  }

  /** `fresh` is in order. */
  #insert(fresh: readonly RangeNode<Rule>[]): void {
    for (const { range } of fresh) this.#lengths.count(range, 1);
    if (fresh.length <= MOVED_ALONE) {
      for (const node of fresh) this.#nodes.splice(this.#firstFrom(node.range), 0, node);
      return;
    }
    const merged: RangeNode<Rule>[] = [];
    let next = 0;
    for (const node of fresh) {
      for (let old = this.#nodes[next]; old !== undefined; old = this.#nodes[next]) {
        if (compareRanges(old.range, node.range) > 0) break;
        merged.push(old);
        next += 1;
      }
      merged.push(node);
    }
    this.#nodes = merged.concat(this.#nodes.slice(next));
  }

  #delete(gone: ReadonlySet<RangeNode<Rule>>): void {
    for (const { range } of gone) this.#lengths.count(range, -1);
    if (gone.size > MOVED_ALONE) this.#nodes = this.#nodes.filter((node) => !gone.has(node));
    else for (const { range } of gone) this.#nodes.splice(this.#firstFrom(range), 1);
  }

  /** Of a range that is there. */
  #nodeOf(range: Range): RangeNode<Rule> {
    const node = this.#nodes[this.#firstFrom(range)];
    if (node?.range.text !== range.text) throw new RangeError(`no rule names ${range.text}`);
    return node;
  }

  /** The nodes that a rule, whose ranges are all there, applies to: it counts what it says about the narrowest around. */
  *#covered({ ranges }: Rule): Iterable<RangeNode<Rule>> {
    let next = 0;
    for (let outer = ranges[next]; outer !== undefined; outer = ranges[next]) {
      const around: RuleRange[] = [];
      for (let index = this.#firstFrom(outer.range); ; index += 1) {
        const node = this.#nodes[index];
        if (node === undefined || !isWithin(node.range, outer.range)) break;
        let top = around.at(-1);
        for (; top !== undefined && !isWithin(node.range, top.range); top = around.at(-1)) around.pop();
        const named = ranges[next];
        if (named?.range.text === node.range.text) {
          around.push(named);
          next += 1;
          top = named;
        }
        if (top?.applies === true) yield node;
      }
    }
  }

  /** Index of the first node that is not before the range. */
  #firstFrom(range: Cidr): number {
    let low = 0;
    let high = this.#nodes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const node = this.#nodes[middle];
      if (node !== undefined && compareRanges(node.range, range) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Of the nodes up to `index`, which all stand before the range, the narrowest that holds it. */
  #narrowestAround(range: Range, index: number): RangeNode<Rule> | undefined {
    for (let node = this.#nodes[index]; node !== undefined; ) {
      if (isWithin(range, node.range)) return node;
      // Nothing between this node and the range holds the range; what does holds both.
      const common = commonRange(node.range, range);
      if (common === undefined) return undefined;
      const at = this.#firstFrom(common);
      const exact = this.#nodes[at];
      node = exact !== undefined && compareRanges(exact.range, common) === 0 ? exact : this.#nodes[at - 1];
    }
    return undefined;
  }
}

/** The narrowest range that holds two. */
function commonRange(left: Range, right: Range): Cidr | undefined {
  if (left.family !== right.family) return undefined;
  const differing = left.base ^ right.base;
  const common = addressBits(left.family) - (differing === 0n ? 0 : differing.toString(2).length);
  const prefixLength = Math.min(common, left.prefixLength, right.prefixLength);
  return cidrOf({ family: left.family, value: left.base }, prefixLength);
}

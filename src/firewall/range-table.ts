/** Which ranges the rules of one subject and direction name, and which rules apply to which. */
import type { Cidr, Family } from '../model/address.js';
import { type Steps, stepping } from '../work/steps.js';
import { narrowestAround, RangeNodes } from './range-nodes.js';
import { isWithin, type Range, type Ranged, type RuleRange } from './ranges.js';
import type { PrefixLengths } from './types.js';

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

/**
 * The ranges of one subject and direction. A rule that comes or goes costs the ranges inside its own blocks: what
 * other rules say about a range that it names first is what they say about the narrowest range around it.
 */
export class RangeTable<Rule extends Ranged> {
  readonly #nodes = new RangeNodes<RangeNode<Rule>>();
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
    return this.#nodes.asTheyAre.values();
  }

  /** Its ranges as they are now, in order, whatever comes and goes later. */
  get ranges(): readonly { readonly range: Range }[] {
    return this.#nodes.shared();
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
      const index = this.#nodes.firstFrom(range);
      if (this.#nodes.at(index)?.range.text === range.text) continue;
      const around = narrowestAround(this.#nodes.asTheyAre, range, index)?.rules ?? [];
      require(change.ranges.length + change.rules.length + around.length + 1);
      fresh.push({ range, uses: 0, rules: [...around] });
      change.ranges.push(range);
      yield* stepping(around, (other) => change.rules.push({ rule: other, range }));
    }
    for (const { range } of fresh) this.#lengths.count(range, 1);
    this.#nodes.insert(fresh);
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
    const gone: RangeNode<Rule>[] = [];
    for (const { range } of rule.ranges) {
      const node = this.#nodeOf(range);
      node.uses -= 1;
      if (node.uses > 0) continue;
      gone.push(node);
      change.ranges.push(range);
      yield* stepping(node.rules, (other) => change.rules.push({ rule: other, range }));
    }
    for (const { range } of gone) this.#lengths.count(range, -1);
    this.#nodes.delete(gone);
    return change;
  }

  /** Of a range that is there. */
  #nodeOf(range: Range): RangeNode<Rule> {
    const node = this.#nodes.at(this.#nodes.firstFrom(range));
    if (node?.range.text !== range.text) throw new RangeError(`no rule names ${range.text}`);
    return node;
  }

  /** The nodes that a rule, whose ranges are all there, applies to: it counts what it says about the narrowest around. */
  *#covered({ ranges }: Rule): Iterable<RangeNode<Rule>> {
    let next = 0;
    for (let outer = ranges[next]; outer !== undefined; outer = ranges[next]) {
      const around: RuleRange[] = [];
      for (let index = this.#nodes.firstFrom(outer.range); ; index += 1) {
        const node = this.#nodes.at(index);
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
}

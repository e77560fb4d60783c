/**
 * What the rules of the engine name, that has a number in the kernel: themselves, names of ports, and ranges. Each is
 * counted as often as rules name it, so that what nobody names any more is known at the cost of the rule that went.
 */
import { formatRuleRef } from './rule-ref.js';
import type { RuleTerms } from './subject.js';
import type { RuleRef } from './types.js';

/** What no rule names any more. */
export interface Unnamed {
  readonly rules: readonly RuleRef[];
  /** Of ports. */
  readonly names: readonly string[];
  /** By canonical text. */
  readonly cidrs: readonly string[];
}

export class Vocabulary {
  readonly #rules = new Uses<RuleRef>();
  readonly #names = new Uses<string>();
  readonly #cidrs = new Uses<string>();

  add(rule: RuleTerms): void {
    this.#count(rule, 1);
  }

  remove(rule: RuleTerms): void {
    this.#count(rule, -1);
  }

  /** What has lost its last rule since the last call, and has none now. */
  takeUnnamed(): Unnamed {
    return {
      rules: this.#rules.takeUnused(),
      names: this.#names.takeUnused(),
      cidrs: this.#cidrs.takeUnused(),
    };
  }

  #count({ ref, ports, ranges }: RuleTerms, change: 1 | -1): void {
    this.#rules.count(formatRuleRef(ref), ref, change);
    for (const { name } of ports) if (name !== undefined) this.#names.count(name, name, change);
    for (const { range } of ranges) this.#cidrs.count(range.text, range.text, change);
  }
}

class Uses<T> {
  readonly #counts = new Map<string, number>();
  readonly #unused = new Map<string, T>();

  count(text: string, of: T, change: 1 | -1): void {
    const count = (this.#counts.get(text) ?? 0) + change;
    if (count > 0) {
      this.#counts.set(text, count);
      this.#unused.delete(text);
    } else {
      this.#counts.delete(text);
      this.#unused.set(text, of);
    }
  }

  takeUnused(): T[] {
    const unused = [...this.#unused.values()];
    this.#unused.clear();
    return unused;
  }
}

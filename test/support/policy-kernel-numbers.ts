/** Numbers that the kernel knows rules, names of ports and ranges by; never forgotten, so that none is given twice. */
import { formatRuleRef } from '../../src/firewall/rule-ref.js';
import type { PolicyDelta, RuleRef } from '../../src/firewall/types.js';
import { namesOfPorts, type PolicyNumbers, rangesOf } from '../../src/vnet/policy/policy-encoding.js';
import { finish } from '../../src/work/steps.js';

class Numbering {
  readonly numbers = new Map<string, number>();
  readonly #texts: string[] = [];

  of(text: string): number {
    const known = this.numbers.get(text);
    if (known !== undefined) return known;
    this.#texts.push(text);
    this.numbers.set(text, this.#texts.length);
    return this.#texts.length;
  }

  /** 0 stands for nothing. */
  text(number: number): string | undefined {
    return this.#texts[number - 1];
  }
}

export class KernelNumbers {
  readonly rules = new Numbering();
  readonly names = new Numbering();
  readonly #ranges = new Numbering();

  claim(delta: PolicyDelta): PolicyNumbers {
    for (const name of finish(namesOfPorts(delta))) this.names.of(name);
    for (const range of finish(rangesOf(delta))) this.#ranges.of(range);
    const rules = new Map<RuleRef, number>();
    for (const { rule } of delta.set) rules.set(rule, this.rules.of(formatRuleRef(rule)));
    return { rules, names: this.names.numbers, cidrs: this.#ranges.numbers };
  }
}

import { expect, it } from 'vitest';
import { insertRule, positionOf } from '../../src/firewall/entries.js';
import { laneOf } from '../../src/firewall/lanes.js';
import type { Cell, RuleTerms } from '../../src/firewall/subject.js';

let comparisons = 0;

/** The rule of a policy; policies are in the order of their numbers. Counts how often it is compared. */
function ruleOf(number: number): RuleTerms {
  return {
    ref: {
      kind: 'policy',
      namespace: 'n',
      name: String(number).padStart(6, '0'),
      direction: 'ingress',
      index: 0,
    },
    lane: laneOf('ingress', 'network-policy', false),
    verdict: 'allow',
    get precedence() {
      comparisons += 1;
      return 0;
    },
    ports: [],
    ranges: [],
  };
}

it('very many policies about one peer cost no more each than the halving of their number, in whatever order they come', () => {
  const rules = Array.from({ length: 4096 }, (_, number) => ruleOf(number));
  const halvings = Math.log2(rules.length) + 2;
  for (const order of [rules, rules.toReversed()]) {
    comparisons = 0;
    const cell: Cell = [];
    for (const rule of order) insertRule(cell, rule);
    const isInOrder = cell.length === rules.length && cell.every((rule, index) => rule === rules[index]);
    expect(isInOrder).toBe(true);
    for (const rule of order) cell.splice(positionOf(cell, rule), 1);
    expect(cell).toEqual([]);
    // Two reads to a comparison.
    expect(comparisons).toBeLessThan(2 * 2 * halvings * rules.length);
  }
});

it('a rule is found among others that are equal, and not when it is not there', () => {
  const [one, same, other] = [ruleOf(1), ruleOf(1), ruleOf(2)];
  const cell: Cell = [];
  for (const rule of [other, one, same]) insertRule(cell, rule);
  expect([one, same, other].map((rule) => cell[positionOf(cell, rule)])).toEqual([one, same, other]);
  expect(positionOf(cell, ruleOf(1))).toBe(-1);
  expect(positionOf(cell, ruleOf(3))).toBe(-1);
  expect(positionOf([], one)).toBe(-1);
});

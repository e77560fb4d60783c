import fc from 'fast-check';
import { expect, test } from 'vitest';
import { labelMap, Selector } from '../../src/firewall/selector.js';
import { LabelIndex, SelectorIndex } from '../../src/firewall/selector-index.js';
import type { LabelSelector } from '../../src/model/kubernetes.js';

const APP_A = { app: 'a' };

test.each<[LabelSelector, Record<string, string>, boolean]>([
  [{}, {}, true],
  [{ matchLabels: APP_A }, APP_A, true],
  [{ matchLabels: APP_A }, { app: 'b' }, false],
  [{ matchLabels: { constructor: 'a' } }, {}, false],
  [{ matchExpressions: [{ key: 'app', operator: 'In', values: ['a', 'b'] }] }, { app: 'b' }, true],
  [{ matchExpressions: [{ key: 'app', operator: 'In', values: ['a'] }] }, {}, false],
  [{ matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['a'] }] }, APP_A, false],
  [{ matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['a'] }] }, {}, true],
  [{ matchExpressions: [{ key: 'app', operator: 'Exists' }] }, { app: '' }, true],
  [{ matchExpressions: [{ key: 'constructor', operator: 'Exists' }] }, {}, false],
  [{ matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] }, APP_A, false],
  [{ matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] }, {}, true],
  [{ matchLabels: APP_A, matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, APP_A, false],
])('selector %j on labels %j: %s', (selector, labels, matches) => {
  expect(Selector.from(selector).matches(labelMap(labels))).toBe(matches);
});

const key = fc.constantFrom('app', 'tier', 'constructor');
const value = fc.constantFrom('', 'a', 'b');
const labels = fc.dictionary(key, value).map(labelMap);
const expression = fc.oneof(
  fc.record({
    key,
    operator: fc.constantFrom('In' as const, 'NotIn' as const),
    values: fc.array(value, { minLength: 1 }),
  }),
  fc.record({ key, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
);
const selector = fc
  .array(expression, { maxLength: 3 })
  .map((matchExpressions) => Selector.from({ matchExpressions }));

test('the indexes find exactly what trying each would find, each once, also after removals', () => {
  fc.assert(
    fc.property(fc.array(labels), fc.array(selector), fc.nat(), (labelSets, selectors, seed) => {
      const items = labelSets.map((set, id) => ({ id, labels: set }));
      const byLabel = new LabelIndex<(typeof items)[number]>();
      const bySelector = new SelectorIndex<Selector>();
      const distinct = new Set(selectors);
      for (const item of items) byLabel.add(item);
      for (const one of distinct) bySelector.add(one, one);
      const stays = (index: number) => (seed >> (index % 16)) % 2 === 0;
      const leftItems = items.filter((_item, index) => stays(index));
      const leftSelectors = [...distinct].filter((_one, index) => stays(index));
      for (const item of items) if (!leftItems.includes(item)) byLabel.remove(item);
      for (const one of distinct) if (!leftSelectors.includes(one)) bySelector.remove(one);
      expect(byLabel.size).toBe(leftItems.length);
      expect(bySelector.size).toBe(leftSelectors.length);
      for (const one of selectors) {
        const found = [...byLabel.matching(one)].map(({ id }) => id).sort((left, right) => left - right);
        expect(found).toEqual(leftItems.filter((item) => one.matches(item.labels)).map(({ id }) => id));
      }
      for (const set of labelSets) {
        const found = [...bySelector.matching(set)];
        expect(new Set(found).size).toBe(found.length);
        expect(new Set(found)).toEqual(new Set(leftSelectors.filter((one) => one.matches(set))));
      }
    }),
  );
});

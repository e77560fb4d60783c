import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type RangeChange, RangeTable } from '../../src/firewall/range-table.js';
import { type Block, compareRanges, type RuleRange, rangeOf, ruleRanges } from '../../src/firewall/ranges.js';
import {
  cidrContains,
  cidrOf,
  cidrWithin,
  formatCidr,
  parseAddress,
  parseCidr,
} from '../../src/model/address.js';
import { finish } from '../../src/work/steps.js';
import { prefixLengthsOf } from '../support/prefix-lengths.js';

interface Rule {
  readonly id: number;
  readonly blocks: readonly Block[];
  readonly ranges: readonly RuleRange[];
}

function rule(id: number, ...blocks: Block[]): Rule {
  return { id, blocks, ranges: ruleRanges(blocks) };
}

/** Whether a block applies to a range, as its definition says. */
function blockApplies({ cidr, except = [] }: Block, range: string): boolean {
  const inside = (whole: string) => cidrWithin(parseCidr(range), parseCidr(whole));
  return inside(cidr) && !except.some(inside);
}

function named({ blocks }: Rule): string[] {
  return blocks.flatMap(({ cidr, except = [] }) => [cidr, ...except]);
}

/** Everything that a table must hold: each range that a rule names, with the rules that apply to it. */
function naive(rules: readonly Rule[]): Record<string, number[]> {
  const texts = new Set(rules.flatMap(named));
  const applying = (text: string) =>
    rules.filter(({ blocks }) => blocks.some((block) => blockApplies(block, text))).map(({ id }) => id);
  return Object.fromEntries([...texts].map((text) => [text, applying(text).sort()]));
}

function contents(table: RangeTable<Rule>): Record<string, number[]> {
  return Object.fromEntries(
    [...table].map(({ range, rules }) => [range.text, rules.map(({ id }) => id).sort()]),
  );
}

/** The pairs of range and rule that apply, kept by what the table tells of its changes. */
class Follower {
  readonly pairs = new Set<string>();
  readonly ranges = new Set<string>();

  follow(change: RangeChange<Rule> | undefined, added: boolean): void {
    for (const { text } of change?.ranges ?? []) this.#change(this.ranges, text, added);
    for (const { rule: of, range } of change?.rules ?? [])
      this.#change(this.pairs, `${range.text} ${of.id}`, added);
  }

  #change(set: Set<string>, item: string, added: boolean): void {
    // What is told twice, or taken back without having been told, would be a map entry too many or too few.
    expect(set.has(item)).toBe(!added);
    if (added) set.add(item);
    else set.delete(item);
  }
}

/** Few bits differ, so that ranges nest, repeat and stand side by side. */
const cidr = fc.oneof(
  fc
    .record({
      bits: fc.integer({ min: 0, max: 63 }),
      prefixLength: fc.constantFrom(0, 1, 7, 8, 9, 26, 28, 31, 32),
    })
    .map(({ bits, prefixLength }) => {
      const value = (10n << 24n) | (BigInt(bits & 7) << 23n) | BigInt(bits);
      return formatCidr(cidrOf({ family: 4, value }, prefixLength));
    }),
  fc
    .record({ bits: fc.integer({ min: 0, max: 15 }), prefixLength: fc.constantFrom(0, 8, 64, 126, 128) })
    .map(({ bits, prefixLength }) => {
      const value = (0xfdn << 120n) | (BigInt(bits & 3) << 63n) | BigInt(bits);
      return formatCidr(cidrOf({ family: 6, value }, prefixLength));
    }),
);

const block: fc.Arbitrary<Block> = fc.tuple(cidr, fc.array(cidr, { maxLength: 4 })).map(([whole, parts]) => ({
  cidr: whole,
  except: parts.filter(
    (part) =>
      cidrWithin(parseCidr(part), parseCidr(whole)) &&
      parseCidr(part).prefixLength > parseCidr(whole).prefixLength,
  ),
}));

const blocks = fc.array(block, { minLength: 1, maxLength: 4 });

test('a rule names each of its ranges once, in order, and applies where one of its blocks does', () => {
  fc.assert(
    fc.property(blocks, (given) => {
      const ranges = ruleRanges(given);
      expect(ranges.map(({ range }) => range.text)).toEqual(
        [...new Set(named(rule(0, ...given)))].sort((left, right) =>
          compareRanges(rangeOf(left), rangeOf(right)),
        ),
      );
      for (const { range, applies } of ranges) {
        expect([range.text, applies]).toEqual([
          range.text,
          given.some((one) => blockApplies(one, range.text)),
        ]);
      }
    }),
  );
});

test('whatever rules come and go, a table holds what evaluating the rest gives, and tells each difference once', () => {
  const step = fc.record({ id: fc.integer({ min: 0, max: 6 }), come: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(blocks, { minLength: 7, maxLength: 7 }),
      fc.array(step, { maxLength: 25 }),
      (given, steps) => {
        const rules = given.map((one, id) => rule(id, ...one));
        const table = new RangeTable<Rule>();
        const present = new Map<number, Rule>();
        const follower = new Follower();
        for (const { id, come } of steps) {
          const one = rules[id];
          if (one === undefined) throw new Error(`there is no rule ${id}`);
          const earlier = { kept: table.ranges, copied: [...table.ranges] };
          const change = finish(come ? table.add(one) : table.remove(one));
          expect(earlier.kept).toEqual(earlier.copied);
          const order = table.ranges.map(({ range }) => range);
          expect(order).toEqual([...order].sort(compareRanges));
          expect(change === undefined).toBe(present.has(id) === come);
          follower.follow(change, come);
          if (come) present.set(id, one);
          else present.delete(id);
          const wanted = naive([...present.values()]);
          expect(contents(table)).toEqual(wanted);
          expect(table.lengths).toEqual(prefixLengthsOf(Object.keys(wanted)));
          expect(table.size).toBe(Object.keys(wanted).length);
          expect([...follower.ranges].sort()).toEqual(Object.keys(wanted).sort());
          expect(follower.pairs.size).toBe(Object.values(wanted).flat().length);
        }
      },
    ),
    { numRuns: 100 },
  );
});

test('the narrowest range around an address has exactly the rules whose blocks hold the address', () => {
  const address = fc.tuple(cidr, fc.integer({ min: 0, max: 3 })).map(([text, offset]) => {
    const { family, base } = parseCidr(text);
    return { family, value: base + BigInt(offset) };
  });
  fc.assert(
    fc.property(fc.array(blocks, { maxLength: 5 }), fc.array(address), (given, addresses) => {
      const table = new RangeTable<Rule>();
      const rules = given.map((one, id) => rule(id, ...one));
      for (const one of rules) finish(table.add(one));
      for (const one of addresses) {
        const around = [...table].filter(({ range }) => cidrContains(range, one));
        const found = around.at(-1)?.rules.map(({ id }) => id) ?? [];
        const holds = (text: string) => cidrContains(parseCidr(text), one);
        const wanted = rules.filter((of) =>
          of.blocks.some(({ cidr: whole, except = [] }) => holds(whole) && !except.some(holds)),
        );
        expect(found.sort()).toEqual(wanted.map(({ id }) => id));
      }
    }),
  );
});

test('a rule that comes or goes touches the ranges inside its own blocks and no others', () => {
  const table = new RangeTable<Rule>();
  const world = rule(0, { cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '172.16.0.0/12'] });
  finish(table.add(world));
  for (let id = 1; id < 200; id += 1) finish(table.add(rule(id, { cidr: `192.168.${id}.0/24` })));
  const one = rule(200, { cidr: '192.168.7.0/25', except: ['192.168.7.1/32'] });
  const change = finish(table.add(one));
  expect(change?.ranges.map(({ text }) => text)).toEqual(['192.168.7.0/25', '192.168.7.1/32']);
  // The rules of the ranges around it, and itself.
  const pairs = change?.rules.map(({ rule: { id }, range }) => `${range.text} ${id}`).sort();
  expect(pairs).toEqual([
    '192.168.7.0/25 0',
    '192.168.7.0/25 200',
    '192.168.7.0/25 7',
    '192.168.7.1/32 0',
    '192.168.7.1/32 7',
  ]);
  const back = finish(table.remove(one));
  expect(back?.rules).toHaveLength(5);
  expect(back?.ranges.map(({ text }) => text)).toEqual(['192.168.7.0/25', '192.168.7.1/32']);
});

test('a range keeps its rules until the last rule that names it is gone', () => {
  const table = new RangeTable<Rule>();
  const wide = rule(1, { cidr: '10.0.0.0/8' });
  const twice = [
    rule(2, { cidr: '10.1.0.0/16' }),
    rule(3, { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }),
  ] as const;
  for (const one of [wide, ...twice]) finish(table.add(one));
  expect(contents(table)).toEqual({ '10.0.0.0/8': [1, 3], '10.1.0.0/16': [1, 2] });
  finish(table.remove(twice[0]));
  expect(contents(table)).toEqual({ '10.0.0.0/8': [1, 3], '10.1.0.0/16': [1] });
  finish(table.remove(twice[1]));
  expect(contents(table)).toEqual({ '10.0.0.0/8': [1] });
});

test('blocks that are given again, and exceptions inside exceptions, change nothing', () => {
  const once: Block = { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] };
  const nested: Block = { cidr: '10.0.0.0/8', except: ['10.1.2.0/24', '10.1.0.0/16'] };
  const applying = (...given: Block[]) =>
    ruleRanges(given).flatMap(({ range, applies }) => (applies ? [range.text] : []));
  expect(applying(once, once)).toEqual(['10.0.0.0/8']);
  expect(applying(nested)).toEqual(['10.0.0.0/8']);
  expect(applying(nested, { cidr: '10.1.2.0/24' })).toEqual(['10.0.0.0/8', '10.1.2.0/24']);
});

test('addresses of one family are in no range of the other', () => {
  const table = new RangeTable<Rule>();
  finish(table.add(rule(1, { cidr: '::/0' })));
  finish(table.add(rule(2, { cidr: '0.0.0.0/0' })));
  expect(contents(table)).toEqual({ '::/0': [1], '0.0.0.0/0': [2] });
  expect(cidrContains(rangeOf('::/0'), parseAddress('198.18.0.1'))).toBe(false);
});

test('many rules of some ranges each compare what they name, not what the others do, each time that one comes or goes', () => {
  let looks = 0;
  const counted = (one: Rule): Rule => ({
    ...one,
    ranges: one.ranges.map(({ range, applies }) => ({
      range: {
        ...range,
        get base() {
          looks += 1;
          return range.base;
        },
      },
      applies,
    })),
  });
  const rules = [...Array(512).keys()].map((id) => {
    const parts = [...Array(16).keys()].map(
      (part): Block => ({ cidr: `${10 + (id >> 8)}.${id & 255}.${part}.0/24` }),
    );
    return counted(rule(id, ...parts));
  });
  const table = new RangeTable<Rule>();
  for (const one of rules) finish(table.add(one));
  for (const one of rules) finish(table.remove(one));
  expect(table.size).toBe(0);
  const ranges = 512 * 16;
  expect(looks).toBeLessThan(64 * ranges * Math.log2(ranges));
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maglevTable, smallerSize, tableSize } from '../../src/nat/maglev.js';

const namesOf = (count: number) =>
  Array.from({ length: count }, (_, index) => `10.0.${index >> 8}.${index & 255}:80`);
const byName = (names: readonly string[], table: Uint32Array) => Array.from(table, (index) => names[index]);

const counts = fc.integer({ min: 2, max: 120 });

describe('a table', () => {
  it('has at least 100 slots for each backend, one for a single one, and none for none', () => {
    fc.assert(fc.property(counts, (count) => tableSize(count) >= 100 * count));
    expect([tableSize(0), tableSize(1)]).toEqual([0, 1]);
  });

  it('has a size that every step width goes through whole: a prime', () => {
    const sizes = [2, 3, 5, 9, 17, 34, 67, 134, 268, 536, 1071, 2141, 4282, 8564, 17128, 34255].map((count) =>
      tableSize(count),
    );
    expect(new Set(sizes).size).toBeGreaterThan(12);
    for (const size of sizes) expect(divisorOf(size)).toBeUndefined();
  });

  it('keeps its size while it is large enough, and has no more than it needs when one backend is left', () => {
    expect(tableSize(3, 1669)).toBe(1669);
    expect(tableSize(20, 1669)).toBe(3343);
    expect(tableSize(1, 1669)).toBe(1);
  });

  it('gets by with less, down to a slot for each backend', () => {
    expect(smallerSize(839, 8)).toBe(421);
    expect(smallerSize(421, 250)).toBeUndefined();
    expect(smallerSize(1, 1)).toBeUndefined();
  });

  it('gives all backends the same number of slots, give or take one', () => {
    fc.assert(
      fc.property(counts, (count) => {
        const table = maglevTable(namesOf(count), tableSize(count));
        const shares = sharesOf(count, table);
        return Math.max(...shares) - Math.min(...shares) <= 1;
      }),
    );
  });

  it('is the same in whatever order the backends are told', () => {
    fc.assert(
      fc.property(
        counts.chain((count) => fc.shuffledSubarray(namesOf(count), { minLength: 2 })),
        (names) => {
          const sorted = names.toSorted();
          const size = tableSize(names.length);
          expect(byName(names, maglevTable(names, size))).toEqual(byName(sorted, maglevTable(sorted, size)));
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('when a backend goes', () => {
  it('at most one per cent of the flows move that need not', () => {
    fc.assert(
      fc.property(counts, fc.nat(), (count, which) => {
        const names = namesOf(count);
        const gone = names[which % count] as string;
        const rest = names.filter((name) => name !== gone);
        const size = tableSize(count);
        const before = byName(names, maglevTable(names, size));
        const after = byName(rest, maglevTable(rest, size, before));
        const moved = before.filter((name, slot) => name !== gone && name !== after[slot]).length;
        expect(moved).toBeLessThanOrEqual(size / 100);
        const shares = sharesOf(rest.length, maglevTable(rest, size, before));
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe('when a backend comes', () => {
  it('flows move to it alone, and no more than its share', () => {
    fc.assert(
      fc.property(counts, (count) => {
        const names = namesOf(count + 1);
        const size = tableSize(count + 1);
        const old = names.slice(0, count);
        const before = byName(old, maglevTable(old, size));
        const after = byName(names, maglevTable(names, size, before));
        const moved = after.filter((name, slot) => name !== before[slot]);
        expect(new Set(moved)).toEqual(new Set([names[count]]));
        expect(Math.abs(moved.length - size / (count + 1))).toBeLessThan(1);
      }),
    );
  });
});

function sharesOf(count: number, table: Uint32Array): number[] {
  const shares = new Array(count).fill(0);
  for (const index of table) shares[index]++;
  return shares;
}

function divisorOf(number: number): number | undefined {
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return divisor;
  return undefined;
}

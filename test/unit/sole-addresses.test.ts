/** Which addresses are in a range and in no narrower one, as found by looking at every address. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compareRanges, type Range, rangeOf } from '../../src/firewall/ranges.js';
import { soleAddresses, Taken } from '../../src/firewall/sole-addresses.js';
import {
  type Cidr,
  cidrOf,
  cidrSize,
  type Family,
  formatAddress,
  formatCidr,
  parseCidr,
} from '../../src/model/address.js';

/** All addresses that are looked at: so many, in a range of each family. */
const WORLD = { 4: parseCidr('203.0.113.0/27'), 6: parseCidr('2001:db8::/123') } as const;
const FAMILIES = [4, 6] as const;

const cidr: fc.Arbitrary<Cidr> = fc
  .tuple(fc.constantFrom(...FAMILIES), fc.nat(31), fc.nat(5))
  .map(([family, offset, length]) =>
    cidrOf({ family, value: WORLD[family].base + BigInt(offset) }, WORLD[family].prefixLength + length),
  );

const rangesOf = (cidrs: readonly Cidr[]) =>
  [...new Set(cidrs.map(formatCidr))]
    .map((text) => ({ range: rangeOf(text) }))
    .sort((left, right) => compareRanges(left.range, right.range));

const addressesOf = ({ family, base, ...cidr }: Cidr) =>
  [...Array(Number(cidrSize({ family, base, ...cidr }))).keys()].map((offset) => ({
    family,
    value: base + BigInt(offset),
  }));

const holds = (outer: Range, value: bigint) => value >= outer.base && value <= outer.last;

/** The first of a range that is in none that is narrower and not taken. */
function sole(range: Range, ranges: readonly { range: Range }[], taken: readonly { range: Range }[]) {
  const found = addressesOf(range).find(
    ({ family, value }) =>
      !taken.some((one) => one.range.family === family && holds(one.range, value)) &&
      !ranges.some(
        (one) =>
          one.range.family === family &&
          one.range.prefixLength > range.prefixLength &&
          holds(one.range, value),
      ),
  );
  return found && formatAddress(found);
}

it('of every range it is the first that no narrower range has, and nobody has taken', () => {
  const seen = { found: 0, none: 0, first: 0 };
  fc.assert(
    fc.property(fc.array(cidr, { maxLength: 14 }), fc.array(cidr, { maxLength: 4 }), (named, taken) => {
      const ranges = rangesOf(named);
      const all = [...soleAddresses(ranges, new Taken(taken))];
      const told = all.flatMap(({ of, address }) =>
        of === undefined ? [] : [[of.range.text, address && formatAddress(address)] as const],
      );
      const wanted = ranges.map(({ range }) => [range.text, sole(range, ranges, rangesOf(taken))] as const);
      expect(new Map(told)).toEqual(new Map(wanted));
      expect(told).toHaveLength(ranges.length);
      for (const [text, address] of wanted) {
        seen[address === undefined ? 'none' : 'found'] += 1;
        if (address !== undefined && !text.startsWith(`${address}/`)) seen.first += 1;
      }
      expect(all.filter(({ of }) => of === undefined).map(({ family }) => family)).toEqual([4, 6]);
    }),
    { numRuns: 500 },
  );
  expect(Math.min(seen.found, seen.none, seen.first)).toBeGreaterThan(100);
});

const outside = (named: string[], taken: string[] = []) =>
  Object.fromEntries(
    [
      ...soleAddresses(
        rangesOf(named.map((text) => parseCidr(text))),
        new Taken(taken.map((text) => parseCidr(text))),
      ),
    ]
      .filter(({ of }) => of === undefined)
      .map(({ family, address }) => [family, address && formatAddress(address)]),
  ) as Record<Family, string | undefined>;

it('what is around all ranges is what none has, in each family', () => {
  expect(outside([])).toEqual({ 4: '0.0.0.0', 6: '::' });
  expect(outside(['0.0.0.0/1', '::/16'], ['128.0.0.0/2', '1::/16'])).toEqual({ 4: '192.0.0.0', 6: '2::' });
  expect(outside(['0.0.0.0/0', '8000::/1'], ['::/1'])).toEqual({ 4: undefined, 6: undefined });
});

it('addresses of IPv4 are none of IPv6', () => {
  const before = [...Array(16).keys()].map((bit) => {
    const value = bit === 0 ? 0n : ((1n << BigInt(bit)) - 1n) << BigInt(48 - bit);
    return formatCidr({ family: 6, base: value, prefixLength: 81 + bit });
  });
  expect(outside(before)).toEqual({ 4: '0.0.0.0', 6: '::1:0:0:0' });
});

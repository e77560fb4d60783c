/** Which addresses of ranges are in no narrower range, found for all ranges in one go through them. */
import { type Address, type Cidr, cidrSize, type Family, parseCidr } from '../model/address.js';
import { compareRanges, type Range } from './ranges.js';

/** Of a range, or of all that no range is around (undefined), an address that is in no narrower one and not taken. */
export interface SoleAddress<Ranged> {
  readonly family: Family;
  readonly of: Ranged | undefined;
  /** The first of them; undefined: there is none. */
  readonly address: Address | undefined;
}

const EVERYWHERE: Readonly<Record<Family, Cidr>> = { 4: parseCidr('0.0.0.0/0'), 6: parseCidr('::/0') };
const FAMILIES = [4, 6] as const;

/** In the 16 bytes of the maps these are those of IPv4 (RFC 4291, 2.5.5.2): no packet of IPv6 has one. */
const MAPPED: Cidr = { family: 6, base: 0xffffn << 32n, prefixLength: 96 };

/** A range that others may still be found inside of. */
interface Open<Ranged> {
  /** Undefined: it stands for what is around all ranges, or for taken addresses. */
  readonly of: Ranged | undefined;
  readonly last: bigint;
  /** The first address that is in none of those that were found inside; past the last one where all are. */
  sole: bigint;
  /** Nothing in it is to be found. */
  readonly isTaken: boolean;
}

/**
 * Each range once, and in each family what is around all. `ranges` in the order of compareRanges(), each once; `taken` in
 * any. Costs the sum of both.
 */
export function* soleAddresses<Ranged extends { readonly range: Range }>(
  ranges: readonly Ranged[],
  taken: readonly Cidr[],
): Iterable<SoleAddress<Ranged>> {
  const sorted = [...taken, MAPPED].sort(compareRanges);
  let nextRange = 0;
  let nextTaken = 0;
  for (const family of FAMILIES) {
    const around: Open<Ranged> = {
      of: undefined,
      last: lastOf(EVERYWHERE[family]),
      sole: 0n,
      isTaken: false,
    };
    const open: Open<Ranged>[] = [];
    let top = around;
    const enter = (base: bigint, last: bigint, of: Ranged | undefined) => {
      if (top.sole === base) top.sole = last + 1n;
      open.push(top);
      top = { of, last, sole: base, isTaken: of === undefined || top.isTaken };
    };
    for (;;) {
      const ranged = ranges[nextRange];
      const range = ranged?.range.family === family ? ranged.range : undefined;
      const cidr = sorted[nextTaken]?.family === family ? sorted[nextTaken] : undefined;
      // Of equal ones first what is taken: nothing of the other is left then.
      const isTaken = cidr !== undefined && (range === undefined || compareRanges(cidr, range) <= 0);
      const base = isTaken ? cidr.base : range?.base;
      for (let outer = open.at(-1); outer !== undefined; outer = open.at(-1)) {
        if (base !== undefined && base <= top.last) break;
        if (top.of !== undefined) yield soleOf(family, top);
        open.pop();
        top = outer;
      }
      if (isTaken) {
        nextTaken += 1;
        enter(cidr.base, lastOf(cidr), undefined);
      } else if (range !== undefined) {
        nextRange += 1;
        enter(range.base, range.last, ranged);
      } else break;
    }
    yield soleOf(family, around);
  }
}

function soleOf<Ranged>(family: Family, { of, last, sole, isTaken }: Open<Ranged>): SoleAddress<Ranged> {
  return { family, of, address: isTaken || sole > last ? undefined : { family, value: sole } };
}

function lastOf(cidr: Cidr): bigint {
  return cidr.base + cidrSize(cidr) - 1n;
}

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

/** Addresses that are not to be found, sorted once for any number of searches. */
export class Taken {
  /** Apart from each other, in their order. */
  readonly #spans: Readonly<Record<Family, { readonly first: bigint; last: bigint }[]>> = { 4: [], 6: [] };

  /** `cidrs` in any order. */
  constructor(cidrs: readonly Cidr[]) {
    for (const cidr of [...cidrs, MAPPED].sort(compareRanges)) {
      const spans = this.#spans[cidr.family];
      const before = spans.at(-1);
      const last = lastOf(cidr);
      if (before === undefined || before.last + 1n < cidr.base) spans.push({ first: cidr.base, last });
      else if (before.last < last) before.last = last;
    }
  }

  /** The first that is not taken from an address on; past the last one of the family: all are. */
  from(family: Family, address: bigint): bigint {
    const spans = this.#spans[family];
    let [low, high] = [0, spans.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((spans[middle]?.last ?? 0n) < address) low = middle + 1;
      else high = middle;
    }
    const span = spans[low];
    return span !== undefined && span.first <= address ? span.last + 1n : address;
  }
}

/** A range that others may still be found inside of. */
interface Open<Ranged> {
  /** Undefined: it stands for what is around all ranges. */
  readonly of: Ranged | undefined;
  readonly last: bigint;
  /** The first address that is in none of those that were found inside, nor taken; past the last one where none is left. */
  sole: bigint;
}

/**
 * Each range once, and in each family what is around all. `ranges` in the order of compareRanges(), each once. Costs their
 * number, however many are taken, but for the logarithm of that.
 */
export function* soleAddresses<Ranged extends { readonly range: Range }>(
  ranges: readonly Ranged[],
  taken: Taken,
): Iterable<SoleAddress<Ranged>> {
  let next = 0;
  for (const family of FAMILIES) {
    const around: Open<Ranged> = {
      of: undefined,
      last: lastOf(EVERYWHERE[family]),
      sole: taken.from(family, 0n),
    };
    const open: Open<Ranged>[] = [];
    let top = around;
    for (;;) {
      const ranged = ranges[next];
      const range = ranged?.range.family === family ? ranged.range : undefined;
      for (let outer = open.at(-1); outer !== undefined; outer = open.at(-1)) {
        if (range !== undefined && range.base <= top.last) break;
        yield soleOf(family, top);
        open.pop();
        top = outer;
      }
      if (range === undefined) break;
      next += 1;
      const { base, last } = range;
      if (top.sole >= base && top.sole <= last) top.sole = taken.from(family, last + 1n);
      open.push(top);
      top = { of: ranged, last, sole: taken.from(family, base) };
    }
    yield soleOf(family, around);
  }
}

function soleOf<Ranged>(family: Family, { of, last, sole }: Open<Ranged>): SoleAddress<Ranged> {
  return { family, of, address: sole > last ? undefined : { family, value: sole } };
}

function lastOf(cidr: Cidr): bigint {
  return cidr.base + cidrSize(cidr) - 1n;
}

/** Which addresses of a party the rules of the other side tell apart. */
import { type Address, type Family, formatAddress } from '../model/address.js';
import { type Steps, stepping } from '../work/steps.js';
import type { PacketPeer } from './lookup.js';
import type { PreviewSide } from './preview-side.js';
import type { Party, PreviewEndpoint, PreviewIdentity, PreviewInput, Side } from './preview-types.js';
import { firstFrom } from './range-nodes.js';
import { isWithin, type Range, rangeOf } from './ranges.js';
import { soleAddresses, Taken } from './sole-addresses.js';

const EVERYWHERE: Readonly<Record<Family, Range>> = { 4: rangeOf('0.0.0.0/0'), 6: rangeOf('::/0') };
/** Addresses that are told of a party where only some of its are meant, and exceptions of a range. */
export const ADDRESSES_TOLD = 16;
/** Ranges of one side that are looked at for the outside. */
const RANGES_MAX = 512;

/** Addresses of a party about which all rules involved say the same, by one of them. */
export interface Variant {
  readonly peer: PacketPeer;
  readonly addresses: string[];
  /** Of the outside: this range but for the exceptions, which rules say something else of. */
  readonly range?: { readonly range: string; readonly except?: readonly string[] };
  /** Names of its ports that rules involved use. */
  readonly ports: PreviewEndpoint['ports'];
}

export class Variants {
  readonly #host: readonly string[];
  readonly #inside: Taken;
  readonly #outsideOf: Readonly<Record<Family, WeakMap<PreviewSide, Variant[]>>> = {
    4: new WeakMap(),
    6: new WeakMap(),
  };
  /** Something was left out. */
  isIncomplete = false;

  constructor({ host, inside }: Pick<PreviewInput, 'host' | 'inside'>) {
    this.#host = host;
    this.#inside = new Taken(inside);
  }

  /** The variants of a party as the rules of the other side tell them apart. */
  *of(party: Party, family: Family, judge: Side, names: ReadonlySet<string>): Steps<Variant[]> {
    if (party === 'world') return yield* this.#outside(family, judge);
    const endpoints = party === 'host' ? [{ addresses: this.#host, ports: [] }] : party.endpoints;
    const variants = new Map<string, Variant>();
    for (const { addresses, ports } of endpoints) {
      yield;
      const named = ports.filter(({ name }) => names.has(name));
      for (const address of addresses) {
        if (familyOf(address) !== family) continue;
        const key = JSON.stringify([judge?.rangeAround(address) ?? '', named]);
        const known = variants.get(key);
        if (known !== undefined) known.addresses.push(address);
        else variants.set(key, { peer: peerOf(party, address), addresses: [address], ports: named });
      }
    }
    return [...variants.values()];
  }

  /** The same each time that a side is asked. */
  *#outside(family: Family, judge: Side): Steps<Variant[]> {
    if (judge === undefined) return yield* this.#findOutside(family, []);
    const known = this.#outsideOf[family].get(judge) ?? (yield* this.#findOutside(family, judge.ranges));
    this.#outsideOf[family].set(judge, known);
    return known;
  }

  *#findOutside(family: Family, ranges: PreviewSide['ranges']): Steps<Variant[]> {
    const places = new Map<unknown, number>();
    yield* stepping(ranges, (ranged) => places.set(ranged, places.size));
    /** By place; first who is in no range. */
    const found = new Map<number, Address>();
    yield* stepping(soleAddresses(ranges, this.#inside), ({ family: of, of: ranged, address }) => {
      if (of !== family || address === undefined) return;
      if (ranged !== undefined && found.size > RANGES_MAX) this.isIncomplete = true;
      else found.set(places.get(ranged) ?? -1, address);
    });
    return [...found]
      .sort(([left], [right]) => left - right)
      .map(([place, address]) => {
        const range = ranges[place]?.range ?? EVERYWHERE[family];
        const except = widestInside(range, ranges, place + 1).map(({ text }) => text);
        return {
          peer: { kind: 'world', address: formatAddress(address) },
          addresses: [],
          range: { range: range.text, ...(except.length === 0 ? {} : { except }) },
          ports: [],
        };
      });
  }
}

function peerOf(party: PreviewIdentity | 'host', address: string): PacketPeer {
  if (party === 'host') return { kind: party, address };
  return { kind: 'identity', id: party.id, network_id: party.network_id, address };
}

function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/**
 * Of the ranges inside of one the first, without those that are inside of others of them. In `ranges`, in the order of
 * compareRanges(), they stand in a row from `first` on, or behind those of the other family.
 */
function widestInside(outer: Range, ranges: readonly { readonly range: Range }[], first: number): Range[] {
  const found: Range[] = [];
  let place = Math.max(first, firstFrom(ranges, outer));
  while (found.length < ADDRESSES_TOLD) {
    const range = ranges[place]?.range;
    if (range === undefined || !isWithin(range, outer)) break;
    found.push(range);
    place = firstFrom(ranges, { ...range, base: range.last + 1n, prefixLength: 0 });
  }
  return found;
}

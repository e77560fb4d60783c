/** Which addresses of a party the rules of the other side tell apart. */
import {
  type Cidr,
  cidrWithin,
  type Family,
  formatAddress,
  formatCidr,
  parseCidr,
} from '../model/address.js';
import type { PacketPeer } from './lookup.js';
import { addressOutside, type PreviewSide } from './preview-side.js';
import type { Party, PreviewEndpoint, PreviewIdentity, PreviewInput, Side } from './preview-types.js';
import { compareRanges } from './ranges.js';

const EVERYWHERE: Readonly<Record<Family, Cidr>> = { 4: parseCidr('0.0.0.0/0'), 6: parseCidr('::/0') };
/** Addresses that are told of a party where only some of its are meant, and exceptions of a range. */
export const ADDRESSES_TOLD = 16;
/** Ranges of one side that are looked at for the outside; each costs as much as there are. */
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
  /** In the order of their bases. */
  readonly #inside: readonly Cidr[];
  readonly #outsideOf: Readonly<Record<Family, WeakMap<PreviewSide, Variant[]>>> = {
    4: new WeakMap(),
    6: new WeakMap(),
  };
  /** Something was left out. */
  isIncomplete = false;

  constructor({ host, inside }: Pick<PreviewInput, 'host' | 'inside'>) {
    this.#host = host;
    this.#inside = [...inside].sort(compareRanges);
  }

  /** The variants of a party as the rules of the other side tell them apart. */
  of(party: Party, family: Family, judge: Side, names: ReadonlySet<string>): Variant[] {
    if (party === 'world') return this.#outside(family, judge);
    const endpoints = party === 'host' ? [{ addresses: this.#host, ports: [] }] : party.endpoints;
    const variants = new Map<string, Variant>();
    for (const { addresses, ports } of endpoints) {
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
  #outside(family: Family, judge: Side): Variant[] {
    if (judge === undefined) return this.#findOutside(family, []);
    const known = this.#outsideOf[family].get(judge) ?? this.#findOutside(family, judge.ranges);
    this.#outsideOf[family].set(judge, known);
    return known;
  }

  #findOutside(family: Family, all: readonly Cidr[]): Variant[] {
    const named = all.filter((range) => range.family === family);
    const sorted = [...named].sort(compareRanges);
    const places = new Map(sorted.map((range, place) => [range, place]));
    if (named.length > RANGES_MAX) this.isIncomplete = true;
    const everywhere = EVERYWHERE[family];
    const ranges = [
      ...(named.some(({ prefixLength }) => prefixLength === 0) ? [] : [everywhere]),
      ...named.slice(0, RANGES_MAX),
    ];
    return ranges.flatMap((range) => {
      const narrower = widestInside(range, sorted, (places.get(range) ?? -1) + 1);
      const address = addressOutside(range, [...narrower, ...this.#inside].sort(compareRanges));
      if (address === undefined) return [];
      const except = narrower.slice(0, ADDRESSES_TOLD).map(formatCidr);
      return {
        peer: { kind: 'world', address: formatAddress(address) },
        addresses: [],
        range: { range: formatCidr(range), ...(except.length === 0 ? {} : { except }) },
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
 * The ranges inside of one, without those that are inside of others of them. In `sorted`, in the order of compareRanges(),
 * they stand in a row from `first` on.
 */
function widestInside(outer: Cidr, sorted: readonly Cidr[], first: number): Cidr[] {
  const found: Cidr[] = [];
  for (let place = first; place < sorted.length; place += 1) {
    const range = sorted[place];
    if (range === undefined || !cidrWithin(range, outer)) break;
    const last = found.at(-1);
    if (last === undefined || !cidrWithin(range, last)) found.push(range);
  }
  return found;
}

/** One side of what is compared before and after a change of policies: the rules of a subject in one direction. */
import {
  type Address,
  type Cidr,
  cidrContains,
  formatCidr,
  lastAddress,
  parseAddress,
  parseCidr,
} from '../model/address.js';
import { type Decision, decide, type Packet, type RuleTable } from './lookup.js';
import { type Direction, PORT_BITS_NAMED } from './types.js';

const PORT_MAX = 65535;

export class PreviewSide {
  readonly #ranges: readonly Cidr[];
  readonly #boundaries: ReadonlyMap<number, ReadonlySet<number>>;
  readonly #around = new Map<string, string>();
  /** Names of ports that its rules use. */
  readonly names: ReadonlySet<string>;

  constructor(
    readonly subject: number,
    readonly direction: Direction,
    private readonly rules: { readonly before: RuleTable; readonly after: RuleTable },
  ) {
    const tables = [...new Set([rules.before, rules.after])];
    const cidrs = tables.flatMap((table) => table.cidrs).filter((range) => range.direction === direction);
    this.#ranges = [...new Set(cidrs.map(({ cidr }) => cidr))].map((text) => parseCidr(text));
    const names = new Set<string>();
    const boundaries = new Map<number, Set<number>>();
    for (const { protocol, port, portBits, name, audit, ...entry } of tables.flatMap(
      ({ entries }) => entries,
    )) {
      if (entry.direction !== direction || audit || portBits === 0) continue;
      if (name !== undefined) names.add(name);
      if (portBits === PORT_BITS_NAMED) continue;
      const starts = boundaries.get(protocol) ?? new Set();
      boundaries.set(protocol, starts.add(port).add(port + 2 ** (16 - portBits)));
    }
    this.names = names;
    this.#boundaries = boundaries;
  }

  /** Ports at which what the rules say may become another, for a protocol. */
  boundaries(protocol: number): Iterable<number> {
    return this.#boundaries.get(protocol) ?? [];
  }

  get ranges(): readonly Cidr[] {
    return this.#ranges;
  }

  /** The narrowest range around an address that its rules name; empty: there is none. */
  rangeAround(text: string): string {
    if (this.#ranges.length === 0) return '';
    const known = this.#around.get(text);
    if (known !== undefined) return known;
    const address = parseAddress(text);
    let narrowest: Cidr | undefined;
    for (const range of this.#ranges) {
      if (!cidrContains(range, address)) continue;
      if (narrowest === undefined || range.prefixLength > narrowest.prefixLength) narrowest = range;
    }
    const found = narrowest === undefined ? '' : formatCidr(narrowest);
    this.#around.set(text, found);
    return found;
  }

  decide(when: 'before' | 'after', packet: Omit<Packet, 'subject' | 'direction'>): Decision['verdict'] {
    const { subject, direction } = this;
    return decide(this.rules[when], { subject, direction, ...packet }, { audit: false }).verdict;
  }
}

/** First ports of the ranges between two boundaries, from 1 on, in order. */
export function intervalsOf(boundaries: Iterable<number>): number[] {
  const starts = new Set([1]);
  for (const boundary of boundaries) if (boundary >= 1 && boundary <= PORT_MAX) starts.add(boundary);
  return [...starts].sort((left, right) => left - right);
}

/** The ports from one on until before the next, for a reader. */
export function portsText(first: number, last: number): string {
  if (first === 1 && last === PORT_MAX) return 'any';
  return first === last ? String(first) : `${first}-${last}`;
}

export const LAST_PORT = PORT_MAX;

/** An address of the range that is in none of the holes; undefined: they cover it. `holes` in order of their bases. */
export function addressOutside(range: Cidr, holes: readonly Cidr[]): Address | undefined {
  const { family } = range;
  let value = range.base;
  for (const hole of holes) {
    if (hole.family !== family) continue;
    if (hole.base > value) break;
    const last = lastAddress(hole).value;
    if (last >= value) value = last + 1n;
  }
  return value <= lastAddress(range).value ? { family, value } : undefined;
}

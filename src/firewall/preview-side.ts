/** One side of what is compared before and after a change of policies: the rules of a subject in one direction. */
import { parseAddress } from '../model/address.js';
import { type Steps, stepping } from '../work/steps.js';
import { type Decision, decide, type Packet, type RuleTable } from './lookup.js';
import { rangeAround } from './range-nodes.js';
import { compareRanges, type Range } from './ranges.js';
import { type Direction, PORT_BITS_NAMED } from './types.js';

interface Rules {
  readonly before: RuleTable;
  readonly after: RuleTable;
}

/** By protocol. */
type Boundaries = Map<number, Set<number>>;

const PORT_MAX = 65535;

export class PreviewSide {
  /** In the order of compareRanges(), each once. */
  readonly ranges: readonly { readonly range: Range }[];
  readonly #boundaries: ReadonlyMap<number, ReadonlySet<number>>;
  readonly #around = new Map<string, string>();
  /** Names of ports that its rules use. */
  readonly names: ReadonlySet<string>;

  private constructor(
    readonly subject: number,
    readonly direction: Direction,
    private readonly rules: Rules,
    { ranges, names, boundaries }: Pick<PreviewSide, 'ranges' | 'names'> & { boundaries: Boundaries },
  ) {
    this.ranges = ranges;
    this.names = names;
    this.#boundaries = boundaries;
  }

  static *making(subject: number, direction: Direction, rules: Rules): Steps<PreviewSide> {
    const ranges = new Map<string, { readonly range: Range }>();
    const names = new Set<string>();
    const boundaries: Boundaries = new Map();
    for (const table of new Set([rules.before, rules.after])) {
      yield* stepping(table.rangesOf(subject, direction), (range) => ranges.set(range.text, { range }));
      yield* stepping(table.entriesOf(subject), ({ protocol, port, portBits, name, audit, ...entry }) => {
        if (entry.direction !== direction || audit || portBits === 0) return;
        if (name !== undefined) names.add(name);
        if (portBits === PORT_BITS_NAMED) return;
        const starts = boundaries.get(protocol) ?? new Set();
        boundaries.set(protocol, starts.add(port).add(port + 2 ** (16 - portBits)));
      });
    }
    // Of each table they come in order: that is little to do.
    const sorted = [...ranges.values()].sort((left, right) => compareRanges(left.range, right.range));
    return new PreviewSide(subject, direction, rules, { ranges: sorted, names, boundaries });
  }

  /** Ports at which what the rules say may become another, for a protocol. */
  boundaries(protocol: number): Iterable<number> {
    return this.#boundaries.get(protocol) ?? [];
  }

  /** The narrowest range around an address that its rules name; empty: there is none. */
  rangeAround(text: string): string {
    if (this.ranges.length === 0) return '';
    const known = this.#around.get(text);
    if (known !== undefined) return known;
    const found = rangeAround(this.ranges, parseAddress(text))?.text ?? '';
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

/**
 * What a change of policies would change between whom: every pair of parties in which an affected subject takes part,
 * judged by the rules before and by those after. Ports and addresses about which all rules involved say the same
 * are judged once, by one that stands for them.
 */
import type { Steps } from '../work/steps.js';
import type { RuleTable } from './lookup.js';
import { type Outcome, Outcomes } from './preview-outcomes.js';
import { PreviewSide } from './preview-side.js';
import type { Party, Preview, PreviewChange, PreviewInput, PreviewParty, Side } from './preview-types.js';
import { ADDRESSES_TOLD, type Variant, Variants } from './preview-variants.js';
import type { Direction } from './types.js';

const FAMILIES = [4, 6] as const;

interface Found {
  readonly from: Variant;
  readonly to: Variant;
  readonly outcomes: readonly Outcome[];
}

/** Yields often, so that whoever runs it can let others have their turn; the result is what it returns. */
export function* previewChanges(input: PreviewInput): Steps<Preview> {
  const run = new Run(input);
  const changes: PreviewChange[] = [];
  for (const [source, destination] of run.pairs()) {
    yield;
    changes.push(...(yield* run.compare(source, destination)));
    if (changes.length > input.limits.changes || run.isExhausted) {
      return { changes: changes.slice(0, input.limits.changes), truncated: true };
    }
  }
  return { changes, truncated: run.isIncomplete };
}

class Run {
  readonly #input: PreviewInput;
  readonly #sides = new Map<string, PreviewSide>();
  readonly #variants: Variants;
  readonly #outcomes = new Outcomes();

  constructor(input: PreviewInput) {
    this.#input = input;
    this.#variants = new Variants(input);
  }

  get isExhausted(): boolean {
    return this.#outcomes.decisions > this.#input.limits.decisions;
  }

  get isIncomplete(): boolean {
    return this.#variants.isIncomplete;
  }

  /** Each ordered pair in which an affected subject takes part, once. */
  *pairs(): Generator<[Party, Party]> {
    const { identities, affected } = this.#input;
    for (const subject of identities) {
      if (!affected.has(subject.id)) continue;
      for (const other of [...identities, 'host', 'world'] as const) {
        // A container and itself: nothing comes between those.
        if (other === subject && subject.endpoints.length < 2) continue;
        yield [subject, other];
        // The other way round is the other's turn, if it is affected too.
        if (typeof other === 'string' || !affected.has(other.id)) yield [other, subject];
      }
    }
  }

  /** What changes between the two. First without the rules that stay: what those sides say is seldom asked for. */
  *compare(source: Party, destination: Party): Steps<PreviewChange[]> {
    const egress = this.#isAffected(source) ? yield* this.#side(source, 'egress') : undefined;
    const ingress = this.#isAffected(destination) ? yield* this.#side(destination, 'ingress') : undefined;
    let found = yield* this.#find(source, destination, egress, ingress);
    if (found.every(({ outcomes }) => outcomes.length === 0)) return [];
    const whole = [yield* this.#side(source, 'egress'), yield* this.#side(destination, 'ingress')] as const;
    if (whole[0] !== egress || whole[1] !== ingress) {
      found = yield* this.#find(source, destination, ...whole);
    }
    return changesOf(source, destination, found);
  }

  *#find(source: Party, destination: Party, egress: Side, ingress: Side): Steps<Found[]> {
    const found: Found[] = [];
    const names = new Set([egress, ingress].flatMap((side) => [...(side?.names ?? [])]));
    const tellsFamilies =
      names.size > 0 || [egress, ingress].some((side) => side !== undefined && side.ranges.length > 0);
    for (const family of FAMILIES) {
      const sources = yield* this.#variants.of(source, family, ingress, new Set());
      const destinations = yield* this.#variants.of(destination, family, egress, names);
      for (const from of sources) {
        for (const to of destinations) {
          found.push({
            from,
            to,
            outcomes: yield* this.#outcomes.between(family, egress, ingress, from, to),
          });
          if (this.isExhausted) return found;
        }
      }
      // Where rules name neither ranges nor ports, the other family is judged the same.
      if (found.length > 0 && !tellsFamilies) break;
    }
    return found;
  }

  #isAffected(party: Party): boolean {
    return typeof party !== 'string' && this.#input.affected.has(party.id);
  }

  *#side(party: Party, direction: Direction): Steps<Side> {
    if (typeof party === 'string') return undefined;
    const { id } = party;
    const known = this.#sides.get(`${id} ${direction}`);
    if (known !== undefined) return known;
    const side = yield* PreviewSide.making(id, direction, yield* this.#rulesOf(id));
    this.#sides.set(`${id} ${direction}`, side);
    return side;
  }

  *#rulesOf(id: number): Steps<{ readonly before: RuleTable; readonly after: RuleTable }> {
    const changed = this.#input.affected.get(id);
    if (changed !== undefined) return changed;
    const table = yield* this.#input.tableOf(id);
    return { before: table, after: table };
  }
}

/** Where all variants of a party change alike, that is told of it as a whole. */
function changesOf(source: Party, destination: Party, found: readonly Found[]): PreviewChange[] {
  const isWhole = new Set(found.map(({ outcomes }) => JSON.stringify(outcomes))).size === 1;
  const told = isWhole ? found.slice(0, 1) : found;
  const isOne = (variants: readonly Variant[]) => isWhole || new Set(variants.map(textOf)).size === 1;
  const isOneSource = isOne(found.map(({ from }) => from));
  const isOneDestination = isOne(found.map(({ to }) => to));
  return told.flatMap(({ from, to, outcomes }) =>
    outcomes.map((outcome) => ({
      source: partyOf(source, isOneSource ? undefined : from),
      destination: partyOf(destination, isOneDestination ? undefined : to),
      ...outcome,
    })),
  );
}

function textOf({ addresses, range }: Variant): string {
  return JSON.stringify([addresses, range]);
}

/** `variant`: the part of it that is meant; undefined: all of it. */
function partyOf(party: Party, variant: Variant | undefined): PreviewParty {
  if (party === 'world') return { kind: party, ...variant?.range };
  const some = variant === undefined ? {} : { addresses: variant.addresses.slice(0, ADDRESSES_TOLD) };
  return party === 'host' ? { kind: party, ...some } : { kind: 'identity', id: party.id, ...some };
}

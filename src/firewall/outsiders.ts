/** Who outside may come to a subject: one for all of whom its rules say the same. */
import { type Cidr, type Family, formatAddress, parseCidr } from '../model/address.js';
import { type Steps, stepping } from '../work/steps.js';
import { addition } from './addition.js';
import { appendCell, placeAt } from './entries.js';
import { LANES } from './lanes.js';
import { type PacketPeer, peersOf, RuleTable } from './lookup.js';
import type { PeerKey } from './peer-key.js';
import { portKey } from './ports.js';
import { soleAddresses, Taken } from './sole-addresses.js';
import { type RuleTerms, subjectEntry } from './subject.js';
import type { KeptView } from './subject-view.js';
import type { RuleEntry } from './types.js';

export type Outsider = Extract<PacketPeer, { kind: 'world' }> & { readonly family: Family };

export interface Outsiders {
  /** All that the subject's enforced rules say of them. */
  readonly rules: RuleTable;
  readonly all: readonly Outsider[];
}

/** Addresses that nobody sends a packet from (RFC 6890): rules about them let in nobody. */
const NOBODYS = [
  ...['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '255.255.255.255/32'],
  ...['::/128', '::1/128', 'ff00::/8'],
].map((text) => parseCidr(text));

/** What nobody outside has, ready to ask many subjects. `inside`: the addresses of the node and all that is on it. */
export function notOutside(inside: readonly Cidr[]): Taken {
  return new Taken([...inside, ...NOBODYS]);
}

/** Of making an entry and finding a place for it, in what a step is counted in. */
const COST_OF_ENTRY = 4;

/**
 * Of each range that the rules name, and of what is in none, somebody who is in no narrower one, if anybody outside is.
 * `taken`: see notOutside(). Two of whom the rules say the same, be it in other rules, are one.
 */
export function* outsiders(view: KeptView, taken: Taken): Steps<Outsiders> {
  const { id } = view;
  const lanes = LANES.filter(({ direction, audit }) => direction === 'ingress' && !audit).filter((lane) =>
    view.hasRules(lane),
  );
  const cellsOf = (peer: PeerKey) => lanes.map((lane) => view.cell(lane, peer));
  const rules = RuleTable.from({ entries: [], subjects: [subjectEntry(id, view.state)], cidrs: [] });
  /** How many rules there are now of it. */
  const learn = (peer: PeerKey, cells: readonly (readonly RuleTerms[])[]): number => {
    const entries: RuleEntry[] = [];
    for (const [index, lane] of lanes.entries())
      appendCell(placeAt(id, lane, peer), cells[index] ?? [], entries);
    const cidrs =
      typeof peer === 'string' ? [{ subject: id, direction: 'ingress' as const, cidr: peer }] : [];
    rules.apply(addition({ entries, subjects: [], cidrs }));
    return entries.length;
  };
  const all: Outsider[] = [];
  const kinds = new Kinds();
  for (const peer of peersOf({ kind: 'world', address: '' }, undefined)) {
    learn(peer, cellsOf(peer));
    yield;
  }
  let cost = 0;
  const look = (family: Family, address: bigint, text: string | undefined) => {
    const cells = text === undefined ? [] : cellsOf(text);
    for (const { length } of cells) cost += length;
    if (!kinds.isNew(family, cells)) return;
    all.push({ kind: 'world', family, address: formatAddress({ family, value: address }) });
    if (text !== undefined) cost += learn(text, cells) * COST_OF_ENTRY;
  };
  yield* stepping(
    soleAddresses(view.ranges('ingress'), taken),
    ({ family, of, address }) => {
      cost = 1;
      if (address !== undefined) look(family, address.value, of?.range.text);
    },
    () => cost,
  );
  return { rules, all };
}

/** What rules say of a range, one word after the other. */
interface Saying {
  readonly next: Map<number, Saying>;
  isKnown: boolean;
}

/** Ends what the rules of a tier say. */
const END = 0;

/** Rules told apart by what they say alone: whatever packet, where they say the same it has the same verdict. */
class Kinds {
  readonly #begin: Readonly<Record<Family, Saying>> = { 4: nothing(), 6: nothing() };
  readonly #words = new Map<RuleTerms, number>();
  readonly #byText = new Map<string, number>();

  /** `cells`: by tier, always the same ones. */
  isNew(family: Family, cells: readonly (readonly RuleTerms[])[]): boolean {
    let saying = this.#begin[family];
    for (const cell of cells) {
      for (const rule of cell) saying = after(saying, this.#wordOf(rule));
      saying = after(saying, END);
    }
    if (saying.isKnown) return false;
    saying.isKnown = true;
    return true;
  }

  #wordOf(rule: RuleTerms): number {
    const known = this.#words.get(rule);
    if (known !== undefined) return known;
    const { precedence, verdict, ports } = rule;
    const text = `${precedence} ${verdict} ${ports.map(portKey).join()}`;
    const word = this.#byText.get(text) ?? END + 1 + this.#byText.size;
    this.#byText.set(text, word);
    this.#words.set(rule, word);
    return word;
  }
}

function nothing(): Saying {
  return { next: new Map(), isKnown: false };
}

function after(saying: Saying, word: number): Saying {
  const next = saying.next.get(word) ?? nothing();
  saying.next.set(word, next);
  return next;
}

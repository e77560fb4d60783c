/**
 * The two halves of "which selectors match which labels" without trying each with each: labelled things found
 * by selector, and things with a selector found by labels. Both work by one *anchor* of a selector: a
 * requirement that some label value, or some label key, must be there. A selector without any (only NotIn
 * and DoesNotExist, or empty) is tried with everything.
 */
import type { LabelMap, Requirement, Selector } from './selector.js';

interface Posting<Item> {
  readonly all: Set<Item>;
  readonly byValue: Map<string, Set<Item>>;
}

/** Things with labels, found by selector. Their labels must not change while they are inside. */
export class LabelIndex<Item extends { readonly labels: LabelMap }> {
  readonly #items = new Set<Item>();
  readonly #postings = new Map<string, Posting<Item>>();

  get size(): number {
    return this.#items.size;
  }

  add(item: Item): void {
    this.#items.add(item);
    for (const [key, value] of item.labels) {
      const posting = entryOf(this.#postings, key, () => ({ all: new Set(), byValue: new Map() }));
      posting.all.add(item);
      entryOf(posting.byValue, value, () => new Set()).add(item);
    }
  }

  remove(item: Item): void {
    this.#items.delete(item);
    for (const [key, value] of item.labels) {
      const posting = this.#postings.get(key);
      if (posting === undefined) continue;
      posting.all.delete(item);
      const items = posting.byValue.get(value);
      items?.delete(item);
      if (items?.size === 0) posting.byValue.delete(value);
      if (posting.all.size === 0) this.#postings.delete(key);
    }
  }

  /** The items that match, each once. The index must not change while the result is being read. */
  *matching(selector: Selector): Iterable<Item> {
    let candidates: readonly ReadonlySet<Item>[] = [this.#items];
    let least = this.#items.size;
    for (const requirement of selector.requirements) {
      const sets = this.#candidates(requirement);
      if (sets === undefined) continue;
      const count = sets.reduce((sum, set) => sum + set.size, 0);
      if (count < least) [candidates, least] = [sets, count];
    }
    for (const set of candidates) {
      for (const item of set) if (selector.matches(item.labels)) yield item;
    }
  }

  /** Disjoint sets that hold every item for which the requirement holds; undefined: it narrows nothing. */
  #candidates({ key, operator, values }: Requirement): readonly ReadonlySet<Item>[] | undefined {
    if (operator !== 'In' && operator !== 'Exists') return undefined;
    const posting = this.#postings.get(key);
    if (posting === undefined) return [];
    if (operator === 'Exists') return [posting.all];
    return [...values].flatMap((value) => posting.byValue.get(value) ?? []);
  }
}

/** Things with a selector, found by labels. */
export class SelectorIndex<Item> {
  readonly #anchored = new Map<string, Set<Item>>();
  readonly #loose = new Set<Item>();
  /** Selector and anchors of each item; no anchors: it is in #loose. */
  readonly #items = new Map<Item, { selector: Selector; anchors: readonly string[] }>();

  get size(): number {
    return this.#items.size;
  }

  add(item: Item, selector: Selector): void {
    const anchors = this.#leastUsedAnchors(selector);
    this.#items.set(item, { selector, anchors });
    for (const anchor of anchors) entryOf(this.#anchored, anchor, () => new Set()).add(item);
    if (anchors.length === 0) this.#loose.add(item);
  }

  remove(item: Item): void {
    for (const anchor of this.#items.get(item)?.anchors ?? []) {
      const items = this.#anchored.get(anchor);
      items?.delete(item);
      if (items?.size === 0) this.#anchored.delete(anchor);
    }
    this.#loose.delete(item);
    this.#items.delete(item);
  }

  /** The items whose selector matches, each once. The index must not change while the result is being read. */
  *matching(labels: LabelMap): Iterable<Item> {
    yield* this.#matchingOf(this.#loose, labels);
    for (const [key, value] of labels) {
      // An item has anchors of one requirement only, so these never meet the same item twice.
      yield* this.#matchingOf(this.#anchored.get(keyAnchor(key)), labels);
      yield* this.#matchingOf(this.#anchored.get(valueAnchor(key, value)), labels);
    }
  }

  *#matchingOf(items: ReadonlySet<Item> | undefined, labels: LabelMap): Iterable<Item> {
    if (items === undefined) return;
    for (const item of items) if (this.#items.get(item)?.selector.matches(labels) === true) yield item;
  }

  /** A popular label (`tier=backend`) would gather everything under one anchor: take the one least used so far. */
  #leastUsedAnchors(selector: Selector): readonly string[] {
    let best: readonly string[] = [];
    let least = Number.POSITIVE_INFINITY;
    for (const requirement of selector.requirements) {
      const anchors = anchorsOf(requirement);
      const used = anchors.reduce((sum, anchor) => sum + (this.#anchored.get(anchor)?.size ?? 0), 0);
      if (anchors.length > 0 && used < least) [best, least] = [anchors, used];
    }
    return best;
  }
}

/** Whether some label must be there for the selector to match. */
export function isAnchored(selector: Selector): boolean {
  return selector.requirements.some(({ operator }) => operator === 'In' || operator === 'Exists');
}

function anchorsOf({ key, operator, values }: Requirement): readonly string[] {
  if (operator === 'Exists') return [keyAnchor(key)];
  return operator === 'In' ? [...values].map((value) => valueAnchor(key, value)) : [];
}

function keyAnchor(key: string): string {
  return key;
}

/** Neither keys nor values contain "=". */
function valueAnchor(key: string, value: string): string {
  return `${key}=${value}`;
}

function entryOf<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

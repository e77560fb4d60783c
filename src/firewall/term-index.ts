/** Terms, found by the endpoints that they may mean. */
import type { Labelled, Term } from './rules.js';
import type { LabelMap } from './selector.js';
import { isAnchored, SelectorIndex } from './selector-index.js';

/** Nothing here tries an endpoint with every term, or a namespace with every term. */
export class TermIndex<Item extends Term> {
  /** Terms of one namespace, by its name; in it by their selector of pods. */
  readonly #local = new Map<string, SelectorIndex<Item>>();
  /** Every term with a selector of namespaces, by that: for namespaces whose labels change. */
  readonly #wide = new SelectorIndex<Item>();
  /** Of those, for endpoints that come: the ones whose selector of pods asks for a label, by that. */
  readonly #wideByPod = new SelectorIndex<Item>();
  /** And the others, by their selector of namespaces. */
  readonly #wideByNamespace = new SelectorIndex<Item>();

  add(item: Item): void {
    const { namespaces, pods } = item;
    if (typeof namespaces === 'string') {
      const terms = this.#local.get(namespaces) ?? new SelectorIndex<Item>();
      this.#local.set(namespaces, terms);
      terms.add(item, pods);
      return;
    }
    this.#wide.add(item, namespaces);
    if (isAnchored(pods)) this.#wideByPod.add(item, pods);
    else this.#wideByNamespace.add(item, namespaces);
  }

  remove(item: Item): void {
    if (typeof item.namespaces === 'string') {
      const terms = this.#local.get(item.namespaces);
      terms?.remove(item);
      if (terms?.size === 0) this.#local.delete(item.namespaces);
      return;
    }
    this.#wide.remove(item);
    this.#wideByPod.remove(item);
    this.#wideByNamespace.remove(item);
  }

  /** The terms that mean an endpoint, each once. The index must not change while the result is being read. */
  *meaning({ labels, namespace }: Labelled): Iterable<Item> {
    yield* this.#local.get(namespace.name)?.matching(labels) ?? [];
    for (const item of this.#wideByPod.matching(labels)) {
      if (typeof item.namespaces !== 'string' && item.namespaces.matches(namespace.labels)) yield item;
    }
    for (const item of this.#wideByNamespace.matching(namespace.labels)) {
      if (item.pods.matches(labels)) yield item;
    }
  }

  /** The terms whose selector of namespaces matches one set of labels and not another. */
  seeing(labels: LabelMap, butNot: LabelMap): Item[] {
    const others = new Set(this.#wide.matching(butNot));
    return [...this.#wide.matching(labels)].filter((item) => !others.has(item));
  }
}

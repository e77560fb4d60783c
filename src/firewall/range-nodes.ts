/** Ranges in the order of `compareRanges`, each once, with what belongs to each. */
import type { Cidr } from '../model/address.js';
import { compareRanges, type Range } from './ranges.js';

export class RangeNodes<Node extends { readonly range: Range }> {
  #nodes: Node[] = [];
  /** Somebody keeps the array as it is. */
  #isShared = false;

  get length(): number {
    return this.#nodes.length;
  }

  at(index: number): Node | undefined {
    return this.#nodes[index];
  }

  /** Nothing may come or go while it is being read. */
  get asTheyAre(): readonly Node[] {
    return this.#nodes;
  }

  /** The same nodes in the same order, whatever comes and goes later. */
  shared(): readonly Node[] {
    this.#isShared = true;
    return this.#nodes;
  }

  /** Index of the first that is not before the range. */
  firstFrom(range: Cidr): number {
    let low = 0;
    let high = this.#nodes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const node = this.#nodes[middle];
      if (node !== undefined && compareRanges(node.range, range) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** `fresh` is in order, and nothing of it is there. Costs what stands behind the first of them, and no comparing of that. */
  insert(fresh: readonly Node[]): void {
    const places = fresh.map(({ range }) => this.firstFrom(range));
    const nodes = this.#own();
    let from = nodes.length;
    for (const node of fresh) nodes.push(node);
    let to = nodes.length;
    for (let next = fresh.length - 1; next >= 0; next -= 1) {
      for (const place = places[next] ?? 0; from > place; ) move(nodes, --from, --to);
      to -= 1;
      const node = fresh[next];
      if (node !== undefined) nodes[to] = node;
    }
  }

  /** `gone` is in order, and all of it is there. Costs as insert(). */
  delete(gone: readonly Node[]): void {
    const places = gone.map(({ range }) => this.firstFrom(range));
    const nodes = this.#own();
    let to = places[0] ?? nodes.length;
    for (const [index, place] of places.entries()) {
      const end = places[index + 1] ?? nodes.length;
      for (let from = place + 1; from < end; from += 1) move(nodes, from, to++);
    }
    nodes.length = to;
  }

  #own(): Node[] {
    if (this.#isShared) this.#nodes = this.#nodes.slice();
    this.#isShared = false;
    return this.#nodes;
  }
}

function move<T>(things: T[], from: number, to: number): void {
  const thing = things[from];
  if (thing !== undefined) things[to] = thing;
}

/** Ranges in the order of `compareRanges`, each once, with what belongs to each. */
import { type Address, addressBits, type Cidr, cidrOf } from '../model/address.js';
import { compareRanges, isWithin, type Range, type Span } from './ranges.js';

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
    return firstFrom(this.#nodes, range);
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

/** Of nodes in their order, the index of the first that is not before the range. */
export function firstFrom(nodes: readonly { readonly range: Range }[], range: Cidr): number {
  let low = 0;
  let high = nodes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const node = nodes[middle];
    if (node !== undefined && compareRanges(node.range, range) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Of nodes in their order, the narrowest whose range holds one, be it the same. Costs about the logarithm of their number.
 * `index`: of the first node that is not before the range.
 */
export function narrowestAround<Node extends { readonly range: Range }>(
  nodes: readonly Node[],
  range: Span & Cidr,
  index = firstFrom(nodes, range),
): Node | undefined {
  let node = lastUpTo(nodes, range, index);
  while (node !== undefined && !isWithin(range, node.range)) {
    // Nothing between this node and the range holds the range; what does holds both.
    const common = commonRange(node.range, range);
    node = common && lastUpTo(nodes, common, firstFrom(nodes, common));
  }
  return node;
}

/** The narrowest of ranges in their order that an address is in. */
export function rangeAround(
  ranges: readonly { readonly range: Range }[],
  { family, value }: Address,
): Range | undefined {
  const single = { family, base: value, last: value, prefixLength: addressBits(family) };
  return narrowestAround(ranges, single)?.range;
}

/** `index`: of the first that is not before the range. */
function lastUpTo<Node extends { readonly range: Range }>(
  nodes: readonly Node[],
  range: Cidr,
  index: number,
): Node | undefined {
  const found = nodes[index];
  return found !== undefined && compareRanges(found.range, range) === 0 ? found : nodes[index - 1];
}

/** The narrowest range that holds two. */
function commonRange(left: Cidr, right: Cidr): Cidr | undefined {
  if (left.family !== right.family) return undefined;
  const differing = left.base ^ right.base;
  const common = addressBits(left.family) - (differing === 0n ? 0 : differing.toString(2).length);
  const prefixLength = Math.min(common, left.prefixLength, right.prefixLength);
  return cidrOf({ family: left.family, value: left.base }, prefixLength);
}

function move<T>(things: T[], from: number, to: number): void {
  const thing = things[from];
  if (thing !== undefined) things[to] = thing;
}

/** One table in memory: a tree with a level per part of the key, so that a prefix costs only what is below it. */
import type { Key, KeyPart } from './store.js';

type Level = Map<KeyPart, Level | { readonly value: unknown }>;

function isLevel(node: Level | { readonly value: unknown }): node is Level {
  return node instanceof Map;
}

export class MemoryTable {
  readonly #root: Level = new Map();

  get(key: Key): unknown {
    const node = this.#find(key);
    return node === undefined || isLevel(node) ? undefined : node.value;
  }

  set(key: Key, value: unknown): void {
    let level = this.#root;
    for (const part of key.slice(0, -1)) {
      const next = level.get(part);
      if (next !== undefined && isLevel(next)) {
        level = next;
        continue;
      }
      const made: Level = new Map();
      level.set(part, made);
      level = made;
    }
    level.set(lastPart(key), { value });
  }

  /** Removes the record, and the levels that it leaves empty. */
  delete(key: Key): boolean {
    const levels: Level[] = [this.#root];
    for (const part of key.slice(0, -1)) {
      const next = levels.at(-1)?.get(part);
      if (next === undefined || !isLevel(next)) return false;
      levels.push(next);
    }
    if (levels.at(-1)?.delete(lastPart(key)) !== true) return false;
    for (let depth = levels.length - 1; depth > 0 && levels[depth]?.size === 0; depth--) {
      levels[depth - 1]?.delete(key[depth - 1] ?? '');
    }
    return true;
  }

  any(prefix: Key): boolean {
    const node = this.#find(prefix);
    return node !== undefined && (!isLevel(node) || node.size > 0);
  }

  /** Values below the prefix in the order of their keys: numbers before texts, texts by code unit. */
  list(prefix: Key): unknown[] {
    const found: unknown[] = [];
    const walk = (node: Level | { readonly value: unknown }): void => {
      if (!isLevel(node)) {
        found.push(node.value);
        return;
      }
      for (const [, below] of [...node].sort(([left], [right]) => compare(left, right))) walk(below);
    };
    const start = this.#find(prefix);
    if (start !== undefined) walk(start);
    return found;
  }

  /** Values that fit, in any order. */
  where(fits: (value: unknown) => boolean): unknown[] {
    const found: unknown[] = [];
    const walk = (level: Level): void => {
      for (const node of level.values()) {
        if (isLevel(node)) walk(node);
        else if (fits(node.value)) found.push(node.value);
      }
    };
    walk(this.#root);
    return found;
  }

  #find(key: Key): Level | { readonly value: unknown } | undefined {
    let node: Level | { readonly value: unknown } | undefined = this.#root;
    for (const part of key) {
      if (node === undefined || !isLevel(node)) return undefined;
      node = node.get(part);
    }
    return node;
  }
}

function lastPart(key: Key): KeyPart {
  const part = key.at(-1);
  if (part === undefined) throw new TypeError('a key has at least one part');
  return part;
}

function compare(left: KeyPart, right: KeyPart): number {
  if (typeof left === typeof right) return left < right ? -1 : left > right ? 1 : 0;
  return typeof left === 'number' ? -1 : 1;
}

/**
 * Maglev (Eisenbud et al., NSDI 2016): which backend each slot of a table leads to. Every backend has an order of
 * preference among the slots, and they take turns at taking the next one that is free, so that all have the same number of
 * slots, give or take one. The same backends give the same table, anywhere.
 *
 * A table made anew moves one to three per cent of the slots without need when a backend goes. So one that follows another of its
 * size keeps what it can: only slots of a backend that is gone, or that are more than a backend's share, are taken.
 */
import { createHash } from 'node:crypto';

/** How many slots there are for each backend, at least: their shares differ by less than a part of that order. */
const SLOTS_PER_BACKEND = 100;

/** Primes, so that every step width goes through all slots; each about twice the one before. */
const SIZES = [
  211, 421, 839, 1669, 3343, 6689, 13381, 26759, 53527, 107053, 214087, 428173, 856369, 1712707, 3425441,
  6850829,
] as const;

/**
 * Slots of a table for so many backends. `current`: of the table that there is. It is kept when it is large enough: with
 * another size nearly every flow would move.
 */
export function tableSize(backends: number, current = 0): number {
  if (backends < 2) return backends;
  const wanted = backends * SLOTS_PER_BACKEND;
  if (current >= wanted) return current;
  return SIZES.find((size) => size >= wanted) ?? (SIZES.at(-1) as number);
}

/** The next size that takes less room, for when that is short; undefined: none has a slot for each backend. */
export function smallerSize(size: number, backends: number): number | undefined {
  return SIZES.findLast((candidate) => candidate < size && candidate >= backends);
}

/**
 * For each slot the index in `names` of its backend; their order does not matter, and none is there twice. `before`: whom
 * each slot has led to until now, by name.
 */
export function maglevTable(
  names: readonly string[],
  size: number,
  before: readonly (string | undefined)[] = [],
): Uint32Array {
  if (names.length === 0) return new Uint32Array(0);
  const backends = names
    .map((name, index): Backend => ({ name, index, count: 0, ...preference(name, size) }))
    .sort((left, right) => (left.name < right.name ? -1 : 1));
  const owners: (Backend | undefined)[] = new Array(size).fill(undefined);
  if (before.length === size) keep(owners, backends, before);
  fill(owners, backends);
  return Uint32Array.from(owners, (owner) => owner?.index ?? 0);
}

interface Backend {
  readonly name: string;
  readonly index: number;
  /** Slots that it has. */
  count: number;
  /** The slot that it would like next, and how far it is from there to the one after. */
  next: number;
  readonly width: number;
}

function preference(name: string, size: number): { next: number; width: number } {
  const digest = createHash('sha256').update(name).digest();
  const width = size > 1 ? 1 + (digest.readUInt32LE(4) % (size - 1)) : 1;
  return { next: digest.readUInt32LE(0) % size, width };
}

/** Leaves every backend the slots that it has, as far as they are its share. */
function keep(
  owners: (Backend | undefined)[],
  backends: readonly Backend[],
  before: readonly (string | undefined)[],
): void {
  const share = Math.floor(owners.length / backends.length);
  // So many have one more.
  let rest = owners.length % backends.length;
  const byName = new Map(backends.map((backend) => [backend.name, backend]));
  for (const [slot, name] of before.entries()) {
    const owner = name === undefined ? undefined : byName.get(name);
    if (owner === undefined || owner.count > share || (owner.count === share && rest === 0)) continue;
    if (owner.count === share) rest--;
    owners[slot] = owner;
    owner.count++;
  }
}

/** In turns, whoever has the fewest slots first. */
function fill(owners: (Backend | undefined)[], backends: readonly Backend[]): void {
  const size = owners.length;
  let free = owners.filter((owner) => owner === undefined).length;
  for (let level = Math.min(...backends.map(({ count }) => count)); free > 0; level++) {
    for (const backend of backends) {
      if (backend.count > level || free === 0) continue;
      while (owners[backend.next] !== undefined) backend.next = (backend.next + backend.width) % size;
      owners[backend.next] = backend;
      backend.count++;
      free--;
    }
  }
}

/** Choices that are the same in each run with the same seed (mulberry32). */
export type Random = (below: number) => number;

export function random(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) % below;
  };
}

/** Some of them, in their order: at most `size`. */
export function sample<T>(pick: Random, from: readonly T[], size: number): T[] {
  const left = [...from];
  while (left.length > size) left.splice(pick(left.length), 1);
  return left;
}

/**
 * Work in steps, so that whoever runs it can let others have their turn in between. A step is a few microseconds of work
 * or a bounded number of things; what is half done is for nobody else to change meanwhile.
 */
export type Steps<T = void> = Generator<undefined, T, undefined>;

/** Things done before the next step, where each is less than a microsecond of work. */
const THINGS_PER_STEP = 256;

/** Runs it to its end at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** One after the other, with a step for every so many, and one at the end. `weigh`: as how many of them one counts. */
export function* stepping<T>(
  things: Iterable<T>,
  each: (thing: T) => unknown,
  weigh: (thing: T) => number = () => 1,
): Steps {
  let count = 0;
  for (const thing of things) {
    each(thing);
    count += weigh(thing);
    if (count < THINGS_PER_STEP) continue;
    yield;
    count = 0;
  }
  yield;
}

/** What each becomes, in their order. */
export function* mapping<T, U>(things: readonly T[], each: (thing: T) => U): Steps<U[]> {
  const made: U[] = [];
  yield* stepping(things, (thing) => made.push(each(thing)));
  return made;
}

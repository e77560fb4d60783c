/** Long work keeps nobody waiting, however much of it there is at a time. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Steps } from '../../src/work/steps.js';
import { inTurns } from '../../src/work/turns.js';

/** Turns of the event loop that have been. */
let turn: number;
let clock: NodeJS.Immediate;
/** Milliseconds, as work takes them. */
let now: number;

beforeEach(() => {
  [turn, now] = [0, 0];
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const others = () => {
    turn += 1;
    clock = setImmediate(others);
  };
  clock = setImmediate(others);
});
afterEach(() => {
  clearImmediate(clock);
  vi.restoreAllMocks();
});

/** So many steps of so long; each tells the turn that it is done in. */
function* work(steps: number, ms: number, done: number[]): Steps<number> {
  for (let step = 0; step < steps; step += 1) {
    now += ms;
    done.push(turn);
    yield;
  }
  return steps;
}

/** How many there are of each. */
const counts = (of: readonly number[]) =>
  [...new Set(of)].map((one) => of.filter((other) => other === one).length);

it('others have their turn after every 20 ms', async () => {
  const done: number[] = [];
  expect(await inTurns(work(40, 5, done))).toBe(40);
  expect(new Set(counts(done))).toEqual(new Set([4]));
});

it('of several that are under way one goes on in each turn, and each in its own', async () => {
  const done: number[][] = [[], [], [], []];
  await Promise.all(done.map((steps) => inTurns(work(40, 5, steps))));
  expect(new Set(counts(done.flat()))).toEqual(new Set([4]));
  // None is over before the others have had theirs.
  const ends = done.map((steps) => steps.at(-1) ?? 0);
  expect(Math.max(...ends) - Math.min(...ends)).toBeLessThan(2 * done.length);
});

it('what is short does not wait for what is long', async () => {
  const [long, short]: [number[], number[]] = [[], []];
  const under = inTurns(work(100, 5, long));
  await new Promise((resolve) => setImmediate(resolve));
  const since = turn;
  expect(await inTurns(work(3, 5, short))).toBe(3);
  expect([new Set(short), long.length < 100]).toEqual([new Set([since]), true]);
  await under;
});

it('others have their turn between many that are short, too', async () => {
  const done: number[] = [];
  for (let time = 0; time < 20; time += 1) await inTurns(work(2, 5, done));
  expect(new Set(counts(done))).toEqual(new Set([4]));
});

it('one that fails keeps no other from its turns', async () => {
  const done: number[] = [];
  function* failing(): Steps {
    now += 20;
    yield;
    throw new Error('broken');
  }
  const [failed, kept] = await Promise.allSettled([inTurns(failing()), inTurns(work(10, 20, done))]);
  expect(failed).toMatchObject({ reason: new Error('broken') });
  expect(kept).toMatchObject({ value: 10 });
});

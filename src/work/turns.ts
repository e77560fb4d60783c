/** Long work of the daemon, done so that others have their turn in between. */
import { setImmediate } from 'node:timers';
import type { Steps } from './steps.js';

/** How long work goes on in one turn of the event loop, milliseconds. */
const TURN_MS = 20;

/** When the first of what has begun in this turn did. */
let begun: number | undefined;

/** What has begun, and is to go on: one in each turn. */
const waiting: (() => void)[] = [];

/**
 * Runs it to its end; others have their turn in between. In a turn of the event loop one goes on, of all that is under way,
 * and what begins shares as much time: others wait no longer for many than for two, nor for many that are short.
 */
export async function inTurns<T>(steps: Steps<T>): Promise<T> {
  let began = beginning();
  if (performance.now() - began >= TURN_MS) began = await nextTurn();
  for (;;) {
    do {
      const step = steps.next();
      if (step.done === true) return step.value;
    } while (performance.now() - began < TURN_MS);
    began = await nextTurn();
  }
}

function beginning(): number {
  if (begun !== undefined) return begun;
  begun = performance.now();
  setImmediate(() => {
    begun = undefined;
  });
  return begun;
}

/** Resolves when it has begun, with the time. */
async function nextTurn(): Promise<number> {
  await new Promise<void>((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(passTurn);
  });
  return performance.now();
}

function passTurn(): void {
  const next = waiting.shift();
  if (waiting.length > 0) setImmediate(passTurn);
  next?.();
}

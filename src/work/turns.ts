/** Long work of the daemon, done so that others have their turn in between. */
import type { Steps } from './steps.js';

/** Longest time that others wait while this goes on, milliseconds. */
const TURN_MS = 20;

/** The same for the begin of something beside long work: what is short is done with it, and waits for nobody. */
const BESIDE_MS = 2;

/** Work that is to go on, each in a turn of the event loop of its own. */
const waiting: (() => void)[] = [];

/**
 * Runs it to its end; others have their turn in between. Of all that is under way at a time one goes on in each turn of
 * the event loop, one after the other: others wait no longer beside several than beside one.
 */
export async function inTurns<T>(steps: Steps<T>): Promise<T> {
  for (let limit = waiting.length > 0 ? BESIDE_MS : TURN_MS; ; limit = TURN_MS) {
    const began = performance.now();
    do {
      const step = steps.next();
      if (step.done === true) return step.value;
    } while (performance.now() - began < limit);
    await nextTurn();
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(passTurn);
  });
}

function passTurn(): void {
  const next = waiting.shift();
  if (waiting.length > 0) setImmediate(passTurn);
  next?.();
}

/** Long work of the daemon, done so that others have their turn in between. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Steps } from '../firewall/steps.js';

/** Longest time that others wait while this goes on, milliseconds. */
const TURN_MS = 20;

/** Runs it to its end; others have their turn in between. */
export async function inTurns<T>(steps: Steps<T>): Promise<T> {
  let began = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() - began < TURN_MS) continue;
    await nextTurn();
    began = performance.now();
  }
}

/** Killed before any system call and started again, the daemon has done all of what it was asked for, or none of it. */
import { expect, it } from 'vitest';
import { random, sample } from '../support/random.js';
import { useSite } from '../support/site.js';
import { SINGLE_POOL, THREADS, type Thread } from '../support/system-calls.js';
import { Attempt } from './attempt.js';
import { OPERATIONS, VISITOR } from './operations.js';
import { Scene } from './scene.js';
import { LONG_MS, pointsMax, SEED } from './settings.js';

const site = useSite({ wrapper: SINGLE_POOL });
const pick = random(SEED);

/** How many points are tried, of those of a thread. */
const POINTS: Record<Thread, number> = { main: pointsMax(3), store: pointsMax(1), pool: pointsMax(1) };

it.each(OPERATIONS)('$name', { timeout: LONG_MS }, async (operation) => {
  const visitor = site().bare('visitor');
  using scene = await Scene.set(site(), [visitor], Object.values(VISITOR));
  await scene.knockFrom(visitor, VISITOR);
  const attempt = new Attempt(scene, operation, visitor);
  const points = await attempt.points();
  const hits: boolean[] = [];
  for (const thread of Object.keys(THREADS) as Thread[]) {
    const own = points.filter((point) => point.thread === thread);
    for (const point of sample(pick, own, POINTS[thread])) {
      hits.push(await attempt.kill(point, () => scene.start()));
    }
  }
  // Not every call is one of each run; most are.
  expect(hits.filter(Boolean).length).toBeGreaterThan(hits.length / 2);
  await scene.requireClosed();
});

/** Killed before any system call and started again, the daemon has done all of what it was asked for, or none of it. */
import { afterAll, expect, it } from 'vitest';
import { random } from '../support/random.js';
import { useSite } from '../support/site.js';
import { type KillPoint, SINGLE_POOL } from '../support/system-calls.js';
import { Attempt } from './attempt.js';
import { VISITOR } from './operation.js';
import { OPERATIONS } from './operations.js';
import { Scene } from './scene.js';
import { LONG_MS, pointsMax, SEED } from './settings.js';

const site = useSite({ wrapper: SINGLE_POOL, settings: { docker_socket: 'none' } });
const pick = random(SEED);

/** How many points of each operation are tried; and how many more at most, of kinds of calls that none was of yet. */
const POINTS = pointsMax(1);
const NEW_KINDS = 2;

/** How often each kind of call has been the one that a daemon was killed before. */
const tried = new Map<string, number>();
const hits: boolean[] = [];

/** Of the kinds that were tried least: so few points of each operation are points of all kinds over all of them. */
function choose(points: readonly KillPoint[]): KillPoint[] {
  const left = [...points];
  const timesOf = ({ thread, call }: KillPoint) => tried.get(`${thread} ${call}`) ?? 0;
  const chosen: KillPoint[] = [];
  while (left.length > 0) {
    const least = Math.min(...left.map(timesOf));
    if (chosen.length >= POINTS + (least === 0 ? NEW_KINDS : 0)) break;
    const rarest = left.filter((point) => timesOf(point) === least);
    const point = rarest[pick(rarest.length)] as KillPoint;
    left.splice(left.indexOf(point), 1);
    chosen.push(point);
    tried.set(`${point.thread} ${point.call}`, least + 1);
  }
  return chosen;
}

it.each(OPERATIONS)('$name', { timeout: LONG_MS }, async (operation) => {
  const visitor = site().bare('visitor');
  using scene = await Scene.set(site(), [visitor], Object.values(VISITOR));
  await scene.knockFrom(visitor, VISITOR);
  const attempt = new Attempt(scene, operation, visitor);
  const points = await attempt.points();
  expect(points.length).toBeGreaterThan(0);
  for (const point of choose(points)) hits.push(await attempt.kill(point, () => scene.start()));
  await scene.requireClosed();
});

// Not every call is one of each run; most are.
afterAll(() => expect(hits.filter(Boolean).length).toBeGreaterThan(hits.length / 2));

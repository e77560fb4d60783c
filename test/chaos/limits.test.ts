/** Limits of bandwidth stand in the store, in two queues and in the programs: a daemon that ends between them, twice. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { useSite } from '../support/site.js';
import { followedTo, type KillPoint, pointsIn, SINGLE_POOL } from '../support/system-calls.js';
import { Attempt } from './attempt.js';
import { VISITOR } from './operation.js';
import { LIMITS_END } from './operations.js';
import { Scene } from './scene.js';
import { LONG_MS } from './settings.js';

const site = useSite({ wrapper: SINGLE_POOL, settings: { docker_socket: 'none' } });

/** How many points of a start are tried before and after its first change of a queue. */
const AROUND = 2;
const TRIES = 3;

it('limits end whole, though the daemon is killed before it changes a queue, and so is the next', {
  timeout: LONG_MS,
}, async () => {
  const visitor = site().bare('visitor');
  using scene = await Scene.set(site(), [visitor], Object.values(VISITOR));
  await scene.knockFrom(visitor, VISITOR);
  const attempt = new Attempt(scene, LIMITS_END, visitor);
  const isChange = ({ thread, call }: KillPoint) => thread === 'main' && call === 'sendto';
  const point = (await attempt.points()).find(isChange);
  if (point === undefined) throw new Error('no queue was changed');

  const { daemon } = site();
  const path = join(daemon.directory, 'calls');
  let starts: KillPoint[] = [];
  const follow = async () => {
    await scene.start({ wrapper: [...followedTo(path), ...SINGLE_POOL] });
    const calls = { main: ['bpf', 'sendto'], store: [], pool: [] };
    starts = pointsIn(readFileSync(path, 'utf8'), daemon.pid, calls);
    await daemon.kill();
    await scene.start();
  };
  // Whatever else the daemon does meanwhile is counted, too: then it ends elsewhere.
  for (let tries = 0; tries < TRIES && !starts.some(isChange); tries++) await attempt.kill(point, follow);
  const first = starts.findIndex(isChange);
  expect(first).toBeGreaterThan(-1);
  const tried = starts.slice(Math.max(0, first - AROUND), first + AROUND);
  expect(tried.length).toBeGreaterThan(AROUND);
  for (const start of tried) {
    await attempt.kill(point, async () => {
      await scene.startInVain(start);
      await scene.start();
    });
  }
  await scene.requireClosed();
});

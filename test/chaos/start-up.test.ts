/** A daemon that is killed while it puts in order what another left half done leaves nothing that the next cannot. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { random, sample } from '../support/random.js';
import { useSite } from '../support/site.js';
import { followedTo, type KillPoint, pointsIn, SINGLE_POOL } from '../support/system-calls.js';
import { Attempt } from './attempt.js';
import { VISITOR } from './operation.js';
import { OPERATIONS } from './operations.js';
import { Scene } from './scene.js';
import { LONG_MS, pointsMax, SEED } from './settings.js';

const site = useSite({ wrapper: SINGLE_POOL, settings: { docker_socket: 'none' } });
const pick = random(SEED);

/** By which a start changes something, or finds out what to change; none that the children of the daemon do. */
const CALLS = {
  main: ['bpf', 'sendto', 'setns', 'unlink'],
  store: ['pwrite64', 'fdatasync'],
  pool: ['bpf', 'membarrier', 'link', 'rename', 'unlink'],
};
const POINTS = pointsMax(12);
/** How many starts in a row come to nothing. */
const IN_A_ROW = 3;

/** Takes away what a start then has to put back. */
async function ruin(scene: Scene): Promise<void> {
  const { daemon, host } = scene.site;
  const { rtnl } = daemon.netns.net;
  await host.output('sh', '-c', `rm ${daemon.bpffs}/links/*; rm ${daemon.path('conf')}/*`);
  for (const { name, index } of rtnl.links()) if (name.startsWith('qnbr')) rtnl.deleteLink(index);
}

async function pointsOfStart(scene: Scene): Promise<KillPoint[]> {
  const { daemon } = scene.site;
  const path = join(daemon.directory, 'calls');
  await daemon.kill();
  await ruin(scene);
  await scene.start({ wrapper: [...followedTo(path), ...SINGLE_POOL] });
  await scene.requireOrder('a start that has much to do');
  const { pid } = daemon;
  await daemon.kill();
  await scene.start();
  return pointsIn(readFileSync(path, 'utf8'), pid, CALLS);
}

it('killed again and again while it starts, after any operation', { timeout: LONG_MS }, async () => {
  const visitor = site().bare('visitor');
  using scene = await Scene.set(site(), [visitor], Object.values(VISITOR));
  await scene.knockFrom(visitor, VISITOR);
  const starts = sample(pick, await pointsOfStart(scene), POINTS);
  expect(starts.length).toBeGreaterThan(0);
  while (starts.length > 0) {
    const operation = OPERATIONS[pick(OPERATIONS.length)];
    if (operation === undefined) throw new RangeError('no operation');
    const attempt = new Attempt(scene, operation, visitor);
    const points = await attempt.points();
    const point = points[pick(points.length)];
    if (point === undefined) throw new RangeError('no point');
    const row = starts.splice(0, IN_A_ROW);
    await attempt.kill(point, async () => {
      if (pick(2) === 0) await ruin(scene);
      for (const start of row) await scene.startInVain(start);
      await scene.start();
    });
  }
  await scene.requireClosed();
});

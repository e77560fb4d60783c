/** From `npm start` to a daemon that is ready, when everything has been built before. */
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Cleanup } from './cleanup.mjs';
import { Node } from './node.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export function start({ rounds }) {
  return Cleanup.during(async (cleanup) => {
    requireModules();
    const node = new Node(cleanup);
    const times = [];
    // The first one is not counted: it may build.
    for (let round = 0; round <= rounds; round++) {
      times.push(await node.startByScript());
      await node.stop();
    }
    const ours = median(times.slice(1)) / 1000;
    return [line({ part: 'start', what: 'second npm start until ready', unit: 's', ours, goal: '<= 3' })];
  });
}

/**
 * The daemon starts in a namespace without a way out, where an installation of modules would fail half-way and leave
 * none: so nothing may be left to install.
 */
function requireModules() {
  const [wanted, installed] = ['package-lock.json', 'node_modules/.package-lock.json'].map(
    (name) => ROOT + name,
  );
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return;
  throw new Error('node_modules is not what package-lock.json says; start with "npm run bench"');
}

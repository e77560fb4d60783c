/** Containers come and go by CNI and REST, plugins and daemons are killed meanwhile: at the end nothing is left. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import { openMaps } from '../../src/datapath/maps.js';
import type { ContainerList } from '../../src/model/endpoint.js';
import { counters, TABLES } from '../../src/store/tables.js';
import { buildPlugin, type Outcome, runPlugin } from '../cni/plugin.js';
import type { Container } from '../support/containers.js';
import { whenOrderly } from '../support/order.js';
import { random } from '../support/random.js';
import { readRecords } from '../support/records.js';
import { useSite } from '../support/site.js';
import { ROUNDS, ROUNDS_MS, SEED } from './settings.js';

const site = useSite();
const pick = random(SEED);
beforeAll(buildPlugin);

const CONTAINERS = 6;
/** Of them, so many do something in each round, at the same time. */
const AT_ONCE = 3;
/** One in so many. */
const KILLED_PLUGINS = 3;
const KILLED_DAEMONS = 5;
/** One round in so many ends with the runtime telling what it still knows. */
const COLLECTED = 6;
/** Within what a call takes. */
const KILL_WITHIN_MS = 40;

type Action = (container: Container) => Promise<unknown>;

function cni(command: 'ADD' | 'DEL', { id, netns }: Container, signal?: AbortSignal): Promise<Outcome> {
  return plugin(command, { CNI_CONTAINERID: id, CNI_NETNS: netns.path, CNI_IFNAME: 'eth0' }, {}, signal);
}

function plugin(
  command: string,
  env: Record<string, string>,
  fields: object,
  signal?: AbortSignal,
): Promise<Outcome> {
  const { daemon } = site();
  return runPlugin({
    env: { CNI_COMMAND: command, CNI_PATH: daemon.path('bin'), ...env },
    stdin: {
      cniVersion: '1.1.0',
      name: 'blue',
      type: 'quantum-cni',
      socket: join(daemon.path('run'), 'cni.sock'),
      ...fields,
    },
    ...(signal === undefined ? {} : { signal }),
  });
}

/** GC, by a runtime that has forgotten some of its containers; killed now and then. */
async function collect(containers: readonly Container[]): Promise<void> {
  const kept = containers.filter(() => pick(3) > 0);
  const list = kept.map(({ id }) => ({ containerID: id, ifname: 'eth0' }));
  const killer = new AbortController();
  const timer = pick(KILLED_PLUGINS) === 0 && setTimeout(() => killer.abort(), pick(KILL_WITHIN_MS));
  const { code } = await plugin('GC', {}, { 'cni.dev/valid-attachments': list }, killer.signal);
  if (timer !== false) clearTimeout(timer);
  if (code !== 0) return;
  const { containers: left } = await site().rest.expect<ContainerList>('GET', '/networks/blue/containers');
  const names = left
    .filter(({ interface_name }) => interface_name === 'eth0')
    .map((entry) => entry.container_id);
  const known = kept.map(({ id }) => id);
  expect(names.filter((name) => !known.includes(name))).toEqual([]);
}

/** The same, with the plugin killed now and then. */
async function mortally(command: 'ADD' | 'DEL', container: Container): Promise<void> {
  const killer = new AbortController();
  const timer = pick(KILLED_PLUGINS) === 0 && setTimeout(() => killer.abort(), pick(KILL_WITHIN_MS));
  await cni(command, container, killer.signal);
  if (timer !== false) clearTimeout(timer);
}

/** By whichever way; nobody answers while the daemon is dead. */
const ACTIONS: readonly Action[] = [
  (container) => mortally('ADD', container),
  (container) => mortally('DEL', container),
  ({ id, netns }) =>
    site()
      .rest.call('POST', '/networks/blue/containers', {
        container_id: id,
        netns_path: netns.path,
        interface_name: 'eth1',
        labels: { app: `app-${pick(3)}` },
      })
      .catch(() => undefined),
  ({ id }) =>
    site()
      .rest.call('DELETE', `/networks/blue/containers/${id}`)
      .catch(() => undefined),
];

/** Each at most once: a runtime does one thing at a time to a container. */
function someOf(containers: readonly Container[]): Container[] {
  const left = [...containers];
  return Array.from({ length: AT_ONCE }, () => left.splice(pick(left.length), 1)).flat();
}

it(`after ${ROUNDS} rounds of ADD, DEL, GC and REST under fire`, { timeout: ROUNDS_MS }, async () => {
  const { daemon, rest } = site();
  const clean = await site().state();
  await site().network('blue', { isolation_mode: 'peer' });
  const containers = Array.from({ length: CONTAINERS }, (_, index) => site().bare(`k${index}`));
  const requireOrder = async (when: string) => {
    const netns = containers.map((container) => container.netns);
    expect(await whenOrderly(daemon, netns), `seed ${SEED}: ${when}`).toEqual([]);
  };
  const kill = async () => {
    await delay(pick(KILL_WITHIN_MS));
    await daemon.kill();
  };

  let killed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const doomed = pick(KILLED_DAEMONS) === 0;
    await Promise.all([
      ...someOf(containers).map((container) => ACTIONS[pick(ACTIONS.length)]?.(container)),
      doomed && kill(),
    ]);
    if (doomed) {
      killed++;
      // Runtimes do not wait for a daemon: what goes meanwhile is kept for the next one.
      if (pick(2) === 0) await Promise.all(someOf(containers).map((container) => cni('DEL', container)));
      await daemon.start();
      await requireOrder(`daemon ${killed}, round ${round}`);
    }
    // A runtime does nothing else meanwhile.
    if (pick(COLLECTED) === 0) await collect(containers);
  }
  expect(killed).toBeGreaterThan(0);
  await requireOrder('all rounds');

  for (const container of containers) {
    expect(await cni('DEL', container)).toMatchObject({ code: 0, stdout: '' });
    const { status } = await rest.call('DELETE', `/networks/blue/containers/${container.id}`);
    expect([204, 404]).toContain(status);
    expect(container.netns.net.rtnl.links().map(({ name }) => name)).toEqual(['lo']);
  }
  await requireOrder('all containers are gone');
  await rest.expect('DELETE', '/networks/blue');
  expect(await site().state()).toEqual(clean);
  // What a killed plugin was writing stays until it is old enough to have no writer (src/cni/deferred.ts).
  const deferred = readdirSync(join(daemon.path('run'), 'cni-deferred'));
  expect(deferred.filter((name) => !/^\.\d+\.tmp$/.test(name))).toEqual([]);

  await daemon.restart();
  const records = await readRecords(daemon);
  const filled = [...TABLES.values()].filter((table) => records.any(table as typeof counters));
  // Numbers are never given again.
  expect(filled.map(({ name }) => name)).toEqual([counters.name]);
  using maps = openMaps(join(daemon.bpffs, 'maps'));
  expect(await maps.metrics.entriesPerCpu()).toEqual([]);
});

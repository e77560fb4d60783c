/** Pods come and go, the daemon and containerd are killed meanwhile: at the end nothing is left. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { EndpointList } from '../../src/model/endpoint.js';
import { runPlugin } from '../cni/plugin.js';
import { random } from '../support/random.js';
import { Cri, type Pod } from './cri.js';
import { useRuntimeNode } from './node.js';

const SEED = Number(process.env.QUANTUM_CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** A round takes a second or two. */
const ROUNDS = Number(process.env.QUANTUM_CHAOS_ROUNDS ?? 12);
/** One round in so many. */
const KILLED_DAEMONS = 4;
const KILLED_RUNTIMES = 6;
/** Within what the making of a pod takes. */
const KILL_WITHIN_MS = 400;
const PODS_MAX = 4;

console.log(`QUANTUM_CHAOS_SEED=${SEED}`);
const pick = random(SEED);
const node = useRuntimeNode({ cni_version: '1.0.0' });

it(`after ${ROUNDS} rounds of pods under fire`, { timeout: 60_000 + ROUNDS * 20_000 }, async () => {
  const { site } = node();
  const { daemon, rest } = site;
  const clean = await site.state();
  await site.network('pods', { isolation_mode: 'peer' });
  await using cri = await Cri.start(node());
  const pods: Pod[] = [];
  /** Whether it succeeds is up to what is killed. */
  const attempt = (task: Promise<unknown>) => task.catch(() => undefined);
  const step = async (round: number) => {
    if (pods.length < PODS_MAX && pick(3) > 0) {
      await attempt(cri.pod(`pod-${round}`).then((pod) => pods.push(pod)));
    } else {
      const [pod] = pods.splice(pick(Math.max(1, pods.length)), 1);
      if (pod !== undefined) await attempt(pod.remove());
    }
  };
  for (let round = 0; round < ROUNDS; round++) {
    const killsDaemon = pick(KILLED_DAEMONS) === 0;
    const killsRuntime = pick(KILLED_RUNTIMES) === 0;
    const after = pick(KILL_WITHIN_MS);
    await Promise.all([
      step(round),
      (killsDaemon || killsRuntime) &&
        delay(after).then(() =>
          Promise.all([killsDaemon && daemon.kill(), killsRuntime && cri.containerd.kill()]),
        ),
    ]);
    if (killsDaemon) await daemon.start();
    if (killsRuntime) await cri.restart();
  }

  await cri.removeAll();
  // What containerd was about to make when it was killed, it does not know of; that is what GC is for.
  const stdin = {
    cniVersion: '1.1.0',
    name: 'pods',
    type: 'quantum-cni',
    socket: `${daemon.path('run')}/cni.sock`,
    'cni.dev/valid-attachments': [],
  };
  expect(
    await runPlugin({ env: { CNI_COMMAND: 'GC', CNI_PATH: daemon.path('bin') }, stdin }),
    `seed ${SEED}`,
  ).toMatchObject({
    code: 0,
  });
  expect((await rest.expect<EndpointList>('GET', '/endpoints')).endpoints).toEqual([]);
  await rest.expect('DELETE', '/networks/pods');
  expect(await site.state(), `seed ${SEED}`).toEqual(clean);
});

/** `ctr run --cni`: the least that containerd can do with a network. */
import { expect, it } from 'vitest';
import type { EndpointList } from '../../src/model/endpoint.js';
import { Containerd } from './containerd.js';
import { useRuntimeNode } from './node.js';

const node = useRuntimeNode();
const endpoints = async () => (await node().site.rest.expect<EndpointList>('GET', '/endpoints')).endpoints;

it('ctr run --cni gives a container its address, and takes it back without its namespace', {
  timeout: 120_000,
}, async () => {
  const { site, image } = node();
  await site.network('blue', { isolation_mode: 'peer' });
  await using containerd = await Containerd.start(node());
  const run = (...args: string[]) => containerd.ctr('run', '--cgroup', '', '--cni', '--rootfs', ...args);

  // Not in the background: what ends in the background, ctr forgets to take off the network.
  const ended = run(image.root, 'first', '/bin/sleep', 'infinity');
  await expect
    .poll(async () => (await endpoints()).map(({ state }) => state), { timeout: 30_000 })
    .toEqual(['ready']);
  const [first] = await endpoints();
  expect(first).toMatchObject({ network: 'blue', container_id: 'default-first' });
  const show = ['ip', 'address', 'show', 'eth0'];
  const exec = () => containerd.ctr('task', 'exec', '--exec-id', 'show', 'first', '/bin/busybox', ...show);
  await expect
    .poll(
      () =>
        exec().then(
          ({ stdout }) => stdout,
          () => '',
        ),
      { timeout: 30_000 },
    )
    .toContain(`inet ${first?.ip_address}/24`);

  // It talks to the other one, which is gone with its end.
  const ping = ['/bin/ping', '-c', '1', String(first?.ip_address)];
  expect((await run('--rm', image.root, 'second', ...ping)).stdout).toContain('1 packets received');
  expect(await endpoints()).toEqual([first]);

  await containerd.ctr('task', 'kill', '--signal', 'SIGKILL', 'first');
  await ended.catch(() => undefined);
  expect(await endpoints()).toEqual([]);
});

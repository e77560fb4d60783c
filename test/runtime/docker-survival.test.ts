/** Containers of Docker outlive the daemon, and what a Docker Engine leaves when it dies is taken off. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.js';
import type { Container } from '../support/containers.js';
import { Dockerd, IMAGE } from '../support/dockerd.js';
import { useSite } from '../support/site.js';

const site = useSite();
let docker: Dockerd;
beforeAll(async () => {
  docker = await Dockerd.start(site().daemon);
}, 120_000);
afterEach(async () => {
  if (!site().daemon.isRunning) await site().daemon.start();
  await docker.clear();
}, 120_000);
afterAll(() => docker[Symbol.asyncDispose](), 60_000);

const SERVE = ['sockets', 'serve', 'tcp:80', 'udp:53'];
const OURS = ['--network', 'blue', '--label', 'app=web'];

async function endpoints(): Promise<Endpoint[]> {
  const all = await site().rest.expect<{ endpoints: Endpoint[] }>('GET', '/endpoints');
  return all.endpoints.filter(({ container_id }) => container_id !== 'other');
}

/** A network with somebody on it that Docker knows nothing of. */
async function other(): Promise<Container> {
  await site().network('blue', { isolation_mode: 'peer' });
  await docker.existing('blue');
  return site().container('other', 'blue');
}

describe('a daemon that ends', { timeout: 120_000 }, () => {
  it('leaves running containers their network, and the next one adopts them', async () => {
    const peer = await other();
    await docker.container('one', OURS, ...SERVE);
    const [before] = await endpoints();
    const address = before?.ip_address ?? '';
    await site().daemon.kill();
    expect(await peer.dial(address, { protocol: 'udp' })).toBe('open');
    await site().daemon.start();
    expect(await endpoints()).toEqual([before]);
    expect(site().daemon.log).toMatch(/"adopted":2,"repaired":0,"removed":0/);
    expect(await peer.dial(address, { protocol: 'udp' })).toBe('open');
    await docker.ok('rm', '--force', 'one');
    expect(await endpoints()).toEqual([]);
  });

  it('before it knows whose an endpoint is leaves that to the next one, and nothing passes meanwhile', async () => {
    const peer = await other();
    const held = await docker.hold();
    try {
      await docker.container('one', OURS, ...SERVE);
      await site().daemon.kill();
      await site().daemon.start();
      const [waiting] = await endpoints();
      expect(waiting?.state).toBe('creating');
      const address = waiting?.ip_address ?? '';
      expect(await peer.dial(address, { protocol: 'udp', expected: 'blocked' })).toBe('blocked');
      held.release();
      await expect
        .poll(endpoints, { timeout: 20_000 })
        .toMatchObject([{ state: 'ready', labels: { app: 'web' } }]);
      expect(await peer.dial(address, { protocol: 'udp' })).toBe('open');
    } finally {
      await held[Symbol.asyncDispose]();
    }
  });

  it('is waited for by docker run, which goes on when the next one is there', async () => {
    await other();
    await site().daemon.kill();
    const run = docker.container('one', OURS, ...SERVE);
    await site().daemon.start();
    await run;
    expect(await endpoints()).toMatchObject([{ state: 'ready', labels: { app: 'web' } }]);
  });

  it('and does not come back makes docker run fail, with the name of the plugin', async () => {
    await other();
    await site().daemon.kill();
    const said = await docker.refused('run', '--rm', ...OURS, IMAGE, ...SERVE);
    expect(said).toContain(`${docker.driver}.sock`);
    await site().daemon.start();
    expect(await endpoints()).toEqual([]);
  });
});

describe('an engine that dies', { timeout: 120_000 }, () => {
  it('leaves its containers their network; when it is back, it ends them and all is taken off', async () => {
    const peer = await other();
    await docker.container('one', OURS, ...SERVE);
    const [before] = await endpoints();
    await docker.kill();
    expect(await peer.dial(before?.ip_address ?? '', { protocol: 'udp' })).toBe('open');
    await docker.start();
    await expect.poll(endpoints, { timeout: 30_000 }).toEqual([]);
    await docker.ok('start', 'one');
    expect(await endpoints()).toMatchObject([{ state: 'ready', labels: { app: 'web' } }]);
  });

  it('with all its containers has their endpoints taken off when the daemon starts, and their addresses are free', async () => {
    await other();
    await docker.container('one', OURS, ...SERVE);
    const [before] = await endpoints();
    await docker.kill();
    docker.endContainers();
    await expect.poll(() => site().daemon.netns.net.link(before?.host_interface ?? '')).toBeUndefined();
    await site().daemon.restart();
    expect(await endpoints()).toEqual([]);
    const heir = site().bare('heir');
    await heir.connect('blue', { ip_address: before?.ip_address ?? '' });
  });
});

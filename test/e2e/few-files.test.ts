/** A daemon that may open few files refuses what it has none for, and guards whom it has connected all the same. */
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BpfLink } from '../../src/native/bpf.js';
import { type Container, unlike } from '../support/containers.js';
import { errorOf } from '../support/rest.js';
import { useSite } from '../support/site.js';

const site = useSite();

const SOON = { timeout: 15_000, interval: 50 };
/** More than the daemon asks for before it makes an endpoint. */
const ENOUGH = 40;

const links = () => join(site().daemon.bpffs, 'links');
/** Ids of the links, by the names of their pins. */
const ids = () => Object.fromEntries(readdirSync(links()).map((name) => [name, info(name).id]));
function info(name: string) {
  using link = BpfLink.fromPin(join(links(), name));
  return link.info();
}
const openFiles = () => readdirSync(`/proc/${site().daemon.pid}/fd`).map(Number);

/** Lets the daemon open that many files more, and gives back what it could before. */
function allow(count: number): Disposable {
  const { pid } = site().daemon;
  const used = new Set(openFiles());
  let limit = 0;
  for (let free = 0; free < count || used.has(limit); limit++) if (!used.has(limit)) free++;
  const limitTo = (soft: string) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${soft}:`]);
  const before = execFileSync('prlimit', ['--pid', String(pid), '--nofile', '-o', 'SOFT', '--noheadings'], {
    encoding: 'utf8',
  });
  limitTo(String(limit));
  return { [Symbol.dispose]: () => void limitTo(before.trim()) };
}

it('with any number of files left a container is connected, or refused and nothing of it is left', async () => {
  await site().network('blue', { isolation_mode: 'none' });
  const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
  const before = await site().state();
  const outcomes: string[] = [];
  for (let left = 0; left <= ENOUGH; left += 2) {
    const c = site().bare(`c${left}`);
    let outcome: string;
    {
      using _ = allow(left);
      const request = { container_id: c.id, netns_path: c.netns.path };
      // Without any the connection itself is not taken.
      outcome = await site()
        .rest.call('POST', '/networks/blue/containers', request)
        .then((answer) => (answer.status === 201 ? 'connected' : String(errorOf(answer).code)))
        .catch(() => 'not heard');
    }
    outcomes.push(outcome);
    if (outcome === 'connected') {
      expect(c.netns.net.link('eth0')).toBeDefined();
      await site().rest.disconnect('blue', c.id);
    }
    expect(c.netns.net.link('eth0')).toBeUndefined();
    await expect.poll(() => site().state(), SOON).toEqual(before);
  }
  const order = ['not heard', 'INSUFFICIENT_CAPACITY', 'connected'];
  expect([...new Set(outcomes)]).toEqual(order);
  expect(await unlike('open', 4, [a, b], [b, a])).toEqual([]);
});

it('links for which there are no files are held by their pins, and looked after', async () => {
  await site().daemon.stop();
  await site().daemon.start({ wrapper: ['prlimit', '--nofile=400:400'] });
  await site().network('blue');
  const files = openFiles().length;
  const containers: Container[] = [];
  for (let at = 0; at < 110; at++) {
    const container = site().bare(`c${at}`);
    await container.connect('blue');
    containers.push(container);
  }
  expect(Object.keys(ids()).length).toBeGreaterThanOrEqual(3 * containers.length);
  expect(openFiles().length).toBeLessThan(files + containers.length);
  const [first, second] = containers as [Container, Container];
  const before = ids();

  // With it the link ends, and so does the program: another takes its place.
  const name = `${first.endpoint.host_interface}_to_container`;
  const other = `${second.endpoint.host_interface}_to_container`;
  rmSync(join(links(), name));
  const isBack = () => readdirSync(links()).includes(name) && info(name).id !== before[name];
  await expect.poll(isBack, SOON).toBe(true);
  const capture = await first.capture();
  await site().host.dial(first, { protocol: 'udp', expected: 'blocked' });
  expect((await capture.stop()).filter(({ type }) => type === 0x0800)).toEqual([]);
  expect(info(other).id).toBe(before[other]);

  const found = ids();
  await site().daemon.kill();
  await site().daemon.start({ wrapper: ['prlimit', '--nofile=400:400'] });
  expect(ids()).toEqual(found);
  await site().daemon.stop();
  await site().daemon.start();
  expect(ids()).toEqual(found);
}, 120_000);

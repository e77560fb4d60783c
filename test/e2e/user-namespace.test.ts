/** Root in a container that has no user namespace of its own is root over the node's network: the daemon says so. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { useSite } from '../support/site.js';

const site = useSite();
const run = promisify(execFile);
const NOTICE = 'the container has no user namespace of its own';

/** A process in network and user namespaces of its own. */
async function withUserNamespace(
  use: (netnsPath: string, enter: (...argv: string[]) => Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  const child = spawn('unshare', ['--user', '--map-root-user', '--net', 'sh', '-c', 'echo ready; cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    await once(child.stdout, 'data');
    const enter = (...argv: string[]) => run('nsenter', ['-t', String(child.pid), '-U', '-n', ...argv]);
    await use(`/proc/${child.pid}/ns/net`, enter);
  } finally {
    child.stdin.end();
    await once(child, 'exit');
  }
}

const notices = () =>
  site()
    .daemon.log.split('\n')
    .filter((line) => line.includes(NOTICE));

it('a container without a user namespace of its own is told of, one with its own is not', async () => {
  await site().network('blue');
  await withUserNamespace((netns_path) =>
    site().rest.connect('blue', { container_id: 'own', netns_path, interface_name: 'eth0' }),
  );
  expect(notices()).toEqual([]);

  const shared = await site().container('shared', 'blue');

  await expect.poll(notices).toHaveLength(1);
  expect(notices()[0]).toContain(`"container_id":"shared"`);
  // What it is about: an interface of its own in the network namespace of the node, past every program.
  const node = site().host.netns;
  await shared.output('ip', 'link', 'add', 'intruder', 'type', 'veth', 'peer', 'name', 'other');
  await shared.output('ip', 'link', 'set', 'intruder', 'netns', node.name);
  expect(node.net.link('intruder')).toBeDefined();
  node.net.rtnl.deleteLink('intruder');
});

it('a container with a user namespace of its own cannot put an interface into the node', async () => {
  const node = site().host.netns;
  await withUserNamespace(async (_path, enter) => {
    await enter('ip', 'link', 'add', 'intruder', 'type', 'veth', 'peer', 'name', 'other');
    await expect(enter('ip', 'link', 'set', 'intruder', 'netns', node.name)).rejects.toThrow(/not permitted/);
  });
  expect(node.net.link('intruder')).toBeUndefined();
});

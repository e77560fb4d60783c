/** How a container has the kernel take its frames past from_container: it marks them as classified already. */
import type { Host } from './containers.js';

/** Sends everything that leaves eth0 through an ifb device, which sends it out by eth0 again. */
export async function passBy(container: Host): Promise<void> {
  await container.output('ip', 'link', 'add', 'ifb0', 'type', 'ifb');
  await container.output('ip', 'link', 'set', 'ifb0', 'up');
  await container.output('tc', 'qdisc', 'add', 'dev', 'eth0', 'clsact');
  const all = ['protocol', 'all', 'u32', 'match', 'u32', '0', '0'];
  const redirect = ['action', 'mirred', 'egress', 'redirect', 'dev', 'ifb0'];
  await container.output('tc', 'filter', 'add', 'dev', 'eth0', 'egress', ...all, ...redirect);
}

/** How a container has frames leave that its own stack has not made, or not as they leave. */
import type { Host } from './containers.js';

/** Everything that passes a hook of a device goes out by another device instead. */
export async function divert(
  host: Host,
  device: string,
  hook: 'ingress' | 'egress',
  out: string,
): Promise<void> {
  await host.output('tc', 'qdisc', 'add', 'dev', device, 'clsact');
  const all = ['protocol', 'all', 'u32', 'match', 'u32', '0', '0'];
  const redirect = ['action', 'mirred', 'egress', 'redirect', 'dev', out];
  await host.output('tc', 'filter', 'add', 'dev', device, hook, ...all, ...redirect);
}

/**
 * Sends everything that leaves eth0 through an ifb device, which sends it out by eth0 again: marked as classified
 * already, so that the kernel takes it past from_container.
 */
export async function passBy(container: Host): Promise<void> {
  await container.output('ip', 'link', 'add', 'ifb0', 'type', 'ifb');
  await container.output('ip', 'link', 'set', 'ifb0', 'up');
  await divert(container, 'eth0', 'egress', 'ifb0');
}
